from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.errors import DatasetError
from deploy.frames.npz import open_npz

CLASSES = np.array(["BPSK", "π/4-DQPSK", "8PSK"])


def some_iq(count, length, dtype):
    return (50 * np.random.default_rng(5).normal(size=(count, 2, length))).astype(dtype)


def parts(count=30, length=16, dtype="f4", **changes):
    given = {
        "iq": changes["iq"] if "iq" in changes else some_iq(count, length, dtype),
        "label": np.arange(count) % 3,
        "snr_db": np.linspace(-20, 18, count).astype("f4"),
        "classes": CLASSES,
    }
    return {name: array for name, array in {**given, **changes}.items() if array is not None}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "set.npz"


def assert_holds(dataset, given):
    np.testing.assert_array_equal(dataset.frames(np.arange(len(given["iq"]))), given["iq"].astype("f4"))
    np.testing.assert_array_equal(dataset.labels, given["label"])
    np.testing.assert_array_equal(dataset.snr_db, given["snr_db"].astype("f4"))


def assert_refused(path, match):
    with pytest.raises(DatasetError, match=match) as caught:
        open_npz(path)
    assert str(caught.value).startswith("set.npz: ")
    return str(caught.value)


SAVES = {"stored": np.savez, "compressed": np.savez_compressed}


@pytest.fixture(params=SAVES)
def save(request):
    return SAVES[request.param]


def test_what_numpy_writes_is_read(save, path):
    given = parts(sample_rate_hz=1e6)
    save(path, **given)
    dataset = open_npz(path)
    assert_holds(dataset, given)
    assert dataset.classes == ("BPSK", "π/4-DQPSK", "8PSK")
    assert (dataset.source, dataset.format, dataset.length) == ("set.npz", "npz", 16)
    assert dataset.sample_rate_hz == 1e6
    assert dataset.own_test is None


def test_unknown_sample_rate_stays_unknown(save, path):
    save(path, **parts())
    assert open_npz(path).sample_rate_hz is None


@pytest.mark.parametrize("dtype", ["f2", ">f2", "f4", ">f4", "f8", ">f8", "i1", "<i2", ">i2", "i4", "i8", "u1", ">u4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_type_and_order_becomes_float32(save, dtype, order, path):
    given = parts(dtype=dtype)
    save(path, **{**given, "iq": np.array(given["iq"], order=order)})
    assert_holds(open_npz(path), given)


def test_unsigned_numbers_stay_as_they_are(path):
    iq = np.array([[[0, 255], [128, 7]]], dtype="u1")
    np.savez(path, iq=iq, label=[0], snr_db=[0.0], classes=["A"])
    assert open_npz(path).frames([0]).tolist() == [[[0.0, 255.0], [128.0, 7.0]]]


def test_a_single_frame_in_fortran_order_keeps_its_samples(save, path):
    iq = np.asfortranarray(np.arange(8, dtype="f4").reshape(1, 2, 4))
    save(path, iq=iq, label=[0], snr_db=[0.0], classes=["A"])
    assert open_npz(path).frames([0]).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]


def test_frames_come_in_any_order(save, path, monkeypatch):
    # Runs of at most 5 frames, pieces of 3.
    monkeypatch.setattr("deploy.frames.gathering.RUN_BYTES", 5 * 128)
    monkeypatch.setattr("deploy.frames.npz._PIECE_BYTES", 3 * 128)
    given = parts(count=100)
    save(path, **given)
    dataset = open_npz(path)
    for asked in (np.arange(100), np.arange(100)[::-1], np.array([7, 7, 99, 0, 8, 6]), np.array([0, 0, 0, 0, 4])):
        np.testing.assert_array_equal(dataset.frames(asked), given["iq"][asked])
    assert dataset.frames([]).shape == (0, 2, 16)


def test_stored_frames_stay_in_the_file(path):
    given = parts(count=4000, length=512)
    np.savez(path, **given)
    tracemalloc.start()
    dataset = open_npz(path)
    dataset.frames([3999])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The frames take 16 MiB.
    assert peak < 2 << 20
    assert dataset.block_frames == 64


def test_a_set_beyond_4_gib_is_read(path):
    frames, length = 655_360, 1024
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (frames, 2, length)})
    with zipfile.ZipFile(path, "w") as archive:
        # A hole of 5 GiB for the frames, which takes no room on the disk: only the last holds something.
        entry = zipfile.ZipInfo("iq.npy")
        entry.file_size = entry.compress_size = len(header.getvalue()) + frames * 2 * length * 4
        entry.CRC = 0
        entry.header_offset = 0
        archive.fp.write(entry.FileHeader(zip64=True) + header.getvalue())
        archive.fp.seek(frames * 2 * length * 4 - 8, io.SEEK_CUR)
        archive.fp.write(struct.pack("<2f", 3, 4))
        archive.filelist.append(entry)
        archive.start_dir = archive.fp.tell()
        for name, array in parts(count=frames, iq=None, label=np.zeros(frames, "i1")).items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)
    assert path.stat().st_size > 5 << 30
    dataset = open_npz(path)
    assert len(dataset) == frames
    assert dataset.frames([0, frames - 1])[:, 1, -2:].tolist() == [[0, 0], [3, 4]]


