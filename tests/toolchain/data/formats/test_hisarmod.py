from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.frames.hdf5 import open_hdf5
from toolchain.data import check_frames
from toolchain.data.formats import hisarmod_csv
from toolchain.data.formats.hisarmod import (
    CLASSES,
    is_hisarmod_folder,
    looks_like_hisarmod,
    looks_like_hisarmod_mat,
    open_hisarmod,
)
from toolchain.errors import DatasetError

CSV_SETTINGS = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
# The published codes, in the order of CLASSES.
CODES = [0, 10, 20, 30, 40, 50, 1, 11, 21, 31, 41, 51, 61, 2, 12, 22, 32, 3, 13, 23, 4, 14, 24, 34, 44, 54]


def cells(frames) -> list[str]:
    """One line a frame, as MATLAB writes complex numbers."""
    return [",".join(f"{i:.9g}{q:+.9g}i" for i, q in frame.T) for frame in frames]


def signal(count=26, length=5, seed=3):
    return np.random.default_rng(seed).normal(size=(count, 2, length)).astype("f4")


def write_part(folder: Path, part="train", *, lines=None, labels=CODES, snrs=None, ending="\n") -> Path:
    folder.mkdir(exist_ok=True)
    lines = cells(signal()) if lines is None else lines
    snrs = [-20 + 2 * (n % 20) for n in range(len(labels))] if snrs is None else snrs
    path = folder / f"{part}_data.csv"
    path.write_bytes((ending.join(lines) + ending).encode())
    (folder / f"{part}_labels.csv").write_text("".join(f"{label}\n" for label in labels))
    (folder / f"{part}_snr.csv").write_text("".join(f"{snr}\n" for snr in snrs))
    return path


def everything(dataset):
    return dataset.frames(np.arange(len(dataset)))


def test_values_by_hand(tmp_path):
    lines = ["1+2i,-0.5-1e-3i,0+0i", "1e+2-1.5E+1i,+3+4i,.5+5.i"]
    dataset = open_hisarmod(write_part(tmp_path, lines=lines, labels=[61, 54], snrs=[-20, 18]))
    assert [dataset.classes[label] for label in dataset.labels] == ["256QAM", "PM"]
    assert dataset.snr_db.tolist() == [-20, 18]
    np.testing.assert_array_equal(
        everything(dataset),
        np.array([[[1, -0.5, 0], [2, -1e-3, 0]], [[100, 3, 0.5], [-15, 4, 5]]], dtype="f4"),
    )
    assert (dataset.source, dataset.format, dataset.length, len(dataset)) == ("train_data.csv", "hisarmod", 3, 2)
    assert dataset.own_test is None
    assert dataset.sample_rate_hz is None


def test_folder_gives_both_parts_and_which_is_the_test(tmp_path):
    train, test = signal(26), signal(52, seed=4)
    write_part(tmp_path / "Train", lines=cells(train))
    write_part(tmp_path / "Test", "test", lines=cells(test), labels=CODES[::-1] * 2)
    assert is_hisarmod_folder(tmp_path)
    dataset = open_hisarmod(tmp_path)
    assert dataset.source == tmp_path.name
    assert dataset.classes == CLASSES
    np.testing.assert_array_equal(dataset.own_test, np.arange(78) >= 26)
    np.testing.assert_array_equal(dataset.labels, [*range(26), *range(25, -1, -1), *range(25, -1, -1)])
    np.testing.assert_array_equal(everything(dataset), np.concatenate([train, test]))
    mixed = np.array([60, 3, 25, 26, 3, 77, 0])
    np.testing.assert_array_equal(dataset.frames(mixed), np.concatenate([train, test])[mixed])
    check_frames(dataset)


def test_files_in_one_folder_and_names_in_any_case_are_found(tmp_path):
    write_part(tmp_path).rename(tmp_path / "TRAIN_DATA.CSV")
    write_part(tmp_path, "test")
    assert len(open_hisarmod(tmp_path)) == 52


