"""HDF5 files that are not trusted: their structure told by a child process, their numbers read here as plain bytes.

The HDF5 library crashes on some damaged files, hangs on others, and allocates what a header claims. So it never runs
here: :mod:`deploy.frames.hdf5_child` looks into the file under limits of memory and time and says where the numbers
lie; if it dies of it, the file is damaged. Reading the bytes past the library is also faster, needs no lock, and works
in any thread or process.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Timer
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import DatasetError
from deploy.frames.hdf5_dataset import DEFLATE, SHUFFLE, WAY_OUT, Hdf5Dataset, grid_of
from deploy.frames.same_file import SameFile, same_file
from deploy.python_command import python_command

# No stream of deflate is shorter than a thousandth of what it becomes.
MOST_DEFLATED_RATIO = 1032
# One chunk is in memory at a time, and a megabyte of deflate may become a gigabyte. Frames are read 16 MiB at a time:
# of larger chunks each would be decompressed many times in a pass. HDF5 advises 1 MiB a chunk.
MOST_CHUNK_BYTES = 32 << 20
# Of what the child says: a table of a million chunks takes 48 MiB. The file's size adds to it.
MOST_ANSWER_BYTES = 64 << 20
# A slow disk needs seconds.
MOST_WAITING_S = 300.0
# In messages.
MOST_NAME, MOST_REASON = 60, 300
# The child's modules come from where this process has them. -c, for `python FILE` would import from the file's folder.
_START = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
)
_CHILD = Path(__file__).with_name("hdf5_child.py")
# What an answer raises that our own child would not give.
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
SIGNATURE = b"\x89HDF\r\n\x1a\n"
# HDF5 allows a block of the user's own in front; MATLAB v7.3 has one of 512 bytes.
SIGNATURE_OFFSETS = (0, 512, 1024, 2048)
_PLAIN_TYPE = re.compile(r"[<>|][fiub][1248]|\|S[1-9]\d{0,4}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5File:
    """What an HDF5 file has: its arrays by their path, ``group/name``, and the root's attributes.

    ``attributes`` are numbers, text, or lists of them; text is given as the bytes that stand in the file.
    ``unreadable`` says, for members that are no plain arrays of this file, why.
    """

    path: Path
    datasets: Mapping[str, Hdf5Dataset]
    attributes: Mapping[str, Any]
    unreadable: Mapping[str, str]


def is_hdf5(start: bytes) -> bool:
    """Whether a file that begins with ``start``, its first 4 KiB, is HDF5."""
    return any(start[offset:].startswith(SIGNATURE) for offset in SIGNATURE_OFFSETS)


def open_hdf5(path: Path) -> Hdf5File:
    """Look into an HDF5 file; no numbers are read.

    Raises :class:`DatasetError` where the file is damaged, or claims what its size cannot justify.
    """
    file = same_file(path)
    answer, numbers = _ask_child(file)
    datasets, unreadable = {}, {}
    try:
        tables = _tables(answer, numbers)
        for name, described in answer["datasets"].items():
            # A name goes into messages and comes from the file.
            shown = _shown(name, MOST_NAME)
            try:
                datasets[shown] = _dataset(file, shown, described, tables.get(name))
            except _UnreadableError as reason:
                unreadable[shown] = _shown(str(reason), MOST_REASON)
        attributes = {name: _attribute(value) for name, value in answer["attributes"].items()}
    except _FAULTS as error:
        raise DatasetError(
            f"{path.name}: HDF5 says of it what cannot be ({_shown(str(error), MOST_REASON)}). {WAY_OUT}"
        ) from error
    return Hdf5File(path=path, datasets=datasets, attributes=attributes, unreadable=unreadable)


class _UnreadableError(Exception):
    """Why a member is no array that is read here."""


def _ask_child(file: SameFile) -> tuple[dict[str, Any], NDArray[np.int64]]:
    name = file.path.name
    divider = f"<{secrets.token_hex(16)}>"
    # Isolated, so that nothing is imported from the working directory or by the environment's wish. The file is handed
    # over open: whatever its name leads to by then, the child sees this one.
    command = [*python_command(), "-I", "-S", "-c", _START, json.dumps(_module_paths()), str(_CHILD), divider]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}
    most_bytes = MOST_ANSWER_BYTES + file.size_bytes // 64
    with (
        file.opened() as descriptor,
        subprocess.Popen(
            command, env=environment, stdin=descriptor, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as child,
    ):
        assert child.stdout is not None
        # Its processor time is limited by itself. This is for a child that waits: for a disk that does not answer.
        impatience = Timer(MOST_WAITING_S, child.kill)
        impatience.start()
        try:
            said = _read(child.stdout, most_bytes)
            if said is None:
                child.kill()
            child.wait()
        finally:
            impatience.cancel()
            child.kill()
    if said is None:
        raise DatasetError(
            f"{name}: its structure takes more than {most_bytes} bytes to tell, too much for a file of "
            f"{file.size_bytes}. {WAY_OUT}"
        )
    before, started, answer = said.partition(divider.encode())
    if not started:
        raise DatasetError(
            f"{name}: h5py, which looks into HDF5 files, does not run here ({_last_line(before)}). "
            f"Install it again: pip install --force-reinstall h5py"
        )
    end = 8 + int.from_bytes(answer[:8], "little")
    if child.returncode != 0 or len(answer) < max(end, 8):
        why = signal.strsignal(-child.returncode) if child.returncode < 0 else "it ended early"
        raise DatasetError(f"{name}: the HDF5 library broke down on it ({why}). {WAY_OUT}")
    try:
        told = json.loads(answer[8:end], parse_int=_bounded_int)
        if "error" in told:
            raise DatasetError(f"{name}: HDF5 cannot read it: {_shown(str(told['error']), MOST_REASON)}. {WAY_OUT}")
        return told, np.frombuffer(answer, dtype="<i8", offset=end)
    except (*_FAULTS, RecursionError) as error:
        raise DatasetError(
            f"{name}: HDF5 says of it what cannot be ({_shown(str(error), MOST_REASON)}). {WAY_OUT}"
        ) from error


def _read(stream: IO[bytes], most_bytes: int) -> bytes | None:
    """Read to the end; None where that is further than ``most_bytes``."""
    pieces, read_bytes = [], 0
    while piece := stream.read(min(1 << 16, most_bytes + 1 - read_bytes)):
        pieces.append(piece)
        read_bytes += len(piece)
        if read_bytes > most_bytes:
            return None
    return b"".join(pieces)


def _module_paths() -> list[str]:
    """Where this process finds its modules; the working directory last, for it may hold files of any name."""
    paths = [path for path in sys.path if isinstance(path, str)]
    here = [path for path in paths if _is_here(path)]
    return [path for path in paths if path not in here] + here


def _is_here(path: str) -> bool:
    try:
        return Path(path).samefile(os.curdir)
    except OSError:
        return False


def _bounded_int(digits: str) -> int:
    # HDF5's largest has 20; int() of thousands takes time that grows as their square.
    if len(digits) > 20:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _shown(text: str, most: int) -> str:
    """Make text of the file fit for a message: it may be long, and may steer the terminal."""
    return (text if text.isprintable() else ascii(text)[1:-1])[:most]


def _last_line(said: bytes) -> str:
    lines = said[-10_000:].decode(errors="replace").strip().splitlines()
    return _shown(lines[-1], MOST_REASON) if lines else "it said nothing"


def _tables(answer: dict[str, Any], numbers: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Deal out the chunk tables, which come in the order of the datasets."""
    tables, start = {}, 0
    for name, described in answer["datasets"].items():
        if "table" in described:
            rows, columns = described["table"]
            tables[name] = numbers[start : start + rows * columns].reshape(rows, columns)
            start += rows * columns
    return tables


