"""HDF5 files, honest and hostile: values worked out by hand, and what a child process may do to its parent."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

import deploy
from deploy.errors import DatasetError
from deploy.frames import hdf5
from deploy.frames.hdf5 import open_hdf5

ROWS = np.arange(7 * 2 * 5, dtype="<f4").reshape(7, 2, 5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.h5"


@pytest.fixture
def write(path):
    @contextmanager
    def opened(**how):
        with h5py.File(path, "w", **how) as file:
            yield file

    return opened


@contextmanager
def little_memory(most_bytes=1 << 21):
    """What is done inside takes no more than ``most_bytes`` of this process's memory."""
    tracemalloc.start()
    try:
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < most_bytes


def refused(path, match):
    with little_memory(), pytest.raises(DatasetError, match=match) as caught:
        open_hdf5(path)
    message = str(caught.value)
    assert message.startswith("set.h5: ")
    assert message.isprintable()
    assert len(message) < 1000
    return message


def assert_reads(array, expected):
    """Every run of rows is what was written, and the whole."""
    assert array.shape == expected.shape
    for start in range(len(expected) + 1):
        for stop in (start, start + 1, start + 3, len(expected)):
            if start <= stop <= len(expected):
                np.testing.assert_array_equal(array.read(start, stop), expected[start:stop])
    np.testing.assert_array_equal(array.read_all(), expected)
    assert array.nbytes == expected.nbytes


LAYOUTS = {
    "contiguous": {},
    "a chunk a row": {"chunks": (1, 2, 5)},
    "chunks of whole rows": {"chunks": (3, 2, 5)},
    "chunks of parts of rows": {"chunks": (3, 1, 2)},
    "chunks of one number": {"chunks": (1, 1, 1)},
    "one chunk": {"chunks": (7, 2, 5)},
    "a chunk wider than the array": {"chunks": (16, 4, 8), "maxshape": (None, None, None)},
    "deflate": {"chunks": (3, 2, 5), "compression": "gzip"},
    "shuffle and deflate": {"chunks": (2, 2, 3), "compression": "gzip", "shuffle": True},
    "shuffle": {"chunks": (3, 2, 5), "shuffle": True},
    "deflate at level 0": {"chunks": (3, 2, 5), "compression": "gzip", "compression_opts": 0},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", [{}, {"libver": "latest"}, {"userblock_size": 512}], ids=["", "latest", "user block"])
def test_every_layout_gives_what_was_written(layout, how, write, path):
    with write(**how) as file:
        file.create_dataset("X", data=ROWS, **LAYOUTS[layout])
        file["of the same name/X"] = ROWS[::-1]
    file = open_hdf5(path)
    assert file.datasets.keys() == {"X", "of the same name/X"}
    assert file.unreadable == {}
    array = file.datasets["X"]
    assert_reads(array, ROWS)
    assert array.dtype == ROWS.dtype
    is_in_place = layout in ("contiguous", "a chunk a row", "chunks of whole rows", "one chunk")
    assert array.in_place == is_in_place
    assert array.rows_per_chunk == LAYOUTS[layout].get("chunks", (7,))[0]
    np.testing.assert_array_equal(file.datasets["of the same name/X"].read(0, 1), ROWS[6:])


def test_rows_outside_the_array_are_a_mistake(write, path):
    with write() as file:
        file["X"] = ROWS
    array = open_hdf5(path).datasets["X"]
    for start, stop in ((-1, 2), (3, 2), (0, 8)):
        with pytest.raises(IndexError, match=f"rows {start} to {stop} of X, which has 7"):
            array.read(start, stop)


def test_compact_arrays_are_read(write, path):
    with write() as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(ROWS.shape)
        made = h5py.h5d.create(file.id, b"X", h5py.h5t.IEEE_F32LE, space, creation)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, ROWS)
    array = open_hdf5(path).datasets["X"]
    assert array.compact is not None
    assert array.stored_bytes == ROWS.nbytes
    assert_reads(array, ROWS)


