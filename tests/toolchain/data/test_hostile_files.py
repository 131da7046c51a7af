"""The corpus: hostile, damaged and mistaken files of every format, as a user meets them, through ``open_dataset``.

Each ends in one DatasetError that names the file, the place and the way out; nothing of a file is ever run, and nothing is
allocated that the file does not have. What each reader refuses in detail is in its own tests.
"""

from __future__ import annotations

import builtins
import codecs
import ctypes
import functools
import importlib
import io
import json
import logging
import operator
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from toolchain.data import check_frames, open_dataset, write_h5
from toolchain.errors import DatasetError

WAY_OUT = re.compile(
    r"\b(fetch|copy|save|write|take|cut|leave|mend|make|add|name|correct|unpack|give|put|permute|check|install)\b",
    re.IGNORECASE,
)


def refused(path: Path, match: str, *, check: bool = False, most_bytes: int = 4 << 20) -> str:
    """Open a file that must be refused in one message, without memory for what it claims."""
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=match) as caught:
            dataset = open_dataset(path)
            if check:
                check_frames(dataset)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    beside = {each.name for each in path.parent.rglob("*")}
    assert message.startswith((str(path), *(f"{name}: " for name in beside)))
    assert message.isprintable()
    assert len(message) < 1500
    assert "expected" in message or WAY_OUT.search(message)
    assert peak_bytes < most_bytes
    return message


# Pickles that would run code.

PROTOCOLS = (0, 1, 2, 4, 5)
CANARY = "canary"


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """A call may be what is called."""


class CallWithState(Call):
    """The same, with a state that is set on what the call gives."""

    def __reduce__(self):
        return (*self.reduced, {"state": Call(os.mkdir, CANARY)})


class CallWithItems(Call):
    """The same, with items that are put into what the call gives."""

    def __reduce__(self):
        return (*self.reduced, None, iter([]), iter([("a", Call(os.mkdir, CANARY))]))


class RunsOnState:
    """Runs code when its state is set."""

    def __init__(self):
        self.made = CANARY

    def __setstate__(self, state):
        Path(state["made"]).mkdir()


class RunsOnNew:
    """Runs code when it is made anew."""

    def __new__(cls, made=CANARY):
        if made != "":
            Path(made).mkdir()
        return super().__new__(cls)

    def __getnewargs__(self):
        return (CANARY,)


class RunsWhenHashed:
    """Runs code when it becomes a key."""

    def __hash__(self):
        Path(self.made).mkdir(exist_ok=True)
        return 1


def key_of_a_dict():
    key = RunsWhenHashed()
    key.made = CANARY
    return Call(dict, [(key, 1)])