def test_a_set_in_memory_has_blocks_of_one_frame(path):
    np.savez_compressed(path, **parts())
    assert open_npz(path).block_frames == 1


def test_a_set_can_go_to_another_process(save, path, monkeypatch):
    given = parts()
    save(path, **given)
    monkeypatch.chdir(path.parent)
    copy = pickle.loads(pickle.dumps(open_npz(Path(path.name))))
    monkeypatch.chdir("/")
    assert_holds(copy, given)


def test_bytes_are_read_as_utf8(save, path):
    save(path, **parts(classes=np.array([b"BPSK", "π".encode(), b"8PSK"])))
    assert open_npz(path).classes == ("BPSK", "π", "8PSK")


def test_big_endian_names_are_read(save, path):
    save(path, **parts(classes=CLASSES.astype(">U12")))
    assert open_npz(path).classes == tuple(CLASSES)


def test_other_names_are_let_be(save, path):
    given = parts(notes=np.array("made by hand"), pickled=np.array([{"a": 1}], dtype=object))
    save(path, **given)
    assert_holds(open_npz(path), given)


def test_a_files_own_test_part_is_kept(save, path):
    save(path, **parts(own_test=np.arange(30) >= 20))
    assert open_npz(path).own_test.tolist() == [False] * 20 + [True] * 10


def test_a_zip_written_to_a_pipe_is_read(path):
    # Sizes then stand behind the content, and the header in front of it has none.
    class Unseekable(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, content):
            self.content += bytes(content)
            return len(content)

    pipe = Unseekable()
    given = parts()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, array in given.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array))
    path.write_bytes(pipe.content)
    assert_holds(open_npz(path), given)


