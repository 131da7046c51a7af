from __future__ import annotations

import subprocess
import sys
import tracemalloc
import zlib
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from toolchain.data import check_frames, open_h5, verify_h5, write_h5
from toolchain.errors import DatasetError

CLASSES = ("BPSK", "π/4-DQPSK", "8PSK")


def parts(count=30, length=16, **changes):
    rng = np.random.default_rng(5)
    given = {
        "iq": rng.normal(size=(count, 2, length)).astype("f4"),
        "label": np.arange(count) % 3,
        "snr_db": np.linspace(-20, 18, count).astype("f4"),
        "classes": CLASSES,
        "sample_rate_hz": 1e6,
        "made_by": "a test, seed 5",
    }
    return {**given, **changes}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.h5"


def test_what_is_written_is_read(path):
    given = parts()
    write_h5(path, **given)
    dataset = open_h5(path)
    np.testing.assert_array_equal(dataset.frames(np.arange(30)), given["iq"])
    np.testing.assert_array_equal(dataset.labels, given["label"])
    np.testing.assert_array_equal(dataset.snr_db, given["snr_db"])
    assert dataset.classes == CLASSES
    assert (dataset.source, dataset.length, dataset.sample_rate_hz) == ("set.h5", 16, 1e6)
    check_frames(dataset)
    verify_h5(path)


def test_unknown_sample_rate_stays_unknown(path):
    write_h5(path, **parts(sample_rate_hz=None))
    assert open_h5(path).sample_rate_hz is None


def test_frames_come_in_any_order_from_any_place(path, monkeypatch):
    # Blocks of 5 frames and chunks of 3, so that runs, gaps and block ends all occur.
    monkeypatch.setattr("toolchain.data.writing.CHUNK_BYTES", 3 * 128)
    monkeypatch.setattr("deploy.frames.gathering.RUN_BYTES", 5 * 128)
    given = parts(count=100)
    write_h5(path, **given)
    with h5py.File(path) as file:
        assert file["iq"].chunks == (3, 2, 16)
    dataset = open_h5(path)
    rng = np.random.default_rng(1)
    for asked in (
        [99],
        [0],
        [3, 3, 3],
        np.arange(100),
        np.arange(100)[::-1],
        rng.permutation(100),
        rng.integers(0, 100, 250),
    ):
        np.testing.assert_array_equal(dataset.frames(asked), given["iq"][asked])
    verify_h5(path)


def test_chunks_hold_whole_frames_also_of_long_ones(path):
    write_h5(path, **parts(count=3, length=100_000))
    with h5py.File(path) as file:
        assert file["iq"].chunks == (1, 2, 100_000)


def test_opening_and_reading_a_few_frames_loads_no_more(path):
    write_h5(path, **parts(count=20_000, length=128))
    tracemalloc.start()
    dataset = open_h5(path)
    dataset.frames([0, 10_000, 19_999])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**21


def test_reading_many_frames_needs_one_block_more(path, monkeypatch):
    monkeypatch.setattr("deploy.frames.gathering.RUN_BYTES", 2**20)
    write_h5(path, **parts(count=20_000, length=128))
    dataset = open_h5(path)
    asked = np.arange(20_000)
    tracemalloc.start()
    frames = dataset.frames(asked)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < frames.nbytes + 2**22


def test_same_parts_make_the_same_file(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_h5(tmp_path / name, **parts())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iq": np.zeros((30, 16, 2), "f4")}, r"iq of shape \(30, 16, 2\)"),
        ({"iq": np.zeros((30, 2, 16))}, "float64; expected float32"),
        ({"iq": np.zeros((0, 2, 16), "f4"), "label": np.zeros(0, "i8"), "snr_db": np.zeros(0, "f4")}, r"\(0, 2, 16\)"),
        ({"iq": np.zeros((29, 2, 16), "f4")}, "29 frames and 30 labels"),
        ({"iq": np.full((30, 2, 16), np.nan, "f4")}, "NaN"),
        ({"label": np.full(30, 3)}, "labels from 3 to 3"),
        ({"snr_db": np.full(30, np.inf, "f4")}, "SNR of inf"),
        ({"classes": ("a", "a", "b")}, "not all different"),
        ({"sample_rate_hz": -1.0}, "sample rate of -1"),
        ({"sample_rate_hz": float("nan")}, "sample rate of nan"),
    ],
)
def test_parts_that_do_not_fit_leave_no_file(changes, message, path):
    with pytest.raises(DatasetError, match=message):
        write_h5(path, **parts(**changes))
    assert list(path.parent.iterdir()) == []


