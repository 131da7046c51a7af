from __future__ import annotations

import pickle
import tracemalloc

import h5py
import numpy as np
import pytest

from toolchain.data import check_frames, open_dataset
from toolchain.data.formats.rml2018 import CLASSES
from toolchain.errors import DatasetError

# As datasets.md has them: not the order of the file's classes.txt.
ORDER = """OOK 4ASK 8ASK BPSK QPSK 8PSK 16PSK 32PSK 16APSK 32APSK 64APSK 128APSK 16QAM 32QAM 64QAM 128QAM 256QAM
AM-SSB-WC AM-SSB-SC AM-DSB-WC AM-DSB-SC FM GMSK OQPSK""".split()
SNRS_DB = (-20, 30)
COUNT = 24 * 2 * 3
LENGTH = 64


def published(length=LENGTH):
    """The published layout in small: by class, in it by SNR, in it 3 frames (4096 there)."""
    labels = np.repeat(np.arange(24), 6)
    return {
        "X": np.random.default_rng(2).normal(size=(COUNT, length, 2)).astype("<f4"),
        "Y": np.eye(24, dtype="<i8")[labels],
        "Z": np.tile(np.repeat(np.array(SNRS_DB, dtype="<i8"), 3), 24)[:, None],
    }


def write(tmp_path, options=None, **changes):
    path = tmp_path / "GOLD.hdf5"
    with h5py.File(path, "w") as file:
        for name, array in {**published(), **changes}.items():
            if array is not None:
                file.create_dataset(name, data=array, **(options or {}))
    return path


def assert_is_published(dataset, x=None):
    expected = (published()["X"] if x is None else x).transpose(0, 2, 1).astype("f4")
    np.testing.assert_array_equal(dataset.labels, np.repeat(np.arange(24), 6))
    np.testing.assert_array_equal(dataset.snr_db, np.tile([-20, -20, -20, 30, 30, 30], 24))
    np.testing.assert_array_equal(dataset.frames(np.arange(COUNT)), expected)
    asked = np.array([143, 0, 77, 77, 5, 6, 7])
    np.testing.assert_array_equal(dataset.frames(asked), expected[asked])


def test_classes_are_in_the_order_of_the_frames():
    assert list(CLASSES) == ORDER


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": True},
        {"chunks": True, "compression": "gzip"},
        {"chunks": True, "compression": "gzip", "shuffle": True},
    ],
    ids=["contiguous", "chunked", "gzip", "shuffled"],
)
def test_published_layout_is_read(options, tmp_path):
    dataset = open_dataset(write(tmp_path, options))
    assert (dataset.source, dataset.format, dataset.length, len(dataset)) == ("GOLD.hdf5", "rml2018", LENGTH, COUNT)
    assert dataset.classes == CLASSES
    assert dataset.sample_rate_hz is None
    assert dataset.own_test is None
    assert_is_published(dataset)
    check_frames(dataset)


def test_values_by_hand(tmp_path):
    x = np.zeros((2, 3, 2), "<f4")
    x[1] = [[1, -1], [2, -2], [3, -3]]
    dataset = open_dataset(write(tmp_path, X=x, Y=np.eye(24)[[7, 23]], Z=np.array([[-2], [18]])))
    assert [dataset.classes[label] for label in dataset.labels] == ["32PSK", "OQPSK"]
    assert dataset.snr_db.tolist() == [-2, 18]
    assert dataset.frames([1]).tolist() == [[[1, 2, 3], [-1, -2, -3]]]


@pytest.mark.parametrize("kind", ["i1", "u1", "<i4", ">i8", "<f2", "<f4", ">f8", "?"])
def test_labels_and_snrs_of_any_real_type_are_read(kind, tmp_path):
    changes = {"Y": published()["Y"].astype(kind)}
    if kind not in ("u1", "?"):
        changes["Z"] = published()["Z"].astype(kind)[:, 0]
    assert_is_published(open_dataset(write(tmp_path, **changes)))