@pytest.mark.parametrize("user_block", [0, 512, 2048])
def test_numbers_of_every_type_come_as_they_are(user_block, write, path):
    values = np.array([0, 1, 100, 3])
    kinds = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "i1", "<i2", ">i2", "<i4", ">i8", "u1", ">u2", "<u8"]
    complex_values = np.array([(1, -2), (3, 4)], dtype=[("real", "<f4"), ("imag", "<f4")])
    with write(userblock_size=user_block) as file:
        for kind in kinds:
            file.create_dataset(kind, data=values.astype(kind))
            file.create_dataset(f"{kind} gzip", data=values.astype(kind), compression="gzip", shuffle=True)
        file["truth"] = np.array([True, False])
        file["matlab"] = complex_values
        file["h5py's complex"] = np.array([1 - 2j])
        file["names"] = np.array([b"BPSK", b"QAM16"])
    file = open_hdf5(path)
    for kind in kinds:
        for name in (kind, f"{kind} gzip"):
            assert file.datasets[name].dtype == np.dtype(kind)
            assert file.datasets[name].read_all().tolist() == [0, 1, 100, 3]
    assert file.datasets["truth"].read_all().tolist() == [1, 0]
    assert file.datasets["truth"].dtype == np.uint8
    np.testing.assert_array_equal(file.datasets["matlab"].read_all(), complex_values)
    assert file.datasets["names"].read_all().tolist() == [b"BPSK", b"QAM16"]
    assert file.unreadable.keys() == {"h5py's complex"}


def test_truth_values_that_are_neither_do_not_become_truth_values(write, path):
    with write() as file:
        file["truth"] = np.array([True, False] * 8)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x01\x00" * 8, b"\x07\x00" * 8))
    assert open_hdf5(path).datasets["truth"].read_all().tolist() == [7, 0] * 8


def test_attributes_are_numbers_and_bytes_of_a_fixed_length(write, path):
    with write() as file:
        file.attrs["format"] = np.bytes_("thin\xe9".encode())
        file.attrs["version"] = 1
        file.attrs["rate"] = 1.5e6
        file.attrs["classes"] = np.array([b"a", b"bc"])
        file.attrs["numbers"] = np.arange(4).reshape(2, 2)
        file.attrs["not a number"] = np.nan
        file.attrs["of any length"] = "text"
        file.attrs["of any length too"] = ["a", "b"]
        file.attrs["truth"] = True
        file.attrs["empty"] = h5py.Empty("f4")
    attributes = dict(open_hdf5(path).attributes)
    assert np.isnan(attributes.pop("not a number"))
    attributes.pop("empty", None)
    assert attributes == {
        "format": "thin\xe9".encode(),
        "version": 1,
        "rate": 1.5e6,
        "classes": [b"a", b"bc"],
        "numbers": [[0, 1], [2, 3]],
    }


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"dtype": h5py.string_dtype()}, "it holds object, no plain numbers"),
        ({"dtype": h5py.vlen_dtype("i4")}, "it holds object, no plain numbers"),
        ({"dtype": h5py.ref_dtype}, "it holds object, no plain numbers"),
        ({"dtype": [("a", "i4"), ("b", "f4")]}, r"it holds .*'a'.*, no plain numbers"),
        ({"dtype": np.dtype("V8")}, "no plain numbers"),
        ({"dtype": np.longdouble}, "no plain numbers"),
        ({"compression": "lzf"}, r"compressed with filters \(32000,\), .*write it anew with gzip"),
        ({"fletcher32": True}, r"compressed with filters \(3,\), .*write it anew with gzip"),
        ({"scaleoffset": 3, "dtype": "i4"}, r"compressed with filters \(6,\)"),
        ({"external": [("elsewhere.bin", 0, 16)]}, "its numbers lie in another file"),
        ({"shape": ()}, "it is no array"),
        ({"data": h5py.Empty("f4"), "shape": None, "dtype": None}, "it is no array"),
        ({"shape": (300 << 20,), "dtype": "u1", "chunks": (300 << 20,), "compression": "gzip"}, None),
    ],
)
def test_what_is_no_plain_array_is_named_and_leaves_the_others_readable(how, reason, write, path):
    with write() as file:
        file.create_dataset("other", **{"shape": (4,), "dtype": "f4", **how})
        file["X"] = ROWS
    if reason is None:  # claimed, and never written
        refused(path, "1 chunks .* and 0 are stored")
        return
    file = open_hdf5(path)
    np.testing.assert_array_equal(file.datasets["X"].read_all(), ROWS)
    assert file.unreadable.keys() == {"other"}
    assert re.search(reason, file.unreadable["other"])