def test_failed_writing_leaves_the_old_file(path):
    write_h5(path, **parts())
    before = path.read_bytes()
    iq = parts()["iq"]
    iq[29, 1, 15] = np.inf
    with pytest.raises(DatasetError, match="infinity"):
        write_h5(path, **parts(iq=iq))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_is_said_before_hdf5_meets_it(path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=100_000))
    with pytest.raises(DatasetError, match="cannot be written: No space left"):
        write_h5(path, **parts())
    assert list(path.parent.iterdir()) == []


def test_disk_that_fills_under_it_ends_in_one_error_and_no_crash(tmp_path):
    """Free space is no promise: a limit of the process, as a quota, shows only when bytes are taken."""
    program = (
        "import resource, sys; import numpy as np; from pathlib import Path; from toolchain.data import write_h5\n"
        "from toolchain.errors import DatasetError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))\n"
        "try: write_h5(Path(sys.argv[1]), iq=np.zeros((5000, 2, 512), 'f4'), label=np.arange(5000) % 2,\n"
        "    snr_db=np.zeros(5000, 'f4'), classes=('a', 'b'), sample_rate_hz=None, made_by='x')\n"
        "except DatasetError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "s.h5"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 's.h5'}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("n" * 252 + ".h5")
    write_h5(path, **parts())
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DatasetError, match="cannot be written: File name too long"):
        write_h5(tmp_path / ("n" * 260 + ".h5"), **parts())


def test_what_a_killed_process_left_goes(path):
    write_h5(path, **parts())
    left = path.parent / f".{zlib.crc32(b'set.h5'):08x}.999999999.unfinished"
    others = [
        path.parent / f".{zlib.crc32(b'set.h5'):08x}.1.unfinished",
        path.parent / ".12345678.999999999.unfinished",
    ]
    for file in (left, *others):
        file.write_bytes(b"half")
    write_h5(path, **parts())
    assert not left.exists()
    assert all(file.exists() for file in others)  # of a process that is at work, and of another file


def test_file_ends_where_its_content_ends(path):
    write_h5(path, **parts())
    with h5py.File(path) as file:
        assert path.stat().st_size == file.id.get_filesize()


def test_own_test_that_cannot_be_read_is_not_taken_for_none(path):
    write_h5(path, **parts())
    with h5py.File(path, "r+") as file:
        file.create_dataset("own_test", data=np.zeros(30, "u1"), chunks=(30,), compression="lzf")
    with pytest.raises(DatasetError, match="its own_test is not readable: it is compressed with"):
        open_h5(path)


def test_folder_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(DatasetError, match="cannot be written"):
        write_h5(tmp_path / "none" / "set.h5", **parts())


def replace_dataset(name, data=None, **how):
    def change(file):
        del file[name]
        file.create_dataset(name, data=data, **how)

    return change


def set_attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def external(file):
    del file["iq"]
    file.create_dataset("iq", (30, 2, 16), "f4", external=[("elsewhere.bin", 0, 30 * 2 * 16 * 4)])


def virtual(file):
    del file["iq"]
    layout = h5py.VirtualLayout((30, 2, 16), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "iq", (30, 2, 16))
    file.create_virtual_dataset("iq", layout)


def link_outside(file):
    del file["iq"]
    file["iq"] = h5py.ExternalLink("elsewhere.h5", "/iq")