@pytest.mark.parametrize("kind", ["<f8", "<i2", ">i2", "u1", "<f2"])
def test_frames_of_any_real_type_become_float32(kind, tmp_path):
    x = (100 + 50 * published()["X"]).clip(0, 255).astype(kind)
    assert_is_published(open_dataset(write(tmp_path, X=x)), x)


def test_float64_beyond_float32_is_found_by_the_check(tmp_path):
    x = published()["X"].astype("f8")
    x[7, 3, 1] = 1e300
    dataset = open_dataset(write(tmp_path, X=x))
    with pytest.raises(DatasetError, match=r"^GOLD\.hdf5: 1 of 144 frames .* first frame 7 \(4ASK, -20 dB\)"):
        check_frames(dataset)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_frame_that_is_no_number_is_found_by_the_check(value, tmp_path):
    x = published()["X"]
    x[143, 63, 1] = value
    with pytest.raises(DatasetError, match=r"1 of 144 frames .* first frame 143 \(OQPSK, 30 dB\)"):
        check_frames(open_dataset(write(tmp_path, X=x)))


def test_a_set_goes_to_another_process(tmp_path):
    dataset = pickle.loads(pickle.dumps(open_dataset(write(tmp_path, {"chunks": True, "compression": "gzip"}))))
    assert_is_published(dataset)


@pytest.mark.parametrize("options", [{}, {"chunks": (8, 4096, 2), "compression": "gzip"}], ids=["plain", "gzip"])
def test_frames_stay_in_the_file_until_asked_for(options, tmp_path):
    x = np.random.default_rng(1).integers(0, 4, (COUNT, 4096, 2)).astype("f4")
    path = write(tmp_path, X=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("X", data=x, **options)
    tracemalloc.start()
    dataset = open_dataset(path)
    frames = dataset.frames([0, 70, 143])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(frames, x[[0, 70, 143]].transpose(0, 2, 1))
    # Three frames take 96 KiB, a chunk 256 KiB, the set 4.5 MiB.
    assert peak_bytes < 3 << 20
    assert dataset.block_frames == 8


def test_labels_are_read_a_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("toolchain.data.formats.rml2018._LABEL_BLOCK", 50)
    told = []
    dataset = open_dataset(write(tmp_path), progress=lambda done, total, note="": told.append((done, total)))
    assert told == [(50, 144), (100, 144), (144, 144)]
    assert_is_published(dataset)


def changed(name, place, value, kind=None):
    array = published()[name]
    array = array.astype(kind or array.dtype)
    array[place] = value
    return {name: array}


EXPECTED = r"; expected RML2018\.01A's X \(N, length, 2\), Y one-hot \(N, 24\) and Z \(N, 1\)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": published()["X"].transpose(0, 2, 1)}, EXPECTED + r".* I and Q are X's axis 1: save X\.transpose\(0, 2, 1\)"),
        ({"X": published()["X"][:, :, :1]}, r"X \(144, 64, 1\), .*" + EXPECTED),
        ({"X": published()["X"][:, :, 0]}, r"X \(144, 64\), .*" + EXPECTED),
        ({"X": published()["X"][:-1]}, r"X \(143, 64, 2\), Y \(144, 24\), .*" + EXPECTED),
        ({"X": published()["X"][:0], "Y": published()["Y"][:0], "Z": published()["Z"][:0]}, r"X \(0, 64, 2\), .*" + EXPECTED),
        ({"X": published()["X"][:, :0]}, r"X \(144, 0, 2\)"),
        ({"Y": published()["Y"][:, :23]}, r"Y \(144, 23\), .*" + EXPECTED),
        ({"Y": published()["Y"].T}, r"Y \(24, 144\)"),
        ({"Y": np.repeat(np.arange(24), 6)}, r"Y \(144,\)"),
        ({"Z": published()["Z"][:-1]}, r"Z \(143, 1\); .* one SNR a frame"),
        ({"Z": published()["Z"].T}, r"Z \(1, 144\); .* one SNR a frame"),
        ({"Z": np.zeros((144, 2))}, r"Z \(144, 2\); .* one SNR a frame"),
        ({"X": published()["X"].astype("S4")}, r"X holds \|S4; expected real numbers"),
        ({"X": np.zeros((144, 64, 2), "c8")}, r"X is not readable: it holds <c8, no plain numbers"),
        ({"X": np.zeros((144, 64, 2), [("real", "f4"), ("imag", "f4")])}, r"X holds .*real.*; expected real numbers"),
        ({"Z": np.full((144, 1), b"10")}, r"Z holds \|S2; expected real numbers"),
        (changed("Y", (100, 3), 1), r"row 100 of Y is not one-hot: it has 1, 1; expected a single 1 among 24 columns"),
        (changed("Y", 5, 0), r"row 5 of Y is not one-hot: it has no 1"),
        (changed("Y", (143, 23), 2), r"row 143 of Y is not one-hot: it has 2"),
        (changed("Y", (143, 23), 0.5, "f4"), r"row 143 of Y is not one-hot: it has 0\.5"),
        (changed("Y", (0, 9), np.nan, "f4"), r"row 0 of Y is not one-hot: it has 1, nan"),
        (changed("Y", (0, 9), -1), r"row 0 of Y is not one-hot: it has 1, -1"),
        (changed("Y", (0, 9), 2**62), r"row 0 of Y is not one-hot: it has 1, 4\.6"),
        (changed("Z", 17, np.nan, "f4"), r"row 17 of Z is nan; expected an SNR in dB"),
        (changed("Z", 17, -np.inf, "f8"), r"row 17 of Z is -inf; expected an SNR in dB"),
        (changed("Z", 17, -(2**63)), r"row 17 of Z is -9\.2.*e\+18; expected an SNR in dB"),
        (changed("Z", 0, 1e300, "f8"), r"row 0 of Z is 1e\+300"),
    ],
)  # fmt: skip
def test_what_is_laid_out_otherwise_is_one_error(changes, message, tmp_path):
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(write(tmp_path, **changes))
    said = str(caught.value)
    assert said.startswith("GOLD.hdf5: ")
    assert "expected" in said
    assert said.isprintable()
    # What to do is the last sentence.
    assert any(way in said.rpartition(". ")[2] + said for way in ("Fetch", "save X.", "write them one-hot"))