EXPRESSION = f"__import__('os').mkdir({CANARY!r})"
# What each would run.
CALLS = {
    "os.system": lambda: Call(os.system, f"mkdir {CANARY}"),
    "os.mkdir": lambda: Call(os.mkdir, CANARY),
    "os.popen": lambda: Call(os.popen, f"mkdir {CANARY}"),
    "subprocess.call": lambda: Call(subprocess.call, ["mkdir", CANARY]),
    "builtins.eval": lambda: Call(builtins.eval, EXPRESSION),
    "builtins.exec": lambda: Call(builtins.exec, EXPRESSION),
    "builtins.open": lambda: Call(builtins.open, CANARY, "w"),
    "builtins.__import__": lambda: Call(builtins.__import__, "antigravity"),
    "builtins.getattr": lambda: Call(Call(builtins.getattr, Call(importlib.import_module, "os"), "mkdir"), CANARY),
    "builtins.map": lambda: Call(list, Call(map, os.mkdir, [CANARY])),
    "importlib": lambda: Call(importlib.import_module, "antigravity"),
    "pickle in a pickle": lambda: Call(pickle.loads, pickle.dumps(Call(os.mkdir, CANARY))),
    "partial": lambda: Call(functools.partial(os.mkdir, CANARY)),
    "attrgetter": lambda: Call(operator.attrgetter("tofile"), ARRAY),
    "methodcaller": lambda: Call(operator.methodcaller("mkdir"), Path(CANARY)),
    "logging": lambda: Call(logging.FileHandler, CANARY),
    "shutil": lambda: Call(shutil.copy, "/etc/hostname", CANARY),
    "ctypes": lambda: Call(ctypes.CDLL, "libc.so.6"),
    "code of a function": lambda: Call(builtins.eval, Call(compile, EXPRESSION, "a", "eval")),
    "numpy.load": lambda: Call(np.load, "x.npy", None, True),
    "numpy.save": lambda: Call(np.save, CANARY, 1),
    "numpy.fromfile": lambda: Call(np.fromfile, "/etc/hostname", np.int8),
    "numpy.savetxt": lambda: Call(np.savetxt, CANARY, [1]),
    "numpy.memmap": lambda: Call(np.memmap, CANARY, "f4", "w+", 0, (1000,)),
    "numpy.zeros": lambda: Call(np.zeros, 1 << 40),
    "numpy.ndarray": lambda: Call(np.ndarray, (1 << 40,)),
    "numpy's frombuffer": lambda: Call(np.frombuffer, b"abcd"),
    "numpy's vectorize": lambda: Call(np.vectorize(os.mkdir), CANARY),
    "numpy's apply": lambda: Call(np.apply_along_axis, os.mkdir, 0, [CANARY]),
    "numpy's dtype of objects": lambda: Call(np.dtype, "O"),
    "numpy's dtype of a dict": lambda: Call(np.dtype, {"names": [CANARY], "formats": ["V1000000000"]}),
    "codecs.open": lambda: Call(codecs.open, CANARY, "w"),
    "codecs.register": lambda: Call(codecs.register, os.mkdir),
    "codecs.decode": lambda: Call(codecs.decode, zlib.compress(bytes(1000)), "zlib_codec"),
    "codecs.encode": lambda: Call(codecs.encode, "abc", "rot13"),
    "codecs.encode, handler": lambda: Call(codecs.encode, "abc", "latin1", "strict"),
    "codecs.lookup": lambda: Call(codecs.lookup, "canary"),
    "state of a call": lambda: CallWithState(dict),
    "items of a call": lambda: CallWithItems(dict),
    "state of an object": RunsOnState,
    "making of an object": lambda: RunsOnNew(""),
    "hash of a key": key_of_a_dict,
    "a class": lambda: RunsOnState,
    "a lock of the system": lambda: Call(os.fdopen, 0),
}
SEEN_TO_RUN = (
    "os.system",
    "builtins.eval",
    "builtins.map",
    "numpy.savetxt",
    "codecs.open",
    "state of a call",
    "items of a call",
    "state of an object",
    "hash of a key",
)
ARRAY = np.arange(3 * 2 * 8, dtype="<f4").reshape(3, 2, 8)
CELLS = {(name, snr): ARRAY + snr for name in ("BPSK", "QPSK") for snr in (0, 2)}
PLACES = {
    "alone": lambda hostile: hostile,
    "as a cell": lambda hostile: {**CELLS, ("8PSK", 0): hostile},
    "as a class": lambda hostile: {**CELLS, (hostile, 0): ARRAY},
    "as an SNR": lambda hostile: {**CELLS, ("8PSK", hostile): ARRAY},
    "in an array": lambda hostile: {**CELLS, ("8PSK", 0): np.array([[[hostile]]], dtype=object)},
    "nested": lambda hostile: {**CELLS, ("8PSK", 0): {"a": ({"b": (hostile,)},)}},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, in which a canary would be."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_no_pickle_runs_anything(place, here, tmp_path):
    path = tmp_path / "set.pkl"
    modules = set(sys.modules)
    tried = 0
    for name, make in CALLS.items():
        for protocol in PROTOCOLS:
            hostile = PLACES[place](make())
            path.write_bytes(pickle.dumps(hostile, protocol))
            message = refused(path, r"^set\.pkl: .*expected")
            # A class alone is only a name; it is refused by it as well.
            assert re.search(r"byte \d+: ", message), (name, protocol, message)
            assert list(here.iterdir()) == [], (name, protocol)
            tried += 1
    assert tried == len(CALLS) * len(PROTOCOLS)
    assert "antigravity" not in set(sys.modules) - modules


@pytest.mark.parametrize("name", SEEN_TO_RUN)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_canaries_are_alive(name, protocol, here):
    content = pickle.dumps(CALLS[name](), protocol)
    assert list(here.iterdir()) == []
    # What comes after the canary may fail.
    with suppress(AttributeError):
        pickle.loads(content)
    assert [left.name for left in here.iterdir()] == [CANARY]


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'mkdir canary'\ntR.",
        b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00mkdir canary\x85R.",
        b"(S'mkdir canary'\nios\nsystem\n.",
        b"(cos\nsystem\nS'mkdir canary'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0cmkdir canary\x85R.",
        b"\x80\x02c__builtin__\neval\nX\x1d\x00\x00\x00__import__('os').mkdir('a12')\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\nK\x00\x85U\x01btR.",
        b"\x80\x02c_codecs\nencode\n(cos\nsystem\nU\x06latin1tR.",
        b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        b"\x80\x04\x8c\x07_codecs\x8c\x16encode.__self__.lookup\x93\x8c\x01a\x85R.",
    ],
)
def test_programs_by_hand_run_nothing_either(program, here, tmp_path):
    path = tmp_path / "set.pkl"
    path.write_bytes(program)
    refused(path, r"^set\.pkl: byte \d+: .*Nothing of it was run.*take the set from its publisher")
    assert list(here.iterdir()) == []