def test_chunks_beyond_the_limit_are_refused_before_they_are_read(write, path, monkeypatch):
    with write() as file:
        file.create_dataset("X", data=np.zeros(4096, "u1"), chunks=(2048,), compression="gzip")
        file.create_dataset("in place", data=np.zeros((4096, 1), "u1"), chunks=(2048, 1))
    assert open_hdf5(path).unreadable == {}
    monkeypatch.setattr(hdf5, "MOST_CHUNK_BYTES", 2047)
    file = open_hdf5(path)
    assert "its chunks of (2048,) take" in file.unreadable["X"]
    assert file.datasets["in place"].read(7, 9).tolist() == [[0], [0]]


def test_chunks_that_readings_would_inflate_again_and_again_are_refused(write, path):
    with write() as file:
        for name, size in (("fits", 32 << 20), ("too large", (32 << 20) + 1)):
            array = file.create_dataset(name, (size,), "u1", chunks=(size,), compression="gzip")
            array.id.write_direct_chunk((0,), zlib.compress(bytes(size), 1))
    file = open_hdf5(path)
    assert file.datasets.keys() == {"fits"}
    assert "take 33554433 bytes each, expected at most 33554432" in file.unreadable["too large"]


def test_links_lead_nowhere_and_an_array_of_many_names_is_told_once(write, path, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["X"] = ROWS
    with write() as file:
        file["deep/deeper/X"] = ROWS
        file["deep/deeper/too/deep/X"] = ROWS
        file["external"] = h5py.ExternalLink("secret.h5", "/X")
        file["soft"] = h5py.SoftLink("/deep/deeper/X")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["kind"] = np.dtype("f4")
        file["#refs#/a"] = np.zeros(3)
        for number in range(50):
            file[f"name {number:02}"] = file["deep/deeper/X"]
    file = open_hdf5(path)
    # The first name of the shortest path.
    assert [*file.datasets] == ["name 00"]
    assert file.unreadable == {}


def test_groups_that_hold_each_other_end(write, path):
    with write() as file:
        for name in "abc":
            file.create_group(name)
        for name in "abc":
            for other in "abc":
                for number in range(60):
                    file[f"{name}/{other}{number}"] = file[other]
            file[f"{name}/root"] = file["/"]
        file["c/X"] = ROWS
    started = time.monotonic()
    assert sum(name.endswith("X") for name in open_hdf5(path).datasets) == 1
    assert time.monotonic() - started < 3


def test_thousands_of_members_are_refused(write, path):
    with write(libver="latest") as file:
        for number in range(1100):
            file.create_group(f"{number}")
        file["X"] = ROWS
    refused(path, "more than 1000 members")
    with write(libver="latest") as file:
        for number in range(1001):
            file.create_dataset(f"{number}", data=[1])
    refused(path, "more than 1000 members")


def test_names_and_reasons_are_fit_for_a_terminal(write, path):
    with write() as file:
        file["\x1b[2Jfr\nom the file"] = ROWS
        file["n" * 500] = ROWS
        file["\x1b]0;title\x07"] = np.zeros(3, dtype=[("\x1b[2J", "f4")])
        file["π/4-DQPSK"] = ROWS
    file = open_hdf5(path)
    names = [*file.datasets, *file.unreadable, *file.unreadable.values()]
    assert all(name.isprintable() and len(name) < 400 for name in names)
    assert "π/4-DQPSK" in file.datasets
    assert {array.name for array in file.datasets.values()} == file.datasets.keys()


@pytest.mark.parametrize("name", ["not UTF-8 \\xff", "X"])
def test_name_that_is_no_text_is_no_crash(name, write, path):
    with write() as file:
        file[name] = ROWS
        file["Y"] = ROWS
    path.write_bytes(path.read_bytes().replace(b"\\xff", b"\xff\xfe\xfd\xfc"))
    file = open_hdf5(path)
    assert len({**file.datasets, **file.unreadable}) == 2
    assert all(name.isprintable() for name in [*file.datasets, *file.unreadable])
    np.testing.assert_array_equal(file.datasets["Y"].read_all(), ROWS)


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"shape": (10**12, 2, 8)}, r"\(1000000000000, 2, 8\) float32, 1 chunks .*, and 0 are stored"),
        ({"shape": (10**12, 2, 8), "chunks": (1024, 2, 8)}, "976562500 chunks .* and 0 are stored"),
        (
            {"shape": (2**62, 2), "chunks": (2**20, 2), "compression": "gzip"},
            "4398046511104 chunks .* and 0 are stored",
        ),
        (
            {"shape": (1,) * 28 + (2**15,) * 4, "chunks": (1,) * 28 + (32,) * 4},
            "1099511627776 chunks .* and 0 are stored",
        ),
    ],
)
def test_claim_of_numbers_that_are_not_there_is_refused(how, found, write, path):
    with write() as file:
        file.create_dataset("X", dtype="f4", **how)
    assert path.stat().st_size < 10_000
    refused(path, found)