def group(file):
    del file["label"]
    file.create_group("label")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_attribute("format", "other"), "thinwave did not write"),
        (set_attribute("format", 7), "thinwave did not write"),
        (lambda file: file.attrs.__delitem__("format"), r"thinwave did not write, with iq, label, snr_db"),
        (set_attribute("version", 2), "version 2 of the format; this program reads 1"),
        (lambda file: file.__delitem__("label"), "has no dataset label"),
        (group, "has no dataset label"),
        (link_outside, "has no dataset iq"),
        (external, "iq is not readable: its numbers lie in another file"),
        (virtual, "iq is not readable: its numbers lie in another file"),
        # A header of a few hundred bytes that claims terabytes: no chunk of it was ever written.
        (replace_dataset("iq", shape=(10**9, 2, 128), dtype="f4", chunks=(1, 2, 128)), "1000000000 chunks .* and 0 are"),
        (replace_dataset("label", shape=(10**12,), dtype="i8", chunks=(1024,)), "976562500 chunks .* and 0 are stored"),
        (replace_dataset("snr_db", np.zeros(30, "f4"), chunks=(30,), compression="gzip"), "compressed"),
        (replace_dataset("snr_db", np.zeros(30, "f4"), chunks=(30,), shuffle=True), "compressed"),
        (replace_dataset("iq", np.zeros((30, 2, 16))), "iq is float64"),
        (replace_dataset("iq", np.zeros((30, 2, 16), "i4")), "iq is int32"),
        (replace_dataset("iq", np.zeros((30, 16, 2), "f4")), r"'iq': \(30, 16, 2\)"),
        (replace_dataset("iq", np.zeros((30, 32), "f4")), "expected float32 with 3 axes"),
        (replace_dataset("iq", np.zeros((31, 2, 16), "f4")), r"'iq': \(31, 2, 16\)"),
        (replace_dataset("label", np.full(30, 3)), "labels from 3 to 3; expected 0 to 2"),
        (replace_dataset("label", np.zeros(30, "f8")), "label is float64"),
        (replace_dataset("label", shape=(), dtype="i8"), "label is not readable: it is no array"),
        (replace_dataset("snr_db", np.full(30, np.nan, "f4")), "SNR of nan dB"),
        (lambda file: file.attrs.__delitem__("classes"), "no list of classes"),
        (set_attribute("classes", "BPSK"), "no list of classes"),
        (set_attribute("classes", ["a", "b", "c"]), "no list of classes"),  # of no fixed length
        (set_attribute("classes", np.array([b"a", b"a", b"b"])), "not all different"),
        (set_attribute("classes", np.array([b"a", b"b"])), "labels from 0 to 2; expected 0 to 1"),
        (set_attribute("classes", np.array([b"a", b"b", b"\xff"])), "no list of classes in UTF-8"),
        (set_attribute("sample_rate_hz", -5.0), "sample rate of -5"),
        (set_attribute("sample_rate_hz", np.bytes_("fast")), "sample rate of b'fast'"),
    ],
)  # fmt: skip
def test_header_that_disagrees_with_the_file_is_refused(change, message, path):
    write_h5(path, **parts())
    with h5py.File(path, "r+") as file:
        change(file)
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=message) as caught:
            open_h5(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith("set.h5: ")
    assert peak_bytes < 2**21


def test_changed_frame_is_found_by_its_hash(path):
    write_h5(path, **parts())
    with h5py.File(path, "r+") as file:
        file["iq"][12, 0, 3] += 1
    open_h5(path)
    with pytest.raises(DatasetError, match="changed or damaged"):
        verify_h5(path)


def test_file_cut_off_anywhere_is_one_error(path):
    write_h5(path, **parts())
    content = path.read_bytes()
    for size in [*range(0, len(content), 1500), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(DatasetError, match=r"^set\.h5: "):
            open_h5(path)


def test_file_that_goes_or_changes_while_in_use_is_one_error(path):
    write_h5(path, **parts())
    dataset = open_h5(path)
    write_h5(path, **parts(count=60))
    with pytest.raises(DatasetError, match=r"^set\.h5: the file was replaced while in use"):
        dataset.frames([0])
    path.unlink()
    with pytest.raises(DatasetError, match=r"^set\.h5: cannot be read: No such file"):
        dataset.frames([0])