def test_set_can_go_to_another_process(tmp_path):
    dataset = open_hisarmod(write_part(tmp_path))
    np.testing.assert_array_equal(everything(pickle.loads(pickle.dumps(dataset))), signal())


def test_codes_numbers_and_names_of_classes_give_the_same_labels(tmp_path):
    path = write_part(tmp_path)
    expected = open_hisarmod(path).labels
    assert expected.tolist() == list(range(26))
    (tmp_path / "train_labels.csv").write_text("".join(f"{n:.18e}\n" for n in CODES))
    np.testing.assert_array_equal(open_hisarmod(path).labels, expected)
    (tmp_path / "train_labels.csv").write_text(",".join(f'"{name.lower()}"' for name in CLASSES))
    np.testing.assert_array_equal(open_hisarmod(path).labels, expected)
    (tmp_path / "train_labels.csv").unlink()
    (tmp_path / "train_labels1.csv").write_text("".join(f"{n}\r\n" for n in range(26)))
    np.testing.assert_array_equal(open_hisarmod(path).labels, expected)


def test_labels_that_may_be_codes_or_numbers_are_refused(tmp_path):
    path = write_part(tmp_path, lines=cells(signal(3)), labels=[0, 10, 24])
    with pytest.raises(DatasetError, match=r"^train_labels\.csv: its labels \[0, 10, 24\] may be .*Write the names"):
        open_hisarmod(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 61, 7], r"line 3 holds '7', .*only codes, for others are"),
        ([0, 62, 1], r"line 2 holds '62', no label of this set"),
        (["label", 0, 1], r"line 1 holds 'label', .*header"),
        ([0, 1, -1], r"line 3 holds '-1'"),
        ([0, 1, 0.5], r"line 3 holds '0\.5'"),
        ([0, 1, "nan"], r"line 3 holds 'nan'"),
        ([0, 1, "1_0"], r"line 3 holds '1_0'"),
        ([0, 1, "9" * 400], r"line 3 holds '9{40}'"),
        (["BPSK", "QPSK", "16AQM"], r"line 3 holds '16AQM', .*one of the names BPSK, QPSK"),
        ([0, "", 1], r"line 2 is ''; expected one label a line"),
        (["0,1", "0,2", "0,3"], r"line 1 is '0,1'; expected one label a line"),
        ([], r"it is empty; expected one label a line"),
        ([61, 1], r"train_snr\.csv: it has 3 SNRs, and train_labels\.csv has 2 labels"),
        (["\N{GREEK SMALL LETTER PI}", 1, 2], r"byte 0 is no ASCII text"),
    ],
)
def test_wrong_labels_are_refused_by_line(labels, message, tmp_path):
    path = write_part(tmp_path, lines=cells(signal(3)), labels=labels, snrs=[0, 2, 4])
    with pytest.raises(DatasetError, match=message) as caught:
        open_hisarmod(path)
    assert str(caught.value).startswith("train_")


@pytest.mark.parametrize("snr", ["snr", "inf", "NaN", "1e9", "4 dB"])
def test_wrong_snr_is_refused_by_line(snr, tmp_path):
    path = write_part(tmp_path, lines=cells(signal(2)), labels=[0, 61], snrs=[-20, snr])
    with pytest.raises(DatasetError, match=r"^train_snr\.csv: line 2 holds .*expected an SNR in dB"):
        open_hisarmod(path)


def test_line_ends_byte_order_mark_and_missing_last_newline_do_not_matter(tmp_path):
    path = write_part(tmp_path)
    content = path.read_bytes()
    for other in (
        content.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + content,
        content[:-1],
        content + b"\n\r\n\n",
        content.replace(b"i", b"j"),
        b"(" + content[:-1].replace(b"i", b"j").replace(b",", b"),(").replace(b"\n", b")\n(") + b")",
        content.replace(b",", b" , ", 3),
        content.replace(b"+", b" +\t", 3),
    ):
        path.write_bytes(other)
        np.testing.assert_array_equal(everything(open_hisarmod(path)), signal())