# Pickles that claim memory.

HUGE = struct.pack("<Q", 1 << 40)
BOMBS = {
    "nine bytes, a memo index of 4 GiB": b"\x80\x02Nr\xff\xff\xff\xff.",
    "a memo index in text": b"(dp4294967295\n.",
    "bytes": b"\x80\x04\x8e" + HUGE + b"a.",
    "a bytearray": b"\x80\x05\x96" + HUGE + b"a.",
    "text": b"\x80\x04\x8d" + HUGE + b"a.",
    "a frame": b"\x80\x04\x95" + HUGE + b"}.",
    "an integer": b"\x80\x02\x8b\xff\xff\xff\x7fa.",
    "an integer in text": b"(I" + b"9" * 1_000_000 + b"\n.",
    "marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "tuples in tuples": b"\x80\x02)" + b"\x85" * 40_000 + b".",
    "doubled tuples": b"\x80\x02)" + b"q\x00h\x00\x86" * 100 + b".",
    "names": b"\x80\x02" + b"cnumpy\ndtype\n" * 10_000 + b".",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_pickle_that_claims_memory_gets_none(bomb, tmp_path):
    assert len(BOMBS["nine bytes, a memo index of 4 GiB"]) == 9
    path = tmp_path / "set.pkl"
    path.write_bytes(BOMBS[bomb])
    refused(path, r"^set\.pkl: ", most_bytes=(8 << 20) + 60 * len(BOMBS[bomb]))


# Honest sets of every format, small.

RNG = np.random.default_rng(3)
IQ = RNG.normal(size=(8, 2, 8)).astype("<f4")
LABELS, SNRS_DB = np.arange(8) % 2, np.arange(8, dtype="<f4")


def pickled(folder: Path, cells=None, protocol=2) -> Path:
    path = folder / "set.pkl"
    path.write_bytes(cells if isinstance(cells, bytes) else pickle.dumps(CELLS if cells is None else cells, protocol))
    return path


def npz(folder: Path, save=np.savez, **changes) -> Path:
    arrays = {"iq": IQ, "label": LABELS, "snr_db": SNRS_DB, "classes": np.array(["BPSK", "QPSK"]), **changes}
    save(folder / "set.npz", **{name: array for name, array in arrays.items() if array is not None})
    return folder / "set.npz"


def hdf5(path: Path, arrays, userblock_size=0, **options) -> Path:
    with h5py.File(path, "w", userblock_size=userblock_size) as file:
        for name, array in arrays.items():
            if isinstance(array, dict):  # a claim
                file.create_dataset(name, **array)
            elif array is not None:
                file.create_dataset(name, data=array, **options)
    return path


