from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from toolchain.data import check_frames, open_rml2016
from toolchain.errors import DatasetError

# Beside the repository on the machines that make the project; a user's clone has it not.


def set_of(names=("QPSK", "8PSK", "BPSK"), snrs_db=(2, -4, 0), count=5, length=16, dtype="f4"):
    rng = np.random.default_rng(7)
    return {(name, snr): (100 * rng.normal(size=(count, 2, length))).astype(dtype) for name in names for snr in snrs_db}


def python2_pickle(cells) -> bytes:
    """What Python 2's cPickle writes in protocol 0: strings as reprs, longs with an L."""
    program = b"(dp1\n"
    for (name, snr), array in cells.items():
        program += b"(S%s\nI%d\ntp2\n" % (repr(name).encode(), snr)
        program += (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I%d\nI%d\nL%dL\n"
            % array.shape
        )
        program += b"tcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS"
        program += repr(array.tobytes())[1:].encode() + b"\ntbs"
    return program + b"."


def write(tmp_path, content) -> Path:
    path = tmp_path / "set.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    return path


def assert_holds(dataset, cells):
    names = sorted({name for name, _ in cells})
    assert dataset.classes == tuple(names)
    start = 0
    for name, snr in sorted(cells):
        array = cells[name, snr]
        stop = start + len(array)
        assert (dataset.labels[start:stop] == names.index(name)).all()
        assert (dataset.snr_db[start:stop] == snr).all()
        np.testing.assert_array_equal(dataset.frames(np.arange(start, stop)), array.astype("f4"))
        start = stop
    assert len(dataset) == start


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("count", [1, 300], ids=["short strings", "long strings"])
def test_every_protocol_gives_the_same_set(protocol, count, tmp_path):
    cells = set_of(count=count)
    dataset = open_rml2016(write(tmp_path, pickle.dumps(cells, protocol)))
    assert_holds(dataset, cells)
    assert (dataset.source, dataset.format, dataset.length) == ("set.pkl", "rml2016", 16)
    assert dataset.sample_rate_hz is None
    check_frames(dataset)


def test_python2_pickle_is_read(tmp_path):
    cells = set_of(names=("QAM'16", 'PAM"4', "BPSK"), count=40)
    content = python2_pickle(cells)
    read_by_pickle = pickle.loads(content, encoding="latin1")
    for key, array in cells.items():
        np.testing.assert_array_equal(read_by_pickle[key], array)
    assert_holds(open_rml2016(write(tmp_path, content)), cells)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["f4", ">f4", "f2", "f8", ">f8", "i1", "i2", ">i2", "i4", "i8", "u1"])
def test_every_number_type_and_byte_order_becomes_float32(protocol, dtype, tmp_path):
    cells = set_of(dtype=dtype)
    assert_holds(open_rml2016(write(tmp_path, pickle.dumps(cells, protocol))), cells)


@pytest.mark.parametrize("protocol", range(6))
def test_layouts_in_memory_do_not_matter(protocol, tmp_path):
    cells = set_of()
    stored = {
        key: (np.asfortranarray(array) if key[1] == 0 else np.repeat(array, 2, axis=2)[:, :, ::2])
        for key, array in cells.items()
    }
    assert_holds(open_rml2016(write(tmp_path, pickle.dumps(stored, protocol))), cells)


@pytest.mark.parametrize("protocol", range(6))
def test_keys_of_numpy_integers_and_floats_are_read(protocol, tmp_path):
    cells = set_of()
    for kind in (np.int64, np.int8, np.dtype(">i4").type, np.float32, float):
        stored = {(name, kind(snr)): array for (name, snr), array in cells.items()}
        assert_holds(open_rml2016(write(tmp_path, pickle.dumps(stored, protocol))), cells)


def test_names_as_bytes_and_beyond_ascii_are_read(tmp_path):
    cells = set_of(names=("π/4-DQPSK", "BPSK"))
    as_bytes = {(name.encode(), snr): array for (name, snr), array in cells.items()}
    for protocol in range(6):
        assert_holds(open_rml2016(write(tmp_path, pickle.dumps(cells, protocol))), cells)
    for protocol in (3, 4, 5):
        assert_holds(open_rml2016(write(tmp_path, pickle.dumps(as_bytes, protocol))), cells)


def test_numpy_1_spelling_is_read(tmp_path):
    cells = set_of()
    for protocol in range(4):
        old = pickle.dumps(cells, protocol).replace(b"numpy._core", b"numpy.core")
        assert_holds(open_rml2016(write(tmp_path, old)), cells)


def test_cells_of_different_sizes_are_read(tmp_path):
    cells = set_of()
    cells["BPSK", 0] = cells["BPSK", 0][:2]
    assert_holds(open_rml2016(write(tmp_path, cells)), cells)


def test_frames_come_in_the_order_asked_for(tmp_path):
    dataset = open_rml2016(write(tmp_path, set_of()))
    everything = dataset.frames(np.arange(len(dataset)))
    asked = np.array([44, 0, 17, 17, 3])
    np.testing.assert_array_equal(dataset.frames(asked), everything[asked])


def test_progress_counts_cells(tmp_path):
    told = []
    open_rml2016(write(tmp_path, set_of()), progress=lambda done, total, note="": told.append((done, total)))
    assert told == [(n, 9) for n in range(1, 10)]