def test_what_python_writes_of_complex_numbers_is_read(tmp_path):
    path = write_part(tmp_path, lines=["2j,(1-0j),(0.5+-2j)", "-3j,(1e-05+2.5j),(-1-1j)"], labels=[0, 61])
    np.testing.assert_array_equal(
        everything(open_hisarmod(path)),
        np.array([[[0, 1, 0.5], [2, 0, -2]], [[0, 1e-5, -1], [-3, 2.5, -1]]], dtype="f4"),
    )


BAD_CELLS = [
    ("", "holds nothing"),
    ("0.5", r"holds '0\.5'"),
    ("one", "holds 'one'"),
    ("nan+nani", r"holds 'nan\+nani'"),
    ("inf-infi", "holds 'inf-infi'"),
    ("1+2", r"holds '1\+2'"),
    ("1+i", r"holds '1\+i'"),
    ("1.5.2+1i", r"holds '1\.5\.2\+1i'"),
    ("1+2+3i", r"holds '1\+2\+3i'"),
    ("1 2+3i", r"holds '1 2\+3i'"),
    ("1(2+3i", r"holds '1\(2\+3i'"),
    ("0x1+2i", r"holds '0x1\+2i'"),
    ("1_0+2i", r"holds '1_0\+2i'"),
    ("\x001+2i", r"holds '\\x001\+2i'"),
    ("1+2i;", r"holds '1\+2i;'"),
    ("\N{FULLWIDTH DIGIT ONE}+2i", r"holds '\\uff11\+2i'"),
    ("1e39+0i", r"holds '1e39\+0i', more than float32"),
    ("1+1e999i", r"holds '1\+1e999i', more than float32"),
    ("9" * 200 + "+1i", "holds '9{40}'"),
]


@pytest.mark.parametrize(("cell", "message"), BAD_CELLS)
def test_bad_cell_is_refused_by_line_and_column(cell, message, tmp_path):
    lines = cells(signal(4, 3))
    lines[2] = f"1+2i,{cell},5+6i"
    dataset = open_hisarmod(write_part(tmp_path, lines=lines, labels=[0, 1, 2, 61]))
    np.testing.assert_array_equal(dataset.frames([0, 3, 1]), signal(4, 3)[[0, 3, 1]])
    with pytest.raises(DatasetError, match=rf"^train_data\.csv: line 3, column 2 {message}.*expected") as caught:
        everything(dataset)
    assert len(str(caught.value)) < 300


def test_wrong_cells_that_make_up_for_each_other_are_refused(tmp_path):
    dataset = open_hisarmod(write_part(tmp_path, lines=["1+2i,3+4i", "1+2+3i,4i", "1+2i,3+4i"], labels=[0, 1, 61]))
    with pytest.raises(DatasetError, match=r"line 2, column 1 holds '1\+2\+3i'"):
        everything(dataset)


def change_lines(change):
    lines = cells(signal(4))
    return change(lines)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (change_lines(lambda a: [*a[:2], a[2].rpartition(",")[0], a[3]]), "line 3 has 4 columns, the lines before it have 5"),
        (change_lines(lambda a: [*a[:2], a[2] + ",1+1i", a[3]]), "line 3 has 6 columns"),
        (change_lines(lambda a: [*a[:2], "", *a[2:]]), "line 3 is empty"),
        (change_lines(lambda a: ["0,1,2,3,4", *a]), "it has more lines than the 4 labels in train_labels.csv.*header"),
        (change_lines(lambda a: ["0,1,2,3,4", *a[1:]]), "line 1, column 1 holds '0'.*header"),
        (change_lines(lambda a: a[:3]), "it has 3 lines, and train_labels.csv has 4 labels"),
        (change_lines(lambda a: [*a[:3], a[3][:-3]]), "line 4, column 5 holds"),
        (change_lines(lambda a: [*a[:3], a[3][:12]]), "line 4 has 1 columns.*cut off"),
        (change_lines(lambda a: [*a, *[""] * 200]), "it ends in more than 100 empty lines"),
        ([], "it has 0 lines"),
    ],
)  # fmt: skip
def test_wrong_lines_are_refused_when_opened(lines, message, tmp_path):
    path = write_part(tmp_path, lines=lines, labels=[0, 1, 2, 61])
    with pytest.raises(DatasetError, match=rf"^train_data\.csv: {message}"):
        open_hisarmod(path)