def own(folder: Path, **changes) -> Path:
    path = folder / "set.h5"
    write_h5(
        path, iq=IQ, label=LABELS, snr_db=SNRS_DB, classes=("BPSK", "QPSK"), sample_rate_hz=1e6, made_by="a test"
    )  # fmt: skip
    with h5py.File(path, "a") as file:
        for name, array in changes.items():
            del file[name]
            file.create_dataset(name, **(array if isinstance(array, dict) else {"data": array}))
    return path


def rml2018(folder: Path, options=None, **changes) -> Path:
    x = RNG.normal(size=(24, 8, 2)).astype("<f4")
    arrays = {"X": x, "Y": np.eye(24, dtype="<i8"), "Z": np.arange(-20, 28, 2)[:, None], **changes}
    return hdf5(folder / "set.hdf5", arrays, **(options or {}))


def hkdd(folder: Path, **changes) -> Path:
    iq = RNG.integers(-9, 9, size=(14, 1, 512, 2)).astype("<i2")
    arrays = {"XTrainIQ": iq, "label": np.arange(14)[None] % 12, "snr_db": np.arange(14.0)[None], **changes}
    return hdf5(folder / "set.mat", arrays, userblock_size=512)


def columns(folder: Path, labels=(61, 54, 0, 10), snrs=(-20, 18, 0, 2)) -> None:
    (folder / "train_labels.csv").write_text("".join(f"{label}\n" for label in labels))
    (folder / "train_snr.csv").write_text("".join(f"{snr}\n" for snr in snrs))


def csv(folder: Path, lines=("1+2i,3-4i", "0+1i,1+0i", "1+1i,2+2i", "3+3i,4+4i"), **changes) -> Path:
    columns(folder, **changes)
    path = folder / "train_data.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def hisarmod_mat(folder: Path, data=None, **changes) -> Path:
    columns(folder, **changes)
    wide = RNG.normal(size=(2, 1024, 4)).astype("<f4")
    return hdf5(folder / "train.mat", {"data_save": wide if data is None else data}, userblock_size=512)


def sigmf(folder: Path, annotations=None, captures=None, samples=4096, dtype="<i2", **fields) -> Path:
    meta = {
        "global": {"core:datatype": "ci16_le", "core:version": "1.2.0", **fields},
        "captures": [{"core:sample_start": 0}] if captures is None else captures,
        "annotations": [annotation(0, 2048), annotation(2048, 2048, "BPSK")] if annotations is None else annotations,
    }
    (folder / "set.sigmf-meta").write_text(json.dumps(meta))
    data = samples if isinstance(samples, np.ndarray) else RNG.integers(-99, 99, size=(samples, 2))
    (folder / "set.sigmf-data").write_bytes(data.astype(dtype).tobytes())
    return folder / "set.sigmf-meta"


def annotation(start, count, label="QPSK", snr_db=5):
    return {
        "core:sample_start": start,
        "core:sample_count": count,
        "core:label": label,
        "capture_details:SNRdB": snr_db,
    }


GZIP = {"compression": "gzip", "shuffle": True, "chunks": True}
HONEST = {
    **{f"pickle, protocol {p}": functools.partial(pickled, protocol=p) for p in PROTOCOLS},
    "npz": npz,
    "npz, compressed": functools.partial(npz, save=np.savez_compressed),
    "own": own,
    "rml2018": rml2018,
    "rml2018, gzip": functools.partial(rml2018, options=GZIP),
    "hkdd": hkdd,
    "hisarmod csv": csv,
    "hisarmod mat": hisarmod_mat,
    "sigmf": sigmf,
}
# Opening HDF5 takes a process each time; tests/deploy/frames/test_hdf5.py and benchmarks/fuzz_readers.py damage more of it.
IS_HDF5 = ("own", "rml2018", "hkdd", "hisarmod mat")


@pytest.mark.parametrize("kind", HONEST)
def test_honest_file_of_each_format_is_read(kind, tmp_path):
    check_frames(open_dataset(HONEST[kind](tmp_path)))