def _dataset(file: SameFile, name: str, described: dict[str, Any], table: NDArray[np.int64] | None) -> Hdf5Dataset:
    """Hold what was said of a dataset against the file's size, before anything of a claimed size is allocated."""
    if "unreadable" in described:
        raise _UnreadableError(described["unreadable"])
    shape = tuple(int(size) for size in described["shape"])
    dtype = _dtype(described["descr"])
    make = partial(Hdf5Dataset, file=file, name=name, shape=shape, dtype=dtype)
    place, filters = f"{file.path.name}: {name}", tuple(described["filters"])
    nothing = np.empty(0, dtype=np.int64)
    if table is None:
        compact = bytes.fromhex(described["compact"])
        if len(compact) != math.prod(shape) * dtype.itemsize:
            raise DatasetError(f"{place}: {shape} does not fit its {len(compact)} bytes. {WAY_OUT}")
        return make(chunk=shape, filters=(), offset=nothing, size_bytes=nothing, skipped=nothing, compact=compact)
    if set(filters) - {DEFLATE, SHUFFLE}:
        raise _UnreadableError(
            f"it is compressed with filters {filters}, of which deflate (1) and shuffle (2) are read; "
            f"write it anew with gzip, as h5py does: create_dataset(name, data=, compression='gzip')"
        )
    chunk = tuple(int(size) for size in described["chunk"])
    if 0 in shape:
        return make(chunk=shape, filters=(), offset=nothing, size_bytes=nothing, skipped=nothing)
    if len(chunk) != len(shape) or min(chunk) < 1 or table.shape[1] != len(shape) + 3:
        raise DatasetError(f"{place}: chunks of {chunk} in an array of {shape}. {WAY_OUT}")
    counts = grid_of(shape, chunk)
    if len(table) != math.prod(counts):
        raise DatasetError(
            f"{place}: it claims {shape} {dtype}, {math.prod(counts)} chunks of {chunk}, and {len(table)} are "
            f"stored: it is incomplete or damaged. {WAY_OUT}"
        )
    table = table[np.lexsort(table[:, len(shape) - 1 :: -1].T)]
    expected = np.stack(np.unravel_index(np.arange(len(table)), counts), axis=1) * np.array(chunk)
    offset, size_bytes, skipped = (np.ascontiguousarray(table[:, column]) for column in (-3, -2, -1))
    if not np.array_equal(table[:, : len(shape)], expected):
        raise DatasetError(f"{place}: its chunks do not fill it. {WAY_OUT}")
    # Also each by itself, for a sum of int64 can go round.
    within = (offset >= 0) & (size_bytes > 0) & (size_bytes <= file.size_bytes) & (offset <= file.size_bytes)
    if not within.all() or (offset + size_bytes).max() > file.size_bytes or size_bytes.sum() > file.size_bytes:
        raise DatasetError(f"{place}: it lies past the file's {file.size_bytes} bytes. {WAY_OUT}")
    by_place = np.argsort(offset, kind="stable")
    if (offset[by_place][1:] < (offset + size_bytes)[by_place][:-1]).any():
        raise DatasetError(f"{place}: its chunks share bytes of the file. {WAY_OUT}")
    chunk_bytes = math.prod(chunk) * dtype.itemsize
    least = chunk_bytes // MOST_DEFLATED_RATIO if DEFLATE in filters else chunk_bytes
    # What cannot be made smaller grows a little.
    most = chunk_bytes + chunk_bytes // 16 + 1024 if DEFLATE in filters else chunk_bytes
    misfit = (size_bytes < least) | (size_bytes > most)
    if misfit.any():
        number = int(np.flatnonzero(misfit)[0])
        raise DatasetError(
            f"{place}: {shape} {dtype} in chunks of {chunk_bytes} bytes, and chunk {number} has "
            f"{size_bytes[number]}: it is incomplete or damaged. {WAY_OUT}"
        )
    made = make(chunk=chunk, filters=filters, offset=offset, size_bytes=size_bytes, skipped=skipped)
    if chunk_bytes > MOST_CHUNK_BYTES and not made.in_place:
        raise _UnreadableError(
            f"its chunks of {chunk} take {chunk_bytes} bytes each, expected at most {MOST_CHUNK_BYTES}; write it with "
            f"smaller ones"
        )
    return made


def _dtype(descr: Any) -> np.dtype[Any]:
    """The type of plain numbers, of text of a fixed length, or MATLAB's complex."""
    if isinstance(descr, str) and _PLAIN_TYPE.fullmatch(descr):
        # HDF5's truth values are bytes that may be anything; numpy's must be 0 or 1.
        return np.dtype("|u1" if descr == "|b1" else descr)
    match descr:
        case [["real", ("<f4" | "<f8" | ">f4" | ">f8") as real], ["imag", imag]] if real == imag:
            return np.dtype([("real", real), ("imag", real)])
    raise _UnreadableError(f"it holds {str(descr)[:60]}, no plain numbers")


def _attribute(value: dict[str, Any]) -> Any:
    return _encoded(value["text"]) if "text" in value else value["value"]


def _encoded(text: Any) -> Any:
    return [_encoded(item) for item in text] if isinstance(text, list) else text.encode("latin1")