def test_file_that_ends_inside_a_line_is_refused(tmp_path):
    path = write_part(tmp_path)
    content = path.read_bytes()
    for size in range(0, len(content) - 1, 7):
        path.write_bytes(content[:size])
        with pytest.raises(DatasetError, match=r"^train_data\.csv: "):
            open_hisarmod(path)


def test_line_without_end_is_refused_before_it_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(hisarmod_csv, "MOST_LINE_BYTES", 1 << 16)
    monkeypatch.setattr(hisarmod_csv, "_SCAN_BYTES", 1 << 14)
    path = write_part(tmp_path)
    with path.open("ab") as file:
        file.truncate(1 << 40)  # a hole: it takes no space, and reading it through would take minutes
    with pytest.raises(DatasetError, match=r"^train_data\.csv: line 27 is longer than"):
        open_hisarmod(path)


def test_small_blocks_find_the_same_lines(tmp_path, monkeypatch):
    path = write_part(tmp_path, ending="\r\n")
    for size in (1, 2, 3, 50, 51):
        monkeypatch.setattr(hisarmod_csv, "_SCAN_BYTES", size)
        monkeypatch.setattr(hisarmod_csv, "_PARSE_BYTES", size)
        np.testing.assert_array_equal(everything(open_hisarmod(path)), signal())


def test_utf16_is_refused_with_the_way_out(tmp_path):
    path = write_part(tmp_path)
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(DatasetError, match=r"^train_data\.csv: its text is UTF-16.*iconv"):
        open_hisarmod(path)


def test_missing_files_are_one_error(tmp_path):
    path = write_part(tmp_path / "Train")
    with pytest.raises(DatasetError, match=r"no data file of the part test; .*Name train_data.csv itself"):
        open_hisarmod(tmp_path)
    (tmp_path / "Train" / "train_snr.csv").unlink()
    with pytest.raises(DatasetError, match=r"^train_data\.csv: there is no train_snr\.csv beside it"):
        open_hisarmod(path)
    (tmp_path / "Train" / "train_labels.csv").unlink()
    with pytest.raises(DatasetError, match=r"^train_data\.csv: there is no train_labels\.csv beside it"):
        open_hisarmod(path)
    assert not is_hisarmod_folder(tmp_path)
    os.mkfifo(tmp_path / "Train" / "train_snr.csv")
    (tmp_path / "Train" / "train_labels.csv").write_text("61\n")
    with pytest.raises(DatasetError, match=r"^train_snr\.csv: not a regular file"):
        open_hisarmod(path)
    with pytest.raises(DatasetError, match="there is no such file"):
        open_hisarmod(tmp_path / "none.csv")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match="no data file of the part train and test"):
        open_hisarmod(empty)
    os.mkfifo(empty / "train_data.csv")
    with pytest.raises(DatasetError, match="there is no such file"):
        open_hisarmod(empty / "train_data.csv")


def test_labels_named_in_place_of_the_data_are_told(tmp_path):
    write_part(tmp_path)
    with pytest.raises(DatasetError, match=r"^train_labels\.csv: by its name this is not the frames"):
        open_hisarmod(tmp_path / "train_labels.csv")