def test_array_that_is_stored_in_part_is_refused(write, path):
    with write() as file:
        array = file.create_dataset("X", (7, 2, 5), "f4", chunks=(2, 2, 5))
        array[:3] = ROWS[:3]
    refused(path, "4 chunks .* and 2 are stored: it is incomplete or damaged")


def test_empty_arrays_are_empty(write, path):
    with write() as file:
        file.create_dataset("X", (0, 2, 5), "f4", maxshape=(None, 2, 5))
        file.create_dataset("Y", (3, 0), "f4")
    file = open_hdf5(path)
    assert file.datasets["X"].read_all().shape == (0, 2, 5)
    assert file.datasets["Y"].read(1, 3).shape == (2, 0)


def patch(path, before, after):
    content = path.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))


def chunk_places(path):
    with h5py.File(path) as file:
        array = file["X"]
        return [array.id.get_chunk_info(n).byte_offset for n in range(array.id.get_num_chunks())]


def test_chunks_that_share_bytes_are_refused(write, path):
    with write() as file:
        file.create_dataset("X", data=np.zeros((8, 64), "f4"), chunks=(2, 64))
        file["room"] = np.ones(4000)
    first, second, *_ = chunk_places(path)
    content = path.read_bytes()
    for place in (first, first + 8, first - 8):
        path.write_bytes(content.replace(struct.pack("<Q", second), struct.pack("<Q", place)))
        refused(path, "X: (its chunks share bytes of the file|HDF5 cannot read it)")


@pytest.mark.parametrize("place", [2**62, 2**63 - 1, 2**63, 2**64 - 2, 10**6])
def test_chunk_past_the_end_is_refused(place, write, path):
    with write() as file:
        file.create_dataset("X", data=np.arange(512, dtype="f4").reshape(8, 64), chunks=(2, 64))
    patch(path, struct.pack("<Q", chunk_places(path)[1]), struct.pack("<Q", place))
    try:
        file = open_hdf5(path)
    except DatasetError as error:
        assert str(error).startswith("set.h5: ")  # noqa: PT017
    else:
        assert "X" in file.unreadable


def test_contiguous_array_past_the_end_is_refused(write, path):
    with write() as file:
        file["X"] = ROWS
        place, size = file["X"].id.get_offset(), file["X"].id.get_storage_size()
        file["Y"] = ROWS
    content = path.read_bytes()
    for lie in (len(content) - 8, 2**62, 2**64 - 8):
        path.write_bytes(content.replace(struct.pack("<2Q", place, size), struct.pack("<2Q", lie, size)))
        file = open_hdf5(path)
        assert "HDF5 cannot read it" in file.unreadable["X"]
        np.testing.assert_array_equal(file.datasets["Y"].read_all(), ROWS)


def test_chunk_that_becomes_more_than_its_size_ends_there(write, path):
    with write() as file:
        array = file.create_dataset("X", (2000,), "u1", chunks=(1000,), compression="gzip")
        array.id.write_direct_chunk((0,), zlib.compress(bytes(range(250)) * 4))
        array.id.write_direct_chunk((1000,), zlib.compress(b"\0" * 2_000_000))
    array = open_hdf5(path).datasets["X"]
    assert array.read(0, 3).tolist() == [0, 1, 2]
    with (
        little_memory(1 << 16),
        pytest.raises(DatasetError, match=r"^set\.h5: X: chunk 1 does not become the 1000 bytes"),
    ):
        array.read(1000, 1001)