@pytest.mark.parametrize("kind", HONEST)
def test_truncated_file_is_one_error(kind, tmp_path):
    path = HONEST[kind](tmp_path)
    content = path.read_bytes()
    for part in (0.6,) if kind.startswith(IS_HDF5) else np.linspace(0, 0.97, 20):
        path.write_bytes(content[: int(part * len(content))])
        refused(path, r"^(set|train\w*)\.[\w-]+: ")


@pytest.mark.parametrize("kind", [kind for kind in HONEST if not kind.startswith(IS_HDF5)])
def test_flipped_bits_are_one_error_or_a_set(kind, tmp_path):
    path = HONEST[kind](tmp_path)
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(40):
        flipped = bytearray(content)
        for place in rng.integers(0, min(2000, len(content)), size=rng.integers(1, 4)):
            flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            dataset = open_dataset(path)
            assert dataset.frames([0]).shape == (1, 2, dataset.length)
            check_frames(dataset)
        except DatasetError as error:
            # The name of the file, a colon, and one line.
            assert re.match(r"\S*(set|train\w*)\.[\w-]+: \S", str(error))  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


def npz_of_a_claim(folder: Path, shape) -> Path:
    """An .npz whose iq says that it has another shape than its numbers have."""
    path = npz(folder, iq=None)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("iq.npy", header.getvalue() + IQ.tobytes())
    return path


def claimed_pickle(folder: Path, shape: bytes, protocol=0) -> Path:
    content = pickle.dumps(CELLS, protocol)
    before = {0: b"(I3\nI2\nI8\nt", 1: b"(K\x03K\x02K\x08t", 2: b"K\x03K\x02K\x08\x87"}[protocol]
    assert before in content
    return pickled(folder, content.replace(before, shape, 1))