def test_file_replaced_while_in_use_is_refused(tmp_path):
    path = write_part(tmp_path)
    dataset = open_hisarmod(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"^train_data\.csv: the file was replaced"):
        everything(dataset)


def test_start_of_the_data_is_recognised_and_little_else():
    line = cells(signal(1, 300))[0].encode()
    assert len(line) > 4096
    for yes in (line[:4096], b"1+2i,3-4i\n", b"\xef\xbb\xbf1+2i,3-4i\r\n5+6i,7+8i", b"(1+2j),(3-4.5e-05j)\n"):
        assert looks_like_hisarmod(yes)
    for no in (b"", b"1+2i", b"1,2,3\n", b"1+2i,x\n", b"1+2i,3+4i,5\n", b"a,b\n1+2i,3+4i", line.replace(b",", b";")):
        assert not looks_like_hisarmod(no)


def test_progress_tells_of_the_lines_search(tmp_path):
    told = []
    open_hisarmod(write_part(tmp_path), progress=lambda done, total, note="": told.append((done, total, note)))
    assert told == [(1, 1, "MiB of train_data.csv")]


@CSV_SETTINGS
@given(data=st.data())
def test_any_set_comes_back_as_written(data, tmp_path_factory):
    part = st.floats(width=32, allow_nan=False, allow_infinity=False)
    count, length = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    frames = np.array(data.draw(st.lists(part, min_size=2 * count * length, max_size=2 * count * length)), dtype="f4")
    frames = frames.reshape(count, 2, length)
    digits = data.draw(st.sampled_from([".9g", ".17g", ".12e"]))
    unit, ending = data.draw(st.sampled_from("ij")), data.draw(st.sampled_from(["\n", "\r\n"]))
    lines = [",".join(f"{i:{digits}}{q:+{digits}}{unit}" for i, q in frame.T) for frame in frames.astype(float)]
    path = write_part(tmp_path_factory.mktemp("set"), lines=lines, labels=["BPSK"] * count, ending=ending)
    np.testing.assert_array_equal(everything(open_hisarmod(path)), frames)


@CSV_SETTINGS
@given(data=st.data())
def test_damage_ends_in_frames_or_in_one_error(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    path = write_part(folder)
    name = data.draw(st.sampled_from(["train_data.csv", "train_data.csv", "train_labels.csv", "train_snr.csv"]))
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "repeat", "insert"]))
        if kind == "flip":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.sampled_from([1, 10, 10**6]))]
        elif kind == "repeat":
            content[at:at] = content[at : at + 40]
        else:
            content[at:at] = data.draw(
                st.sampled_from([b"\n", b",", b"e", b"-", b"+", b"i", b"(", b" ", b"\xff", b"."])
            )
        if not content:
            break
    (folder / name).write_bytes(content)
    message = "train_"
    frames = np.zeros(26)
    try:
        frames = everything(open_hisarmod(path))
    except DatasetError as error:
        message = str(error)
    assert message.startswith("train_")
    assert len(frames) == 26
    assert np.isfinite(frames).all()


def write_mat(path: Path, array, name="data_save", **options) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset(name, data=array, **options)
    return path


def mat_part(folder, array, **options):
    write_part(folder, labels=CODES[: array_count(array)] if array_count(array) < 26 else CODES).unlink()
    return write_mat(folder / "train.mat", array, **options)


def array_count(array):
    return next(size for size in array.shape if size not in (1, 2, 1024))


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": True}], ids=["contiguous", "compressed"])
@pytest.mark.parametrize("axes", [(1, 2, 0), (0, 1, 2), (2, 1, 0)], ids=["amr-benchmark", "frames first", "reversed"])
def test_matlab_array_in_any_order_of_axes_is_read(axes, options, tmp_path):
    frames = signal(26, 1024)
    path = mat_part(tmp_path, frames.astype("f8").transpose(axes), **options)
    dataset = open_hisarmod(path)
    assert dataset.length == 1024
    np.testing.assert_array_equal(dataset.labels, range(26))
    np.testing.assert_array_equal(everything(dataset), frames)
    np.testing.assert_array_equal(dataset.frames([25, 0, 7, 7]), frames[[25, 0, 7, 7]])