def test_file_without_one_of_the_three_is_another_set(tmp_path):
    with pytest.raises(DatasetError, match=r"^GOLD\.hdf5: an HDF5 file with 'X', 'Y', which is no set that is known"):
        open_dataset(write(tmp_path, Z=None))


def test_signal_that_compresses_a_hundredfold_is_refused(tmp_path, monkeypatch):
    """A small file would otherwise have labels for gigabytes."""
    monkeypatch.setattr("deploy.frames.hdf5_dataset.FREE_OF_RATIO_BYTES", (4 << 20) - 1)
    how = {"chunks": (1 << 14, 32, 2), "compression": "gzip"}
    path = tmp_path / "GOLD.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=np.zeros((1 << 16, 32, 2), "u1"), **how)
        file.create_dataset("Y", data=np.zeros((1 << 16, 24), "u1"), compression="gzip")
        file.create_dataset("Z", data=np.zeros((1 << 16, 1), "i1"), compression="gzip")
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r"X claims 4194304 bytes out of \d+ in the file; .*without compression"):
            open_dataset(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 21


def test_wrong_checksum_names_array_and_chunk(tmp_path):
    path = write(tmp_path, {"chunks": (8, 64, 2), "compression": "gzip"}, Y=None, Z=None)
    with h5py.File(path, "a") as file:
        file["Y"], file["Z"] = published()["Y"], published()["Z"]
        chunk = file["X"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 4
    path.write_bytes(content)
    dataset = open_dataset(path)
    dataset.frames([0, 23])
    with pytest.raises(DatasetError, match=r"^GOLD\.hdf5: X: chunk 3 cannot be decompressed .*copy it again"):
        dataset.frames([24])