ARRAY = np.zeros((3, 2, 16), dtype="f4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "empty dict"),
        (("QPSK", 0), r"holds \('QPSK', 0\)"),
        (ARRAY, r"holds float32 array \(3, 2, 16\)"),
        ({"QPSK": ARRAY}, "a key of the dict is 'QPSK'"),
        ({("QPSK", "0"): ARRAY}, r"a key of the dict is \('QPSK', '0'\)"),
        ({(0, "QPSK"): ARRAY}, r"a key of the dict is \(0, 'QPSK'\)"),
        ({("QPSK", True): ARRAY}, r"a key of the dict is \('QPSK', True\)"),
        ({("QPSK", 0, 1): ARRAY}, r"a key of the dict is \('QPSK', 0, 1\)"),
        ({("QPSK", float("nan")): ARRAY}, r"a key of the dict is \('QPSK', nan\)"),
        ({("", 0): ARRAY}, "a modulation is named ''"),
        ({("a\x1b[2J", 0): ARRAY}, r"a modulation is named 'a\\x1b\[2J'"),
        ({("Q" * 2000, 0): ARRAY}, r"a key of the dict is \(a long string, 0\)"),
        ({("QPSK", 0): 1}, r"cell \('QPSK', 0\) holds 1"),
        ({("QPSK", 0): {}}, r"cell \('QPSK', 0\) holds a dict of 0 entries"),
        ({("QPSK", 0): [1.0, 2.0]}, r"EMPTY_LIST"),
        ({("QPSK", 0): ARRAY.astype("c8")}, r"cell \('QPSK', 0\) holds complex64"),
        ({("QPSK", 0): ARRAY.astype(bool)}, r"cell \('QPSK', 0\) holds bool"),
        ({("QPSK", 0): ARRAY.astype("U4")}, r"type 'U4'; expected numbers .*\('QPSK', 0\)"),
        ({("QPSK", 0): ARRAY.astype(object)}, r"type 'O8'; expected numbers .*\('QPSK', 0\)"),
        ({("QPSK", 0): ARRAY.transpose(0, 2, 1)}, r"cell \('QPSK', 0\) has the shape \(3, 16, 2\).*transpose\(0, 2, 1\)"),
        ({("QPSK", 0): ARRAY[0]}, r"cell \('QPSK', 0\) has the shape \(2, 16\)"),
        ({("QPSK", 0): ARRAY[:, :1]}, r"cell \('QPSK', 0\) has the shape \(3, 1, 16\)"),
        (
            {("QPSK", 0): ARRAY, ("BPSK", 2): ARRAY[:, :, :8].copy()},
            r"cell \('QPSK', 0\) has frames of 16 samples, .*'BPSK', 2\) of 8",
        ),
        ({("QPSK", 0): ARRAY, ("QPSK", 0.0 + 1e-12): ARRAY + 1, (b"QPSK", 1e-12): ARRAY + 2}, "twice"),
        ({("QPSK", 0): ARRAY, ("QPSK", 2): ARRAY}, r"\('QPSK', 0\) and the cell \('QPSK', 2\) hold the same array"),
    ],
)  # fmt: skip
def test_dict_of_another_kind_is_refused_by_name(content, message, tmp_path):
    for protocol in (3, 4):
        with pytest.raises(DatasetError, match=message) as caught:
            open_rml2016(write(tmp_path, pickle.dumps(content, protocol)))
        assert str(caught.value).startswith("set.pkl: ")
        assert "expected" in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 2, 16), (3, 2, 0)])
def test_empty_cell_is_refused_by_name(shape, tmp_path):
    cells = {("QPSK", 0): np.zeros(shape, dtype="f4")}
    for protocol in range(3, 6):
        with pytest.raises(DatasetError, match=r"cell \('QPSK', 0\) is empty"):
            open_rml2016(write(tmp_path, pickle.dumps(cells, protocol)))


def test_shape_that_its_bytes_do_not_fill_is_refused(tmp_path):
    content = python2_pickle(set_of(count=40))
    for lie in (b"I39\n", b"I41\n", b"I4000000\n"):
        with pytest.raises(DatasetError, match=r"set\.pkl: byte \d+: .* needs \d+ bytes and has .*\('QPSK', 2\)"):
            open_rml2016(write(tmp_path, content.replace(b"I40\n", lie, 1)))


def test_set_that_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path, set_of(dtype="f8"))
    # Nine cells of 5 frames as float32, and one of them as it is in the file.
    needed = 9 * 5 * 2 * 16 * 4 + 5 * 2 * 16 * 8
    monkeypatch.setattr("deploy.memory.available_memory_bytes", lambda: needed)
    assert len(open_rml2016(path)) == 45
    monkeypatch.setattr("deploy.memory.available_memory_bytes", lambda: needed - 1)
    monkeypatch.setattr("toolchain.data.formats.rml2016.load_array", None)
    with pytest.raises(
        DatasetError,
        match=r"^set\.pkl: its 45 frames need 0\.0 GiB of memory, 0\.0 are free\. Pickle fewer of its cells",
    ):
        open_rml2016(path)


def test_missing_file_is_one_error(tmp_path):
    with pytest.raises(DatasetError, match=r"^none\.pkl: cannot be read: No such file"):
        open_rml2016(tmp_path / "none.pkl")


def test_float64_beyond_float32_is_found_by_the_check(tmp_path):
    cells = set_of(dtype="f8")
    cells["BPSK", 0][1, 0, 3] = 1e300
    with pytest.raises(DatasetError, match=r"1 of 45 frames .* first frame 21 \(BPSK, 0 dB\)"):
        check_frames(open_rml2016(write(tmp_path, cells)))


def test_file_made_with_gnu_radio_is_read_whole(real_file):
    dataset = open_rml2016(real_file)
    assert len(dataset.classes) == 11
    assert dataset.length == 128
    cells, counts = np.unique(np.stack([dataset.labels, dataset.snr_db]), axis=1, return_counts=True)
    assert cells.shape == (2, 11 * 20)
    assert (counts == 80).all()
    assert sorted(set(dataset.snr_db.tolist())) == list(range(-20, 20, 2))
    check_frames(dataset, expected_length=128)