def test_matlab_complex_array_is_read(tmp_path):
    frames = signal(26, 1024)
    stored = np.empty((1024, 26), dtype=[("real", "<f8"), ("imag", "<f8")])
    stored["real"], stored["imag"] = frames[:, 0].T, frames[:, 1].T
    np.testing.assert_array_equal(everything(open_hisarmod(mat_part(tmp_path, stored))), frames)
    np.testing.assert_array_equal(everything(open_hisarmod(mat_part(tmp_path, stored.T))), frames)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1024, 27), r"shape \(2, 1024, 27\); expected 2 x 1024 x 26, in any order"),
        ((26, 1024), r"shape \(26, 1024\); expected 2 x 1024 x 26"),
        ((2, 512, 26), r"shape \(2, 512, 26\); expected 2 x 1024 x 26"),
    ],
)
def test_matlab_array_of_another_shape_is_refused(shape, message, tmp_path):
    write_part(tmp_path).unlink()
    with pytest.raises(DatasetError, match=rf"^train\.mat: data_save has the {message}"):
        open_hisarmod(write_mat(tmp_path / "train.mat", np.zeros(shape, "f4")))


def test_matlab_array_whose_axes_cannot_be_told_is_refused(tmp_path):
    write_part(tmp_path, labels=["BPSK", "QPSK"]).unlink()
    with pytest.raises(DatasetError, match=r"shape \(2, 2, 1024\): which axis is which cannot be told"):
        open_hisarmod(write_mat(tmp_path / "train.mat", np.zeros((2, 2, 1024), "f4")))


def test_other_matlab_files_are_refused(tmp_path):
    write_part(tmp_path).unlink()
    with pytest.raises(DatasetError, match=r"^train\.mat: has other; expected an array data_save"):
        open_hisarmod(write_mat(tmp_path / "train.mat", np.zeros((2, 1024, 26)), name="other"))
    (tmp_path / "train.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: PCWIN64".ljust(300))
    with pytest.raises(DatasetError, match=r"before v7\.3; .*-v7\.3"):
        open_hisarmod(tmp_path / "train.mat")


def test_array_that_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("toolchain.data.formats.matlab_frames.available_memory_bytes", lambda: 300_000)
    path = mat_part(tmp_path, signal(26, 1024).transpose(1, 2, 0))
    with pytest.raises(
        DatasetError, match=r"^train\.mat: data_save has the shape \(2, 1024, 26\) .* permute the array"
    ):
        open_hisarmod(path)


def test_matlab_file_that_is_open_is_not_looked_into_again(tmp_path, monkeypatch):
    frames = signal(26, 1024)
    file = open_hdf5(mat_part(tmp_path, frames))
    monkeypatch.setattr("toolchain.data.formats.hisarmod.open_hdf5", None)
    dataset = open_hisarmod(file)
    assert dataset.source == "train.mat"
    np.testing.assert_array_equal(everything(dataset), frames)
    (tmp_path / "train_snr.csv").unlink()
    with pytest.raises(DatasetError, match=r"^train\.mat: there is no train_snr\.csv beside it"):
        open_hisarmod(file)


def test_matlab_file_is_recognised_by_its_array(tmp_path):
    for name, shape, recognised in (
        ("data_save", (2, 1024, 3), True),
        ("train_data", (2, 1024, 3), True),
        ("train_data", (2, 100, 3), False),
        ("X", (3, 1024, 2), False),
    ):
        assert looks_like_hisarmod_mat(open_hdf5(write_mat(tmp_path / "a.mat", np.zeros(shape), name))) is recognised