def test_chunk_that_is_stored_larger_than_it_can_be_is_refused(write, path):
    with write() as file:
        array = file.create_dataset("X", (1000,), "u1", chunks=(1000,), compression="gzip")
        array.id.write_direct_chunk((0,), np.random.default_rng(1).bytes(1_000_000))
    refused(path, "X: .* chunks of 1000 bytes, and chunk 0 has 1000000: it is incomplete or damaged")


def test_chunk_too_small_for_what_it_claims_is_refused(write, path):
    with write() as file:
        array = file.create_dataset("X", (100 << 20,), "u1", chunks=(100 << 20,), compression="gzip")
        array.id.write_direct_chunk((0,), zlib.compress(b"\0" * 1000))
    refused(path, "X: .* chunks of 104857600 bytes, and chunk 0 has 17: it is incomplete or damaged")


def test_deflated_zeros_take_the_memory_of_one_chunk(write, path):
    with write() as file:
        file.create_dataset("X", data=np.zeros((1 << 22, 4), "u1"), chunks=(1 << 16, 4), compression="gzip")
    assert path.stat().st_size < 60_000
    with little_memory():
        array = open_hdf5(path).datasets["X"]
        assert array.read((1 << 22) - 1, 1 << 22).tolist() == [[0] * 4]
    assert (array.nbytes, array.stored_bytes < 60_000) == (1 << 24, True)


def test_wrong_checksum_of_a_chunk_is_one_error(write, path):
    with write() as file:
        array = file.create_dataset("X", data=ROWS, chunks=(7, 2, 5), compression="gzip")
        raw = array.id.read_direct_chunk((0, 0, 0))[1]
    patch(path, raw, raw[:-1] + bytes([raw[-1] ^ 1]))
    array = open_hdf5(path).datasets["X"]
    with pytest.raises(DatasetError, match=r"^set\.h5: X: chunk 0 cannot be decompressed .*fetch or copy it again"):
        array.read(0, 1)


def test_chunk_that_says_it_is_not_filtered_is_taken_at_its_word(write, path):
    with write() as file:
        array = file.create_dataset("X", (8,), "u1", chunks=(4,), compression="gzip", shuffle=True)
        array.id.write_direct_chunk((0,), bytes([1, 2, 3, 4]), filter_mask=3)
        array.id.write_direct_chunk((4,), zlib.compress(bytes([5, 6, 7, 8])), filter_mask=1)
    assert open_hdf5(path).datasets["X"].read_all().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    with write() as file:
        array = file.create_dataset("X", (8,), "u1", chunks=(4,), compression="gzip")
        for place in (0, 4):
            array.id.write_direct_chunk((place,), bytes(5), filter_mask=1)
    with pytest.raises(DatasetError, match="chunk 0 has 5 bytes, expected 4"):
        open_hdf5(path).datasets["X"].read_all()


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_file_cut_off_is_one_error(version, write, path):
    with write(libver=version) as file:
        file.create_dataset("X", data=ROWS, chunks=(1, 2, 5))
    content = path.read_bytes()
    for size in (0, 9, 100, 500, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        refused(path, r"^set\.h5: HDF5 cannot read it: .*fetch or copy it again")


def test_flipped_bits_of_a_header_with_checksums_are_one_error_or_none(write, path):
    with write(libver="latest") as file:
        file["X"] = ROWS
    content = path.read_bytes()
    for place in (8, 12, 20, 44, 60, 100, 150):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            file = open_hdf5(path)
        except DatasetError as error:
            assert str(error).startswith("set.h5: ")  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017


def test_what_is_no_file_is_one_error(path):
    with pytest.raises(DatasetError, match=r"set\.h5: cannot be read: No such file"):
        open_hdf5(path)
    os.mkfifo(path)
    refused(path, "not a regular file")


def test_file_replaced_while_in_use_is_one_error(write, path):
    with write() as file:
        file["X"] = ROWS
        file.create_dataset("Z", data=ROWS, compression="gzip")
    file = open_hdf5(path)
    path.with_name("other").write_bytes(path.read_bytes())
    path.with_name("other").replace(path)
    for array in file.datasets.values():
        with pytest.raises(DatasetError, match=r"^set\.h5: the file was replaced while in use"):
            array.read(0, 1)


def test_threads_read_at_once(write, path):
    rows = np.random.default_rng(1).normal(size=(500, 2, 50))
    with write() as file:
        file["plain"] = rows
        file.create_dataset("gzip", data=rows, chunks=(7, 2, 50), compression="gzip", shuffle=True)
    places = np.random.default_rng(2).integers(0, 490, 200).tolist()
    for array in open_hdf5(path).datasets.values():
        with ThreadPoolExecutor(4) as threads:
            runs = [*threads.map(lambda start, array=array: array.read(start, start + 9), places)]
        for start, run in zip(places, runs, strict=True):
            np.testing.assert_array_equal(run, rows[start : start + 9])


def test_arrays_go_to_another_process(write, path):
    with write() as file:
        file.create_dataset("X", data=ROWS, chunks=(2, 2, 5), compression="gzip")
    array = open_hdf5(path).datasets["X"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).read_all(), ROWS)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(array.read, (2, 4)), ROWS[2:4])


