"""Hostile and broken pickles: every one ends in one DatasetError, having run nothing and allocated little."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.data import open_rml2016
from toolchain.data.formats.pickle_arrays import PickledArray, PickledDict, load_array, read_pickle
from toolchain.data.formats.pickle_scan import PickleFile
from toolchain.errors import DatasetError

DTYPE_F4 = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
EMPTY_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


def array_opcodes(
    shape: bytes = b"(I1\nI2\nI2\nt", dtype: bytes = DTYPE_F4, content: bytes = b"S'" + b"a" * 16 + b"'\n"
):
    return EMPTY_ARRAY + b"(I1\n" + shape + dtype + b"I00\n" + content + b"tb"


def one_cell(value: bytes, key: bytes = b"(S'QPSK'\nI-2\nt") -> bytes:
    return b"(d" + key + value + b"s."


def read(content: bytes) -> object:
    return read_pickle(PickleFile(io.BytesIO(content), "set.pkl"))


class Payload:
    """Pickles as a call of os.mkdir."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def text4(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def hostile_programs(sentinel: Path) -> dict[str, bytes]:
    """Pickles that make the folder ``sentinel``, or try to reach what would, when they are run."""
    made = str(sentinel).encode()
    call = b"(S'" + made + b"'\ntR"
    by_protocol = {f"reduce, protocol {p}": pickle.dumps(Payload(sentinel), p) for p in range(6)}
    in_a_cell = {f"in a cell, protocol {p}": pickle.dumps({("QPSK", 0): Payload(sentinel)}, p) for p in range(6)}
    as_a_key = {f"as a key, protocol {p}": pickle.dumps({("QPSK", Payload(sentinel)): 1}, p) for p in range(6)}
    in_objects = np.array([[[Payload(sentinel)]]], dtype=object)
    return {
        **by_protocol,
        **in_a_cell,
        **as_a_key,
        "object array": pickle.dumps({("QPSK", 0): in_objects}, 2),
        "os.system": b"cos\nsystem\n(S'mkdir " + made + b"'\ntR.",
        "builtins.eval": b'cbuiltins\neval\n(S\'__import__("os").mkdir("' + made + b"\")'\ntR.",
        "python 2 eval": b'c__builtin__\neval\n(S\'__import__("os").mkdir("' + made + b"\")'\ntR.",
        "inside an array's state": one_cell(array_opcodes(content=b"cos\nmkdir\n" + call)),
        "inside an array's shape": one_cell(array_opcodes(shape=b"cos\nmkdir\n" + call)),
        "inside a dtype": one_cell(array_opcodes(dtype=b"cnumpy\ndtype\n(cos\nmkdir\n" + call + b"I0\nI1\ntR")),
        "stack global": b"\x80\x04" + text4("os") + text4("mkdir") + b"\x93" + text4(str(sentinel)) + b"\x85R.",
        "stack global, names from the memo": b"\x80\x04"
        + text4("os")
        + b"\x94"
        + text4("mkdir")
        + b"\x94h\x00h\x01\x93"
        + text4(str(sentinel))
        + b"\x85R.",
        "stack global, a name that is no text": b"\x80\x04K\x01K\x02\x93" + text4(str(sentinel)) + b"\x85R.",
        "stack global, dotted": b"\x80\x04" + text4("numpy") + text4("ndarray.__class__") + b"\x93.",
        "inst": b"(S'" + made + b"'\nios\nmkdir\n.",
        "obj": b"(cos\nmkdir\nS'" + made + b"'\no.",
        "newobj": b"\x80\x02cos\nmkdir\n(S'" + made + b"'\nt\x81.",
        "newobj of an allowed name": b"\x80\x02cnumpy\nndarray\n(I1000000000\nt\x81.",
        "newobj_ex": b"\x80\x04cos\nmkdir\n(S'" + made + b"'\nt}\x92.",
        "build of a class": b"cnumpy\nndarray\n(dS'__setstate__'\ncos\nmkdir\nsbS'" + made + b"'\nb.",
        "build of a dtype with a dict": b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(dS'names'\nS'x'\nsb.",
        "getattr": b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR.",
        "getattr chain": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'mkdir'\ntR" + call + b".",
        "persistent id": b"Pos.mkdir\n.",
        "binary persistent id": b"S'os.mkdir'\nQ.",
        "extension 1": b"\x80\x02\x82\x01.",
        "extension 4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "out-of-band buffer": b"\x80\x05\x97.",
        **{
            f"numpy's {name}": b"c" + module + b"\n" + name.encode() + b"\n" + call + b"."
            for module, name in [
                (b"numpy", "load"),
                (b"numpy", "fromfile"),
                (b"numpy", "memmap"),
                (b"numpy", "zeros"),
                (b"numpy.testing._private.utils", "runstring"),
                (b"numpy._core.multiarray", "fromfile"),
            ]
        },
        "numpy's ndarray, called": b"cnumpy\nndarray\n(I1000000000000\ntR.",
        "codecs.open": b"ccodecs\nopen\n(S'" + made + b"'\nS'w'\ntR.",
        "another codec's search": b"c_codecs\nlookup\n(S'" + made + b"'\ntR.",
        "encode by another codec": b"c_codecs\nencode\n(S'" + b"a" * 20 + b"'\nS'rot13'\ntR.",
        "encode by a named error handler": b"c_codecs\nencode\n(S'a'\nS'latin1'\nS'strict'\ntR.",
        "reconstruct of another class": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
        "reconstruct by keyword": b"cnumpy.core.multiarray\n_reconstruct\n(dR.",
        "a call of a number": b"I1\n(tR.",
        "a call of an array": EMPTY_ARRAY + b"(tR.",
    }


def hostile_sizes() -> dict[str, bytes]:
    """Pickles of a few bytes that would make an unpickler or numpy allocate gigabytes, or work for ever."""
    huge = struct.pack("<Q", 1 << 40)
    # Each tuple holds the one before it twice.
    doubled = b")" + b"".join(b"p%d\ng%d\n\x86" % (n, n) for n in range(200))
    return {
        "memo index, binary": b"\x80\x02Nr\xff\xff\xff\xff.",
        "memo index, text": b"Np4294967295\n.",
        "memo index, negative": b"Np-1\n.",
        "text of 2^40 bytes": b"\x80\x04\x8d" + huge + b"a.",
        "bytes of 2^40 bytes": b"\x80\x04\x8e" + huge + b"a.",
        "bytearray of 2^40 bytes": b"\x80\x05\x96" + huge + b"a.",
        "bytes of 2^64 - 1 bytes": b"\x80\x04\x8e" + b"\xff" * 8 + b"a.",
        "text of 4 GiB": b"\x80\x02X\xff\xff\xff\xffa.",
        "string of negative size": b"T\xff\xff\xff\xffa.",
        "frame of 2^40 bytes": b"\x80\x04\x95" + huge + b"}.",
        "integer of 2 GiB": b"\x80\x02\x8b\xff\xff\xff\x7fa.",
        "integer of 255 bytes": b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".",
        "integer of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "array of 10^12 items": one_cell(array_opcodes(shape=b"(I1000000000000\nI2\nI128\nt")),
        "array of 10^12 empty frames": one_cell(array_opcodes(shape=b"(I1000000000000\nI2\nI0\nt", content=b"S''\n")),
        "array of 20,000 axes": one_cell(array_opcodes(shape=b"(" + b"I99999999999999\n" * 20_000 + b"t")),
        "array of negative axes": one_cell(array_opcodes(shape=b"(I-1\nI-2\nI2\nt")),
        "array that is announced large": EMPTY_ARRAY.replace(b"I0", b"I1000000000000") + b".",
        "array announced and never filled": one_cell(EMPTY_ARRAY),
        "array filled twice": one_cell(array_opcodes() + array_opcodes()[len(EMPTY_ARRAY) :]),
        "buffer of 10^12 items": one_cell(
            b"\x80\x05cnumpy._core.numeric\n_frombuffer\n(\x96" + struct.pack("<Q", 4) + b"aaaa" + DTYPE_F4
            + b"(I1000000000000\nI2\nI128\nt\x8c\x01CtR"
        ),
        "type of a gigabyte an item": one_cell(array_opcodes(dtype=b"cnumpy\ndtype\n(S'V1000000000'\nI0\nI1\ntR")),
        "type with fields": one_cell(array_opcodes(dtype=b"cnumpy\ndtype\n(S'f4,f4'\nI0\nI1\ntR")),
        "type with a size of its own": one_cell(
            array_opcodes(dtype=b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI1000000000\nI-1\nI0\ntb")
        ),
        "scalar of another size": b"cnumpy.core.multiarray\nscalar\n(" + DTYPE_F4 + b"S'a'\ntR.",
        "key in many tuples": b"(d" + b"S'a'\n" + b"\x85" * 200_000 + b"I1\ns.",
        "key of 2^200 parts": b"(d" + doubled + b"I1\ns.",
        "a megabyte encoded a thousand times": b"c_codecs\nencode\np0\n(S'" + b"a" * 1_000_000 + b"'\nS'latin1'\ntp1\n("
        + b"g0\ng1\nR" * 1000 + b"t.",
        "many marks": b"(" * 200_000 + b".",
    }  # fmt: skip


SIZES = hostile_sizes()


@pytest.fixture
def sentinel(tmp_path):
    return tmp_path / "sentinel"


@pytest.mark.parametrize("case", hostile_programs(Path("x")))
def test_hostile_program_is_refused_and_never_runs(case, sentinel, tmp_path):
    hostile = tmp_path / "hostile.pkl"
    hostile.write_bytes(hostile_programs(sentinel)[case])
    with pytest.raises(DatasetError, match=r"^hostile\.pkl: (byte \d+: )?[^\n]*expected"):
        open_rml2016(hostile)
    assert not sentinel.exists()


@pytest.mark.parametrize("case", ["reduce, protocol 0", "in a cell, protocol 4", "os.system", "stack global", "inst"])
def test_the_same_programs_do_run_in_pickle(case, sentinel):
    pickle.loads(hostile_programs(sentinel)[case])
    assert sentinel.is_dir()


def test_refusal_names_byte_name_and_cell(sentinel):
    content = pickle.dumps({("QPSK", -2): Payload(sentinel)}, 0)
    place = content.index(b"cposix")
    with pytest.raises(
        DatasetError, match=rf"^set\.pkl: byte {place}: .*'posix\.mkdir'.*\('QPSK', -2\).*Nothing .* was run"
    ):
        read(content)


@pytest.mark.parametrize("case", SIZES)
def test_hostile_size_is_refused_without_allocating(case, tmp_path):
    hostile = tmp_path / "hostile.pkl"
    hostile.write_bytes(SIZES[case])
    # Lists and tuples of a file of half a megabyte may take their hundredfold; a gigabyte would be a lie believed.
    limit_bytes = 8 * 2**20 + 120 * len(SIZES[case])
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r"^hostile\.pkl: "):
            open_rml2016(hostile)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < limit_bytes


@pytest.mark.parametrize(
    ("content", "found"),
    [
        # Each is a set that could be read but for one number that an unpickler would allocate or compute for.
        (b"\x80\x02}r\x03\x00\x00\x00.", "memo index 3 after 2 opcodes"),
        (b"}p99\n.", "memo index 99 after 1 opcodes"),
        (b"\x80\x04\x95\x03" + b"\x00" * 7 + b"}.", "FRAME of 3 bytes where 2 are left"),
        (b"\x80\x02\x8a\x11" + b"\x00" * 17 + b".", "an integer of 17 bytes"),
        (b"I" + b"0" * 200 + b"\n.", "no end in 200 bytes"),
        (b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.", "calls encode with \\('a', 'rot13'\\)"),
    ],
)
def test_number_beyond_what_the_file_justifies_is_named(content, found):
    with pytest.raises(DatasetError, match=rf"^set\.pkl: byte \d+: .*{found}"):
        read(content)


def test_content_can_be_read_amid_the_walk():
    strings = [b"a" * 5000, b"b" * 3000]
    program = b"\x80\x03" + b"".join(b"B" + struct.pack("<I", len(string)) + string for string in strings) + b"\x86."
    file = PickleFile(io.BytesIO(program), "set.pkl")
    held = []
    for operation in file.operations():
        if operation.name == "BINBYTES":
            held.append(operation.argument)
            assert file.content(held[0]) == strings[0]
    assert len(held) == 2


def test_more_opcodes_than_any_set_needs_are_refused(monkeypatch):
    monkeypatch.setattr("toolchain.data.formats.pickle_scan.MOST_OPERATIONS", 1000)
    assert read(b"N" * 999 + b".") is None
    with pytest.raises(DatasetError, match="more than 1000 opcodes"):
        read(b"N" * 1000 + b".")


def small_set() -> dict[tuple[str, int], np.ndarray]:
    rng = np.random.default_rng(1)
    return {(name, snr): rng.normal(size=(2, 2, 3)).astype("f4") for name in ("BPSK", "QPSK") for snr in (-2, 0)}


@pytest.mark.parametrize("protocol", range(6))
def test_cut_at_any_byte_is_one_error(protocol):
    content = pickle.dumps(small_set(), protocol)
    assert isinstance(read(content), PickledDict)
    for size in range(len(content)):
        with pytest.raises(DatasetError, match=r"^set\.pkl: byte \d+: "):
            read(content[:size])


def test_long_string_cut_short_is_one_error():
    for protocol in range(6):
        content = pickle.dumps({("QPSK", 0): np.ones((100, 2, 64), dtype="f4")}, protocol)
        for size in range(1, len(content), len(content) // 50):
            with pytest.raises(DatasetError, match=r"^set\.pkl: byte \d+: "):
                read(content[:size])


def test_bytes_after_the_end_are_refused():
    with pytest.raises(DatasetError, match="4 bytes after the pickle's end"):
        read(pickle.dumps(small_set(), 2) + b"more")


def test_file_that_shrinks_while_it_is_read_is_one_error():
    content = io.BytesIO(pickle.dumps({("QPSK", 0): np.ones((100, 2, 64), dtype="f4")}, 4))
    file = PickleFile(content, "set.pkl")
    held = read_pickle(file)
    content.truncate(1000)
    with pytest.raises(DatasetError, match="became shorter"):
        load_array(file, held.entries[0][1])


def test_long_strings_stay_in_the_file_until_asked_for():
    array = np.arange(100 * 2 * 64, dtype="f4").reshape(100, 2, 64)
    for protocol in range(6):
        file = PickleFile(io.BytesIO(pickle.dumps({("QPSK", 0): array}, protocol)), "set.pkl")
        tracemalloc.start()
        held = read_pickle(file)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        claim = held.entries[0][1]
        assert isinstance(claim, PickledArray)
        assert claim.content.short is None
        # Protocol 0 looks for the end of a line; all else is stepped over.
        assert peak_bytes < 2 * array.nbytes + 65536 if protocol == 0 else peak_bytes < array.nbytes + 65536
        np.testing.assert_array_equal(load_array(file, claim), array)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"S'no end\n", "no quotes"),
        (b"S'\\xg1'\n", "invalid"),
        (b"S'\\q'\n", "invalid escape"),
        (b"S\n", "no quotes"),
        (b"V\\u12\n", "truncated"),
        (b"V\\u1234\n", "latin-1"),
        (b"X\x02\x00\x00\x00\xff\xff", "utf-8"),
    ],
)
def test_string_that_cannot_be_decoded_is_one_error(line, found, tmp_path):
    broken = tmp_path / "broken.pkl"
    broken.write_bytes(
        one_cell(array_opcodes(shape=b"(I1\nI2\nI1\nt", dtype=DTYPE_F4.replace(b"f4", b"i1"), content=line))
    )
    with pytest.raises(DatasetError, match=r"^broken\.pkl: byte \d+: ") as caught:
        open_rml2016(broken)
    assert re.search(found, str(caught.value)) or "needs 2 bytes" in str(caught.value)


SMALL = [pickle.dumps(small_set(), protocol) for protocol in range(6)]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_bytes_are_an_error_or_a_set(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    flipped = tmp_path_factory.getbasetemp() / "flipped.pkl"
    flipped.write_bytes(content)
    try:
        dataset = open_rml2016(flipped)
    except DatasetError as error:
        assert str(error).startswith("flipped.pkl: ")  # noqa: PT017
    else:
        assert dataset.frames(np.arange(len(dataset))).shape == (len(dataset), 2, dataset.length)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\x80\x02", b"(d", b"}(", EMPTY_ARRAY, b"(d(S'a'\nI1\nt" + array_opcodes()]),
)
def test_random_bytes_are_an_error_or_a_value(tail, head):
    try:
        read(head + tail)
    except DatasetError as error:
        assert str(error).startswith("set.pkl: byte ")  # noqa: PT017