MANY = 10**12
CLAIMS = {
    "pickle, protocol 0": (
        lambda at: claimed_pickle(at, b"(I1000000000000\nI2\nI8\nt"),
        r"byte \d+: .*\(1000000000000, 2, 8\) needs 64000000000000 bytes .*'BPSK', 0",
    ),
    "pickle, protocol 1": (
        lambda at: claimed_pickle(at, b"(J\xff\xff\xff\x7fK\x02K\x08t", 1),
        r"byte \d+: .*\(2147483647, 2, 8\) needs .*'BPSK', 0",
    ),
    "pickle, protocol 2": (
        lambda at: claimed_pickle(at, b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00K\x02K\x08\x87", 2),
        r"byte \d+: .*\(1000000000000, 2, 8\) needs",
    ),
    "npz": (
        lambda at: npz_of_a_claim(at, (MANY, 2, 8)),
        r"iq claims .*\(1000000000000, 2, 8\), 64000000000000 bytes; 512 are there",
    ),
    "npz beyond integers": (lambda at: npz_of_a_claim(at, (2**62, 2, 2**62)), "iq claims"),
    "npz of empty frames": (lambda at: npz_of_a_claim(at, (MANY, 2, 0)), "iq"),
    "own": (
        lambda at: own(at, iq={"shape": (MANY, 2, 8), "dtype": "<f4", "chunks": (1024, 2, 8)}),
        "iq: it claims .* 0 are stored",
    ),
    "own, labels": (
        lambda at: own(at, label={"shape": (MANY,), "dtype": "<i8", "chunks": (1024,)}),
        "label: it claims .* 0 are stored",
    ),
    "rml2018": (lambda at: rml2018(at, X={"shape": (MANY, 8, 2), "dtype": "<f4"}), "X: it claims .* 0 are stored"),
    "rml2018, gzip": (
        lambda at: rml2018(at, X={"shape": (MANY, 8, 2), "dtype": "<f4", **GZIP}),
        "X: it claims .* 0 are stored",
    ),
    "hkdd": (
        lambda at: hkdd(at, XTrainIQ={"shape": (MANY, 1, 512, 2), "dtype": "<f4"}),
        "XTrainIQ: it lies past the file",
    ),
    "hisarmod mat": (
        lambda at: hisarmod_mat(at, {"shape": (2, 1024, MANY), "dtype": "<f4", **GZIP}),
        "data_save: it claims .* 0 are stored",
    ),
    "sigmf, annotation": (
        lambda at: sigmf(at, [annotation(0, MANY * 1024)]),
        r"annotation 0 \(QPSK\) covers samples 0 to",
    ),
    "sigmf, start": (lambda at: sigmf(at, [annotation(2**62, 2048)]), r"annotation 0 \(QPSK\)"),
    "sigmf, digits": (lambda at: sigmf(at, [annotation(10**400, 2048)]), "a number of 401 digits"),
    "sigmf, header": (
        lambda at: sigmf(at, captures=[{"core:sample_start": 0, "core:header_bytes": MANY}]),
        "has no samples",
    ),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim_of_frames_that_are_not_there_is_refused(claim, tmp_path):
    make, match = CLAIMS[claim]
    path = make(tmp_path)
    refused(path, match)


NOTHING = np.zeros((0, 2, 8), "<f4")
EMPTY = {
    "pickle, no cells": (lambda at: pickled(at, {}), "an empty dict"),
    "pickle, an empty cell": (
        lambda at: pickled(at, {**CELLS, ("QPSK", 2): NOTHING}, 4),
        r"cell \('QPSK', 2\) is empty",
    ),
    "npz": (lambda at: npz(at, iq=NOTHING, label=LABELS[:0], snr_db=SNRS_DB[:0]), "iq"),
    "own": (lambda at: own(at, iq=NOTHING, label=LABELS[:0], snr_db=SNRS_DB[:0]), r"'iq': \(0, 2, 8\)"),
    "rml2018": (
        lambda at: rml2018(at, X=np.zeros((0, 8, 2)), Y=np.zeros((0, 24)), Z=np.zeros((0, 1))),
        r"X \(0, 8, 2\)",
    ),
    "hkdd": (
        lambda at: hkdd(at, XTrainIQ=np.zeros((0, 1, 512, 2)), label=np.zeros((1, 0)), snr_db=np.zeros((1, 0))),
        r"XTrainIQ has the shape \(0, 1, 512, 2\)",
    ),
    "hisarmod csv": (lambda at: csv(at, lines=(), labels=(), snrs=()), "an empty file"),
    "hisarmod csv, columns": (lambda at: csv(at, labels=(), snrs=()), r"train_(labels|snr)\.csv"),
    "hisarmod mat": (lambda at: hisarmod_mat(at, np.zeros((2, 1024, 0))), r"data_save has the shape \(2, 1024, 0\)"),
    "sigmf, no annotations": (lambda at: sigmf(at, []), "none of its 0 annotations gives a frame"),
    "sigmf, short ones": (
        lambda at: sigmf(at, [annotation(0, 1023)]),
        r"none of its 1 annotations gives a frame of 1024 samples \(0 without core:label, 1 too short",
    ),
    "sigmf, no samples": (lambda at: sigmf(at, samples=0), r"set\.sigmf-data: has no samples|0 bytes"),
}


@pytest.mark.parametrize("empty", EMPTY)
def test_set_without_frames_is_one_error(empty, tmp_path):
    make, match = EMPTY[empty]
    refused(make(tmp_path), match)


def spoiled(array, value):
    array = np.array(array, dtype="<f4")
    array.reshape(-1)[-1] = value
    return array


SPOILED = {
    "pickle": (
        lambda at, bad: pickled(at, {**CELLS, ("QPSK", 2): spoiled(ARRAY, bad)}),
        r"1 of 12 frames .* first frame 11 \(QPSK, 2 dB\)",
    ),
    "npz": (lambda at, bad: npz(at, iq=spoiled(IQ, bad)), r"1 of 8 frames .* first frame 7 \(QPSK, 7 dB\)"),
    "npz, compressed": (lambda at, bad: npz(at, np.savez_compressed, iq=spoiled(IQ, bad)), "first frame 7"),
    "own": (lambda at, bad: own(at, iq=spoiled(IQ, bad)), "first frame 7"),
    "rml2018": (lambda at, bad: rml2018(at, X=spoiled(np.ones((24, 8, 2)), bad)), r"first frame 23 \(OQPSK, 26 dB\)"),
    "hkdd": (lambda at, bad: hkdd(at, XTrainIQ=spoiled(np.ones((14, 1, 512, 2)), bad)), "first frame 13"),
    "hisarmod csv": (
        lambda at, bad: csv(at, lines=["1+2i,3+4i"] * 3 + [f"1+2i,{'1e999' if np.isinf(bad) else bad}+1i"]),
        "first frame 3|line 4",
    ),
    "hisarmod mat": (lambda at, bad: hisarmod_mat(at, spoiled(np.ones((2, 1024, 4)), bad)), "first frame 3"),
    "sigmf": (
        lambda at, bad: sigmf(
            at, samples=spoiled(np.ones((4096, 2)), bad), dtype="<f4", **{"core:datatype": "cf32_le"}
        ),
        "first frame",
    ),
}


@pytest.mark.parametrize(
    ("kind", "value"),
    [(kind, np.nan) for kind in SPOILED] + [(kind, np.inf) for kind in SPOILED if not kind.startswith(IS_HDF5)],
)
def test_frames_that_are_no_numbers_are_named_by_the_check(kind, value, tmp_path):
    make, match = SPOILED[kind]
    refused(make(tmp_path, value), match, check=True)


ONE_HOT = np.eye(24)
WRONG = {
    "npz, label 2": (lambda at: npz(at, label=LABELS + 1), "label"),
    "npz, label -1": (lambda at: npz(at, label=LABELS - 1), "label"),
    "npz, label 2^63": (lambda at: npz(at, label=LABELS.astype("u8") + np.uint64(2**63)), "label"),
    "npz, label NaN": (lambda at: npz(at, label=LABELS * np.nan), "label"),
    "own, label 2": (lambda at: own(at, label=LABELS + 1), "labels from 1 to 2; expected 0 to 1"),
    "own, label -2^63": (lambda at: own(at, label=np.full(8, -(2**63))), "labels from -9223372036854775808 to"),
    "rml2018, two labels": (lambda at: rml2018(at, Y=ONE_HOT + np.eye(24, k=3)), "row 0 of Y is not one-hot"),
    "hkdd, label 13": (lambda at: hkdd(at, label=np.arange(14)[None]), "label holds other values"),
    "hisarmod, label 62": (lambda at: csv(at, labels=(61, 62, 0, 10)), r"train_labels\.csv: line 2 holds '62'"),
    "hisarmod, label of 10^6 digits": (lambda at: csv(at, labels=(61, "9" * 10**6, 0, 10)), r"train_labels\.csv"),
    "sigmf, control characters": (lambda at: sigmf(at, [annotation(0, 2048, "\x1b[2J")]), r"annotation 0: core:label"),
    "sigmf, no text": (lambda at: sigmf(at, [annotation(0, 2048, 7)]), r"annotation 0: core:label"),
    # SNRs.
    "pickle, SNR NaN": (
        lambda at: pickled(at, {**CELLS, ("8PSK", np.nan): ARRAY + 1}),
        r"a key of the dict is \('8PSK', nan\)",
    ),
    "pickle, SNR 1e300": (lambda at: pickled(at, {**CELLS, ("8PSK", 1e300): ARRAY + 1}), r"a key of the dict is"),
    "npz, SNR NaN": (lambda at: npz(at, snr_db=SNRS_DB * np.nan), "snr_db|SNR of nan"),
    "own, SNR NaN": (lambda at: own(at, snr_db=SNRS_DB * np.nan), "frame 0 has an SNR of nan dB"),
    "rml2018, SNR NaN": (lambda at: rml2018(at, Z=np.full((24, 1), np.nan)), "row 0 of Z is nan"),
    "hisarmod, SNR NaN": (lambda at: csv(at, snrs=(0, 2, "nan", 4)), r"train_snr\.csv: line 3 holds 'nan'"),
    "sigmf, SNR 1e300": (lambda at: sigmf(at, [annotation(0, 2048, snr_db=1e300)]), "annotation 0"),
    "sigmf, SNR text": (lambda at: sigmf(at, [annotation(0, 2048, snr_db="high")]), "annotation 0"),
    # Axes.
    "pickle, axes": (
        lambda at: pickled(at, {**CELLS, ("8PSK", 0): ARRAY.transpose(0, 2, 1).copy()}),
        r"cell \('8PSK', 0\) has the shape \(3, 8, 2\).*save array\.transpose\(0, 2, 1\)",
    ),
    "npz, axes": (lambda at: npz(at, iq=IQ.transpose(0, 2, 1).copy()), r"iq"),
    "own, axes": (lambda at: own(at, iq=IQ.transpose(0, 2, 1)), r"'iq': \(8, 8, 2\)"),
    "rml2018, axes": (lambda at: rml2018(at, X=np.ones((24, 2, 8))), r"save X\.transpose\(0, 2, 1\)"),
    "hkdd, axes": (lambda at: hkdd(at, XTrainIQ=np.ones((14, 1, 1024, 1))), "XTrainIQ has the shape"),
    "hisarmod mat, axes": (lambda at: hisarmod_mat(at, np.ones((3, 1024, 2))), "data_save has the shape"),
    # Ragged.
    "pickle, ragged": (
        lambda at: pickled(at, {**CELLS, ("8PSK", 0): ARRAY[:, :, :7].copy()}),
        r"cell \('BPSK', 0\) has frames of 8 samples, .*7|has frames of 8 samples, the cell \('8PSK', 0\) of 7",
    ),
    "pickle, a list of frames": (lambda at: pickled(at, {("8PSK", 0): [ARRAY[0], ARRAY[1, :, :5]]}), "EMPTY_LIST"),
    "pickle, SNRs as text": (lambda at: pickled(at, {("8PSK", "0"): ARRAY}), r"a key of the dict is \('8PSK', '0'\)"),
    "npz, ragged": (lambda at: npz(at, iq=np.array([[IQ[0]], [None]], dtype=object)), "iq holds Python objects"),
    "npz, fewer labels": (lambda at: npz(at, label=LABELS[:-1]), "label"),
    "own, fewer labels": (lambda at: own(at, label=LABELS[:-1]), r"'label': \(7,\)"),
    "hisarmod, ragged": (
        lambda at: csv(at, lines=("1+2i,3-4i", "1+2i,3-4i", "1+2i", "1+2i,3-4i")),
        r"train_data\.csv: line 3",
    ),
    "hisarmod, more labels": (lambda at: csv(at, labels=(61, 54, 0, 10, 0), snrs=(0,) * 5), r"train_data\.csv"),
    # A recording.
    "sigmf, shorter than its annotations": (
        lambda at: sigmf(at, samples=4095),
        r"annotation 1 \(BPSK\) covers samples 2048 to 4095; the recording has 0 to 4094",
    ),
    "sigmf, without samples": (
        lambda at: (path := sigmf(at)).with_suffix(".sigmf-data").unlink() or path,
        "its samples are missing",
    ),
    "sigmf, another folder": (
        lambda at: sigmf(at, **{"core:dataset": "../../etc/passwd"}),
        "core:dataset is '../../etc/passwd'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_one_error(wrong, tmp_path):
    make, match = WRONG[wrong]
    refused(make(tmp_path), match, check=True)


def test_nothing_of_the_corpus_takes_memory_or_time(tmp_path):
    """Once more, where no more than 256 MiB can be had, whichever library asks for them; HDF5 runs under its own limits."""
    made = {}
    for name, (make, _) in {**CLAIMS, **EMPTY}.items():
        if not name.startswith(IS_HDF5):
            (tmp_path / str(len(made))).mkdir()
            path = make(tmp_path / str(len(made)))
            made[str(path)] = name
    for name, bomb in BOMBS.items():
        path = tmp_path / f"{len(made)}.pkl"
        path.write_bytes(bomb)
        made[str(path)] = name
    program = """
import json, resource, sys
from pathlib import Path
from toolchain.data import open_dataset
from toolchain.errors import DatasetError
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (256 << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
for path in json.loads(sys.argv[1]):
    try:
        open_dataset(path)
    except DatasetError as error:
        assert "memory" not in str(error), error
        print(path)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps([*made])], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [*made]