# The child, in place of which another answers.


@pytest.fixture
def child(write, path, tmp_path, monkeypatch):
    """Put a program in the child's place; without one, the file is an honest one."""
    with write() as file:
        file["X"] = ROWS

    def put(program):
        made = tmp_path / "child.py"
        made.write_text("import json, os, signal, struct, sys, time\n" + program)
        monkeypatch.setattr(hdf5, "_CHILD", made)

    return put


SAY = """
def say(text, *numbers, size=None):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    out = sys.stdout.buffer
    out.write(sys.argv[1].encode() + struct.pack("<Q", len(text) if size is None else size) + text)
    out.write(struct.pack(f"<{len(numbers)}q", *numbers))
    out.flush()
"""


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("print(sys.argv[1], flush=True); os.kill(os.getpid(), signal.SIGSEGV)", r"broke down on it \(Segmentation fault\)"),
        ("print(sys.argv[1], flush=True); os.abort()", r"broke down on it \(Aborted\)"),
        ("print(sys.argv[1], flush=True); os._exit(1)", r"broke down on it \(it ended early\)"),
        ("print(sys.argv[1], flush=True)", r"broke down on it \(it ended early\)"),
        ("raise ImportError('no h5py \\x1b[2J')", r"does not run here \(ImportError: no h5py \\x1b\[2J\).*pip install"),
        ("", r"does not run here \(it said nothing\)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "does not run here"),
        # Lies: of sizes, of kinds, of what is there.
        ("say({}, size=1 << 62)", "it ended early"),
        ("say({}, size=2**64 - 1)", "it ended early"),
        ("say([])", "says of it what cannot be"),
        ("say({})", "says of it what cannot be"),
        ("say(7)", "says of it what cannot be"),
        ("say(b'no JSON')", "says of it what cannot be"),
        ("say(b'\\xff\\xfe')", "says of it what cannot be"),
        ("say(b'[' * 100_000)", "says of it what cannot be"),
        ("say(b'{\"a\": ' + b'9' * 100_000 + b'}')", "a number of 100000 digits"),
        ("say({'error': '\\x1b[2J' + 'long' * 1000})", r"HDF5 cannot read it: \\x1b\[2J"),
        ("say({'error': [[[]]]})", "HDF5 cannot read it"),
        ("say({'datasets': {'X': {}}, 'attributes': {}})", "says of it what cannot be"),
        ("say({'datasets': {'X': 5}, 'attributes': {}})", "says of it what cannot be"),
        ("say({'datasets': {}, 'attributes': {'a': {'text': '\\u2028'}}})", "says of it what cannot be"),
        ("say({'datasets': {}, 'attributes': {'a': 5}})", "says of it what cannot be"),
        ("say({'datasets': {}, 'attributes': {}}); sys.stdout.write('abc')", "says of it what cannot be"),
        *(
            (f"say({{'datasets': {{'X': {{**X, {lie}}}}}, 'attributes': {{}}}}, *TABLE)", found)
            for lie, found in [
                ("'shape': [10**18, 10**18]", "1 are stored: it is incomplete or damaged"),
                ("'shape': [10**18, 10**18], 'chunk': [10**18, 10**18]", "it is incomplete or damaged"),
                ("'shape': [-2, 4]", ""),
                ("'shape': [2, 'a' * 5000]", "says of it what cannot be"),
                ("'shape': []", "says of it what cannot be|chunks of"),
                ("'chunk': [0, 4]", r"chunks of \(0, 4\)"),
                ("'chunk': [2]", r"chunks of \(2,\)"),
                ("'chunk': None", "says of it what cannot be"),
                ("'filters': 5", "says of it what cannot be"),
                ("'table': [10**18, 5]", "says of it what cannot be"),
                ("'table': [1, 10**18]", "says of it what cannot be"),
                ("'table': [-1, 5]", ""),
                ("'table': [1]", "says of it what cannot be"),
                ("'table': [5, 1]", ""),
                ("'table': 'a'", "says of it what cannot be"),
                ("'compact': 'zz', 'shape': [1], 'table_': 0", ""),
            ]
        ),
        ("say({'datasets': {'X': {**X}}, 'attributes': {}}, 0, 0, -8, 32, 0)", "it lies past the file's"),
        ("say({'datasets': {'X': {**X}}, 'attributes': {}}, 0, 0, 2**63 - 8, 32, 0)", "it lies past the file's"),
        ("say({'datasets': {'X': {**X}}, 'attributes': {}}, 0, 0, 8, 2**63 - 8, 0)", "it lies past the file's"),
        ("say({'datasets': {'X': {**X}}, 'attributes': {}}, 1, 0, 8, 32, 0)", "its chunks do not fill it"),
        ("del X['table']; X['compact'] = 'zz'; say({'datasets': {'X': X}, 'attributes': {}})", "says of it what cannot be"),
        ("del X['table']; X['compact'] = '00'; say({'datasets': {'X': X}, 'attributes': {}})", "does not fit its 1 bytes"),
        ("del X['table']; X['shape'] = [10**18]; X['compact'] = ''; say({'datasets': {'X': X}, 'attributes': {}})",
         "does not fit its 0 bytes"),
    ],
)  # fmt: skip
def test_whatever_the_child_does_is_one_error(program, found, child, path):
    honest = "X = {'shape': [2, 4], 'descr': '<f4', 'filters': [], 'chunk': [2, 4], 'table': [1, 5]}\n"
    child(SAY + honest + "TABLE = (0, 0, 100, 32, 0)\n" + program)
    if found:
        refused(path, found)
        return
    # What is odd and harmless may pass: then nothing is read that the file does not have.
    try:
        file = open_hdf5(path)
    except DatasetError as error:
        assert str(error).startswith("set.h5: ")  # noqa: PT017
    else:
        assert all(array.nbytes <= path.stat().st_size for array in file.datasets.values())