def test_content_in_front_of_the_zip_is_skipped(save, path):
    given = parts()
    save(path, **given)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert_holds(open_npz(path), given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"label": None},
            r"has no label; it holds iq, snr_db, classes, expected iq, label, snr_db, classes.*np\.savez",
        ),
        ({"classes": None, "snr_db": None}, r"has no snr_db and no classes; .*np\.savez"),
        ({"iq": np.zeros((30, 16, 2), "f4")}, r"iq has the shape \(30, 16, 2\).*iq\.transpose\(0, 2, 1\)"),
        ({"iq": np.zeros((30, 16), "c8")}, r"iq is complex64 of shape \(30, 16\).*np\.stack"),
        ({"iq": np.zeros((2, 16), "f4")}, r"iq has the shape \(2, 16\); expected \(frames, 2, length\)"),
        ({"iq": np.zeros((30, 2, 16), bool)}, "iq is bool; expected real numbers"),
        ({"iq": np.zeros((30, 2, 16), "U3")}, "iq is <U3; expected real numbers"),
        ({"iq": np.zeros((30, 2, 16), "m8[s]")}, "iq is timedelta64"),
        ({"iq": np.zeros((30, 2, 16), [("a", "f4")])}, "iq is .*; expected real numbers"),
        ({"iq": np.zeros((0, 2, 16), "f4")}, r"iq is empty, of shape \(0, 2, 16\)"),
        ({"iq": np.zeros((30, 2, 0), "f4")}, r"iq is empty, of shape \(30, 2, 0\)"),
        ({"iq": np.zeros((30, 2, 16), object)}, "iq holds Python objects"),
        ({"label": np.zeros(30, object)}, "label holds Python objects"),
        ({"label": np.zeros(30)}, r"label is float64; expected integers. Save label\.astype\(np\.int64\)"),
        ({"label": np.array(["A"] * 30)}, r"label is <U1; .*np\.unique\(names, return_inverse=True\)"),
        ({"label": np.eye(30, dtype=int)}, r"label has the shape \(30, 30\).*label\.argmax\(axis=1\)"),
        ({"label": np.zeros((30, 1), int)}, r"label has the shape \(30, 1\).*label\[:, 0\]"),
        ({"label": np.zeros(29, int)}, r"label has the shape \(29,\); expected one number a frame, \(30,\)"),
        ({"label": np.full(30, 3)}, "labels from 3 to 3; expected 0 to 2"),
        ({"label": np.full(30, -1)}, "labels from -1 to -1"),
        ({"label": np.full(30, 2**64 - 1, "u8")}, "label has 18446744073709551615; expected indices"),
        ({"snr_db": np.array(["1"] * 30)}, "snr_db is <U1; expected numbers in dB"),
        ({"snr_db": np.zeros((30, 1))}, r"snr_db has the shape \(30, 1\).*snr_db\[:, 0\]"),
        ({"snr_db": np.full(30, np.nan)}, "frame 0 has an SNR of nan dB"),
        ({"snr_db": np.full(30, 1e300)}, "frame 0 has an SNR of inf dB"),
        ({"classes": np.array("BPSK")}, r"classes is <U4 of shape \(\)"),
        ({"classes": np.arange(3)}, r"classes is int64 of shape \(3,\)"),
        ({"classes": CLASSES.astype(object)}, "classes holds Python objects"),
        ({"classes": np.array(["a", "a", "b"])}, "not all different"),
        ({"classes": np.array(["a", "", "b"])}, "class 1 is named ''"),
        ({"classes": np.empty(3, "U0")}, "class 0 is named ''|classes is "),
        ({"classes": np.array(["a", "\x1b[2J", "b"])}, r"class 1 is named '\\x1b\[2J'"),
        ({"classes": np.array(["a", "x" * 201, "b"])}, "class 1 is named 'xxx.*at most 200"),
        ({"classes": np.array([b"a", b"\xff", b"b"])}, r"class 1 is named b'\\xff'; expected text, as UTF-8"),
        ({"classes": np.full(3, 0x7FFFFFFF, "<u4").view("<U1")}, "class 0 is named b"),
        ({"classes": np.array(["a" * 100_000] * 3)}, "expected one name a class"),
        ({"sample_rate_hz": -1.0}, "sample_rate_hz is float64, -1.0 Hz; expected one positive number"),
        ({"sample_rate_hz": np.nan}, "sample_rate_hz is float64, nan Hz.* Leave it out"),
        ({"sample_rate_hz": np.ones(2)}, r"sample_rate_hz is float64, of shape \(2,\)"),
        ({"sample_rate_hz": "1 MHz"}, "sample_rate_hz is <U5"),
        ({"own_test": np.zeros(30, int)}, r"own_test is int64; expected bool. Save own_test\.astype\(bool\)"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_by_name(save, changes, message, path):
    save(path, **parts(**changes))
    assert_refused(path, message)


def test_nothing_is_run(save, path, tmp_path):
    ran = tmp_path / "ran"
    trap = type("Trap", (), {"__reduce__": lambda self: (Path.touch, (ran,))})
    save(path, **parts(snr_db=np.array([trap()] * 30, dtype=object)))
    assert_refused(path, "snr_db holds Python objects, which may run code")
    assert not ran.exists()


def npy(header: str, content=b"", version=b"\x01\x00") -> bytes:
    text = header.encode()
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + content


def with_member(path, name, content, *, method=zipfile.ZIP_STORED):
    """A valid set, but for one member."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for key, array in parts().items():
            if key != name:
                with archive.open(f"{key}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
        archive.writestr(f"{name}.npy", content)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 2, 128), }", bytes(64)),
            r"iq claims float32 numbers of shape \(1000000000000, 2, 128\), 1024000000000000 bytes; 64 are there",
        ),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, -8)}", bytes(64)), "iq claims"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2, -8)}", bytes(64)), "iq claims"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': 'no'}"), "iq has no header of numpy's"),
        (npy("{'descr': '\\d', 'fortran_order': False, 'shape': ()}"), "iq has no header of numpy's"),
        (npy("__import__('os').abort()"), "iq has no header of numpy's"),
        (npy("(" * 9000), "iq has no header of numpy's"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,2,8)}" + " " * 60_000), "iq has no header"),
        (npy("{}", version=b"\x02\x00") + bytes(100), "iq has no header of numpy's"),
        (npy("{}", version=b"\x09\x00") + bytes(100), r"version \(9, 0\)"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "iq has no header of numpy's"),
        (b"not numpy", "iq has no header of numpy's"),
        (b"", "iq has no header of numpy's"),
    ],
)
def test_a_header_that_lies_is_refused_before_anything_is_taken(content, message, method, path):
    with_member(path, "iq", content, method=method)
    tracemalloc.start()
    assert_refused(path, message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_headers_of_version_2_and_of_python_2_are_read(path):
    content = parts()["iq"].tobytes()
    for header in (
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (30, 2, 16)}", content, b"\x02\x00"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (30L, 2L, 16L)}", content),
    ):
        with_member(path, "iq", header)
        assert_holds(open_npz(path), parts())


def test_a_zip_bomb_is_refused_before_it_unfolds(path):
    zeros = np.zeros((32_000, 2, 512), "f4")
    np.savez_compressed(path, iq=zeros, label=np.zeros(32_000, "i1"), snr_db=np.zeros(32_000), classes=["A"])
    tracemalloc.start()
    assert_refused(
        path, r"iq claims 131072000 bytes out of \d+ in the file; expected at most 100 times as many.*np\.savez"
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_labels_are_not_unfolded_where_frames_claim_too_much(path, monkeypatch):
    monkeypatch.setattr("deploy.frames.hdf5_dataset.FREE_OF_RATIO_BYTES", 1 << 20)
    frames = 1 << 20
    zeros = {"label": np.zeros(frames, "i8"), "snr_db": np.zeros(frames), "own_test": np.zeros(frames, bool)}
    np.savez_compressed(path, iq=np.zeros((frames, 2, 1), "u1"), classes=["A"], **zeros)
    tracemalloc.start()
    assert_refused(path, r"iq claims 2097152 bytes out of \d+ in the file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize("name", ["label", "snr_db"])
def test_a_column_that_unfolds_to_much_more_than_the_file_is_refused(name, path, monkeypatch):
    frames = 1 << 20
    monkeypatch.setattr("deploy.frames.hdf5_dataset.FREE_OF_RATIO_BYTES", 2 * frames)
    columns = {"label": np.zeros(frames, "i1"), "snr_db": np.zeros(frames, "i1"), name: np.zeros(frames, "i8")}
    np.savez_compressed(path, iq=np.zeros((frames, 2, 1), "u1"), classes=["A"], **columns)
    tracemalloc.start()
    assert_refused(path, rf"{name} claims 8388608 bytes out of \d+ in the file; expected at most 100 .*np\.savez")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


def test_labels_may_compress_beside_frames_that_do_not(path, monkeypatch):
    monkeypatch.setattr("deploy.frames.hdf5_dataset.FREE_OF_RATIO_BYTES", 0)
    given = parts(count=20_000, label=np.zeros(20_000, "i8"))
    np.savez_compressed(path, **given)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("label.npy").compress_size < 160_000 / 300
    assert_holds(open_npz(path), given)


def test_columns_are_not_held_twice(save, path):
    frames = 1 << 20
    label = np.random.default_rng(1).integers(0, 3, frames)
    save(path, iq=np.zeros((frames, 2, 1), "i1"), label=label, snr_db=np.zeros(frames, "i1"), classes=["A", "B", "C"])
    tracemalloc.start()
    dataset = open_npz(path)
    # Labels take 8 MiB, SNRs 4, and frames 8 where they are compressed, so in memory as float32.
    in_memory = 8 << 20 if dataset.block_frames == 1 else 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < in_memory + (18 << 20)


def test_more_than_the_free_memory_is_refused(path, monkeypatch):
    np.savez_compressed(path, **parts(count=3000))
    monkeypatch.setattr("deploy.memory.available_memory_bytes", lambda: 300 << 10)
    # Before labels are read.
    monkeypatch.setattr("deploy.frames.npz_archive.Archive.read", None)
    assert_refused(path, r"its 3000 frames need 0\.0 GiB of memory, 0\.0 are free\. Write it with np\.savez")


def test_a_set_read_as_needed_asks_for_no_memory(path, monkeypatch):
    np.savez(path, **parts())
    monkeypatch.setattr("deploy.memory.available_memory_bytes", lambda: 0)
    assert_holds(open_npz(path), parts())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(method, path):
    with_member(path, "iq", b"x", method=method)
    assert_refused(path, r"(iq|label) is compressed by (bzip2|LZMA); expected deflate or none")


def test_two_arrays_of_one_name_are_refused(path):
    with_member(path, "iq", b"x")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("label.npy", b"x")
    assert_refused(path, "label is there twice; expected once")


def patched(path, place, replacement):
    content = bytearray(path.read_bytes())
    content[place : place + len(replacement)] = replacement
    path.write_bytes(content)


def test_an_encrypted_array_is_refused(save, path):
    save(path, **parts())
    directory = path.read_bytes().index(b"PK\x01\x02")
    patched(path, directory + 8, b"\x01")
    assert_refused(path, "iq is encrypted")


@pytest.mark.parametrize("place", [8, 14, 26])
def test_a_header_that_disagrees_with_the_directory_is_refused(save, place, path):
    # Method, checksum, length of the name.
    save(path, **parts())
    patched(path, place, bytes([path.read_bytes()[place] ^ 1]))
    assert_refused(path, "iq")


def test_members_that_share_bytes_are_refused(path):
    given = parts(iq=np.zeros((1, 2, 1), "i8"), label=[0], snr_db=np.zeros(1), classes=["A"])
    np.savez(path, **given)
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    label = content.index(b"PK\x01\x02", directory + 4)
    # The directory's entry of label, but for its name, says what that of iq says.
    patched(path, label + 10, content[directory + 10 : directory + 28])
    patched(path, label + 42, content[directory + 42 : directory + 46])
    assert_refused(path, "share bytes of the file")


def test_a_directory_of_gigabytes_is_not_read(path):
    with path.open("wb") as file:
        file.truncate(3 << 30)
        file.seek(0, os.SEEK_END)
        size = (3 << 30) - 100
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 100, 0))
    tracemalloc.start()
    assert_refused(path, "its list of members is longer than")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_changed_byte_in_a_compressed_set_is_found(path):
    np.savez_compressed(path, **parts(count=200))
    content = path.read_bytes()
    patched(path, 5000, bytes([content[5000] ^ 0x10]))
    assert_refused(path, "iq cannot be read: .*(CRC|decompressing)")


def test_a_changed_label_in_a_stored_set_is_found(path):
    np.savez(path, **parts())
    place = path.read_bytes().index(np.arange(3).tobytes())
    patched(path, place, b"\x01")
    assert_refused(path, "label cannot be read: Bad CRC-32")


def test_a_file_replaced_while_in_use_is_refused(path):
    np.savez(path, **parts())
    dataset = open_npz(path)
    np.savez(path, **parts(count=31))
    with pytest.raises(DatasetError, match=r"^set\.npz: the file was replaced while in use"):
        dataset.frames([0])
    path.unlink()
    with pytest.raises(DatasetError, match=r"^set\.npz: cannot be read: No such file"):
        dataset.frames([0])


def test_what_is_no_npz_is_one_error(path, tmp_path):
    path.write_bytes(b"")
    assert_refused(path, "is no .npz, or only the start of one")
    path.write_bytes(b"PK\x03\x04 and then nothing")
    assert_refused(path, "is no .npz, or only the start of one")
    with zipfile.ZipFile(path, "w"):
        pass
    assert_refused(path, "has no iq and no label .*it holds nothing")
    with pytest.raises(DatasetError, match="No such file"):
        open_npz(tmp_path / "none.npz")
    with pytest.raises(DatasetError, match="not a regular file"):
        open_npz(tmp_path)
    with pytest.raises(DatasetError, match="null"):
        open_npz(Path("a\0b.npz"))
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    with pytest.raises(DatasetError, match="not a regular file"):
        open_npz(pipe)


def test_names_that_would_steer_the_terminal_are_shown_harmlessly(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\x1b[2J" + "x" * 100, b"")
        for number in range(20):
            archive.writestr(f"{number}", b"")
    message = assert_refused(path, "it holds .* and 13 more, expected iq")
    assert message.isprintable()
    assert len(message) < 400


@st.composite
def valid_sets(draw):
    count, length = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    dtype = draw(st.sampled_from(["f2", "f4", ">f4", "f8", "i1", "<i2", ">i4", "u1", "u2"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = draw(
        st.lists(
            st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=8),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    return {
        "iq": np.array((100 * rng.random((count, 2, length))).astype(dtype), order=draw(st.sampled_from("CF"))),
        "label": rng.integers(0, len(names), count).astype(draw(st.sampled_from(["u1", "<i4", ">i8"]))),
        "snr_db": rng.integers(-20, 20, count).astype(draw(st.sampled_from(["f4", "f8", "i1", ">i2"]))),
        "classes": np.array(names) if draw(st.booleans()) else np.array([name.encode() for name in names]),
    }


FEW = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(given=valid_sets(), compressed=st.booleans(), data=st.data())
def test_any_set_comes_back_as_it_was(given, compressed, data, tmp_path):
    path = tmp_path / "set.npz"
    (np.savez_compressed if compressed else np.savez)(path, **given)
    dataset = open_npz(path)
    assert_holds(dataset, given)
    names = [name.decode() if isinstance(name, bytes) else name for name in given["classes"].tolist()]
    assert list(dataset.classes) == names
    asked = data.draw(st.lists(st.integers(0, len(dataset) - 1), max_size=12))
    np.testing.assert_array_equal(dataset.frames(np.array(asked, dtype=int)), given["iq"][asked].astype("f4"))


def damaged(content: bytes, data) -> bytes:
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "remove"])):
            case "flip":
                content = (
                    content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
                )
            case "cut":
                content = content[: place + 1]
            case "insert":
                content = content[:place] + data.draw(st.binary(min_size=1, max_size=9)) + content[place:]
            case "remove":
                content = content[:place] + content[place + data.draw(st.integers(1, 9)) :] or b"x"
    return content


@settings(FEW, max_examples=150)
@given(compressed=st.booleans(), data=st.data())
def test_a_damaged_file_is_a_set_or_one_error(compressed, data, tmp_path):
    path = tmp_path / "set.npz"
    (np.savez_compressed if compressed else np.savez)(path, **parts(count=3, length=4, sample_rate_hz=1.0))
    path.write_bytes(damaged(path.read_bytes(), data))
    with contextlib.suppress(DatasetError):
        dataset = open_npz(path)
        dataset.frames(np.arange(len(dataset)))