@pytest.mark.parametrize(
    "descr", ["O", "|O8", "V1000000000", "|S0", "|S99999999", "<f4,<f4", [["a", "|O"]], None, 5, "\x1b[2J"]
)
def test_type_that_the_child_makes_up_is_never_made(descr, child, path):
    child(
        SAY + f"say({{'datasets': {{'X': {{'shape': [2], 'descr': {descr!r}, 'filters': []}}}}, 'attributes': {{}}}})"
    )
    file = open_hdf5(path)
    assert file.unreadable["X"].startswith("it holds ")
    assert file.unreadable["X"].isprintable()


def test_child_that_waits_is_not_waited_for(child, path, monkeypatch):
    monkeypatch.setattr(hdf5, "MOST_WAITING_S", 0.5)
    started = time.monotonic()
    for program in (
        "print(sys.argv[1], flush=True); time.sleep(60)",
        "sys.stdout.close(); os.close(1); time.sleep(60)",
    ):
        child(program)
        refused(path, r"broke down on it \(Killed\)|does not run here")
    assert time.monotonic() - started < 5


def test_child_that_talks_for_ever_is_stopped(child, path, monkeypatch):
    monkeypatch.setattr(hdf5, "MOST_ANSWER_BYTES", 100_000)
    child("while True: os.write(1, bytes(65536))")
    refused(path, "its structure takes more than 100")


def test_what_libraries_print_is_no_answer(child, path):
    own = (Path(hdf5.__file__).with_name("hdf5_child.py")).read_text()
    child("print('a warning', flush=True)\nsys.stderr.write('another')\n" + own.replace("from __future__", "# "))
    np.testing.assert_array_equal(open_hdf5(path).datasets["X"].read_all(), ROWS)


def limits_of_child(tmp_path, program):
    """Run ``program`` under the limits that the child sets itself."""
    folder = Path(hdf5.__file__).parent
    start = (
        f"import sys; sys.path.append({str(folder)!r}); import hdf5_child; hdf5_child.CPU_S = 1; hdf5_child._limit(0)\n"
    )
    return subprocess.run([sys.executable, "-c", start + program], capture_output=True, check=False).returncode


@pytest.mark.parametrize("before", ["", "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"])
def test_child_is_stopped_where_it_goes_round_in_circles(before, tmp_path):
    assert limits_of_child(tmp_path, before + "while True: pass") < 0


def test_child_has_no_memory_for_lies(tmp_path):
    assert limits_of_child(tmp_path, "bytearray(100 << 20)") == 0
    assert limits_of_child(tmp_path, "bytearray(300 << 20)") != 0


# Where the child finds its modules.

OPEN = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from deploy.frames.hdf5 import open_hdf5
print(open_hdf5(Path({path!r})).datasets["X"].read(0, 1)[0, 0].tolist())
"""


@pytest.fixture
def hostile_folder(tmp_path):
    """A working directory with modules of its own, each of which would leave a trace."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("h5py", "numpy", "json", "array", "runpy", "sitecustomize", "usercustomize", "resource", "pathlib"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write('{name} ')\n")
    return folder


def run_python(*arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Python before 3.11 has no -P.
@pytest.mark.parametrize("flag", ["-I", "-P"] if sys.version_info >= (3, 11) else ["-I"])
def test_child_imports_nothing_from_the_working_directory(flag, hostile_folder, write, path, tmp_path):
    with write() as file:
        file["X"] = ROWS
    program = OPEN.format(root=str(Path(deploy.__file__).parents[1]), path=str(path))
    assert run_python(flag, "-c", program, cwd=hostile_folder) == "[0.0, 1.0, 2.0, 3.0, 4.0]\n"
    assert not (tmp_path / "imported").exists()


def test_child_prefers_what_is_installed_to_the_working_directory(hostile_folder, write, path, tmp_path):
    """The parent has the working directory first on its path and never imports h5py; neither may the child, from there."""
    with write() as file:
        file["X"] = ROWS
    for file in hostile_folder.iterdir():
        if file.name != "h5py.py":
            file.unlink()
    program = OPEN.format(root=str(Path(deploy.__file__).parents[1]), path=str(path))
    assert run_python("-c", program, cwd=hostile_folder) == "[0.0, 1.0, 2.0, 3.0, 4.0]\n"
    assert not (tmp_path / "imported").exists()


def test_child_needs_no_installed_project(write, path, tmp_path):
    """``deploy`` lies in a folder that only the parent's ``sys.path`` names, of an odd name."""
    with write() as file:
        file["X"] = ROWS
    folder = tmp_path / "a: b\nc"
    folder.mkdir()
    (folder / "deploy").symlink_to(Path(deploy.__file__).parent)
    program = OPEN.format(root=str(folder), path=str(path))
    # Without `site`, which would add an installed one; with what the child needs beside.
    rest = [entry for entry in sys.path if entry and not (Path(entry) / "deploy").is_dir()]
    program = f"import sys; sys.path[:] = {json.dumps(rest)}\n" + program
    assert run_python("-I", "-S", "-c", program, cwd="/") == "[0.0, 1.0, 2.0, 3.0, 4.0]\n"


@pytest.mark.parametrize("name", ["-c", "a b", "ünï.h5", "new\nline.h5"])
def test_name_of_the_file_does_not_matter(name, write, path):
    with write() as file:
        file["X"] = ROWS
    renamed = path.rename(path.with_name(name))
    np.testing.assert_array_equal(open_hdf5(renamed).datasets["X"].read_all(), ROWS)
