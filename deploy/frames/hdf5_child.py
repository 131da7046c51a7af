"""The child process that looks into an HDF5 file; :mod:`deploy.frames.hdf5` starts it and says why.

Run as a file, with the HDF5 file as its stdin and what divides its answer from what was printed before as its argument.
The answer on stdout: that divider, eight bytes with the length of a JSON object, the object, and the chunk tables that the
object announces, int64, one after the other. It reads no frames, and imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

# An honest set of frames has a handful of members; MATLAB adds two groups of its own.
MOST_MEMBERS = 1000
DEEPEST_GROUP = 3
# HDF5's own limit for an attribute that is kept with the header.
MOST_ATTRIBUTE_BYTES = 64 << 10
MOST_ATTRIBUTES = 200
# Of the answer without its tables. The files that are read here need some kilobytes.
MOST_TEXT_BYTES = 16 << 20
# Compact datasets lie inside a header, which HDF5 holds to 64 KiB.
MOST_COMPACT_BYTES = 64 << 10
# Beside what Python and its libraries take: HDF5's caches, and the table of the chunks.
MEMORY_BYTES = 256 << 20
MEMORY_SHARE_OF_FILE = 1 / 64
CPU_S = 10
CPU_S_A_GIB = 3


def main() -> None:
    """Answer for the file that stdin is."""
    with os.fdopen(os.dup(1), "wb") as out:
        out.write(sys.argv[1].encode())
        out.flush()
        # What the libraries print from here on is no answer.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        _limit(os.fstat(0).st_size)
        tables: list[NDArray[np.int64]] = []
        try:
            text = json.dumps(_look_into(Path("/proc/self/fd/0"), tables)).encode()
            if len(text) > MOST_TEXT_BYTES:
                raise ValueError(f"its attributes and small arrays take more than {MOST_TEXT_BYTES} bytes")
        # What h5py raises for a damaged file depends on where the damage is.
        except Exception as error:
            text, tables = json.dumps({"error": str(error) or type(error).__name__}).encode(), []
        out.write(len(text).to_bytes(8, "little") + text)
        for table in tables:
            out.write(np.ascontiguousarray(table, dtype="<i8").data)
    # Not by way of HDF5's closing: with a damaged file that is where it crashes.
    os._exit(0)


def _limit(file_bytes: int) -> None:
    """Hold this process to what the file's size justifies: memory, and processor time, which a slow disk does not use."""
    mapped_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory_bytes = mapped_bytes + MEMORY_BYTES + int(file_bytes * MEMORY_SHARE_OF_FILE)
    cpu_s = CPU_S + CPU_S_A_GIB * (file_bytes >> 30)
    for limit, value in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # The hard limit too: the signal of the soft one may be ignored, as it was by whoever started us.
        resource.setrlimit(limit, (value, value))


def _look_into(path: Path, tables: list[NDArray[np.int64]]) -> dict[str, Any]:
    with h5py.File(path, "r") as file, path.open("rb") as raw:
        datasets: dict[str, dict[str, Any]] = {}
        for name, found in _datasets(file):
            if len(datasets) == MOST_MEMBERS:
                raise ValueError(f"more than {MOST_MEMBERS} members")
            try:
                if isinstance(found, Exception):
                    raise found
                datasets[name] = _describe(found, raw.fileno(), file.userblock_size, tables)
            except Exception as error:  # of this member alone, which may not be needed
                datasets[name] = {"shape": [], "unreadable": f"HDF5 cannot read it: {str(error)[:200]}"}
        return {"attributes": _attributes(file), "datasets": datasets}


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset | Exception]]:
    """Give all datasets with their paths, each object once: a group may hold itself, and one array a thousand names.

    For a member that cannot be opened, give why.
    """
    seen = {h5py.h5o.get_info(file.id).addr}
    level: list[tuple[str, h5py.Group]] = [("", file)]
    # Level by level, so that what is found once is found at its shortest path.
    for _ in range(DEEPEST_GROUP):
        below = []
        for prefix, group in level:
            for number, name in enumerate(group):
                if number > MOST_MEMBERS:
                    raise ValueError(f"more than {MOST_MEMBERS} members")
                # h5py gives bytes where they are no UTF-8.
                path = prefix + (name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name)
                # MATLAB's own groups.
                if path.startswith("#"):
                    continue
                try:
                    # A link to another file would read what the user did not name.
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        continue
                    member = group[name]
                    place = h5py.h5o.get_info(member.id).addr
                except Exception as error:
                    yield path, error
                    continue
                if place not in seen and isinstance(member, h5py.Dataset):
                    yield path, member
                elif place not in seen and isinstance(member, h5py.Group):
                    below.append((path + "/", member))
                seen.add(place)
        level = below


def _describe(dataset: h5py.Dataset, raw: int, userblock_bytes: int, tables: list[NDArray[np.int64]]) -> dict[str, Any]:
    """Say shape, type and place of ``dataset``; ``unreadable`` says why it can be no frames, labels or SNRs."""
    # First of all: to find the shape of a virtual array, HDF5 may open the files that it names, a pipe among them.
    if dataset.is_virtual or dataset.external:
        return {"shape": [], "unreadable": "its numbers lie in another file"}
    described: dict[str, Any] = {"shape": list(dataset.shape or ()), "descr": None}
    if dataset.shape is None or len(dataset.shape) == 0:
        return {**described, "unreadable": "it is no array"}
    stored, kind = dataset.id.get_type(), dataset.dtype
    if kind.hasobject or (not isinstance(stored, h5py.h5t.TypeEnumID) and h5py.h5t.py_create(kind) != stored):
        return {**described, "unreadable": f"it holds {str(kind)[:60]}, no plain numbers"}
    described["descr"] = np.lib.format.dtype_to_descr(kind)
    creation = dataset.id.get_create_plist()
    described["filters"] = [int(creation.get_filter(number)[0]) for number in range(creation.get_nfilters())]
    if creation.get_layout() == h5py.h5d.COMPACT:
        if dataset.nbytes > MOST_COMPACT_BYTES:
            raise ValueError(f"{dataset.name} is compact and claims {dataset.nbytes} bytes")
        return {**described, "compact": np.asarray(dataset[()]).tobytes().hex()}
    if creation.get_layout() == h5py.h5d.CONTIGUOUS:
        table = _contiguous(dataset)
        described["chunk"] = described["shape"]
    else:
        table = _chunks(dataset)
        described["chunk"] = list(dataset.chunks)
    # Whether addresses count from the file's start or from the end of a user's block differs between HDF5's versions.
    if userblock_bytes and len(table) and dataset.size and not _is_at(dataset, table[0], raw):
        table[:, -3] += userblock_bytes
    tables.append(table)
    return {**described, "table": list(table.shape)}


def _contiguous(dataset: h5py.Dataset) -> NDArray[np.int64]:
    offset, axes = dataset.id.get_offset(), len(dataset.shape)
    if offset is None:
        return np.empty((0, axes + 3), dtype=np.int64)
    return np.array([[*[0] * axes, offset, dataset.id.get_storage_size(), 0]], dtype=np.int64)


def _chunks(dataset: h5py.Dataset) -> NDArray[np.int64]:
    """One row a chunk: where it stands in the array, its byte in the file, its size there, the filters it skips."""
    numbers = array("q")  # a list of tuples would take twenty times as much

    def note(chunk: Any) -> None:
        numbers.extend((*chunk.chunk_offset, chunk.byte_offset, chunk.size, chunk.filter_mask))

    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(note)
    else:  # h5py built on an HDF5 before 1.12.3
        for number in range(dataset.id.get_num_chunks()):
            note(dataset.id.get_chunk_info(number))
    return np.array(numbers, dtype=np.int64).reshape(-1, len(dataset.shape) + 3)


def _is_at(dataset: h5py.Dataset, row: NDArray[np.int64], raw: int) -> bool:
    offset, size = int(row[-3]), int(min(row[-2], 4096))
    if dataset.chunks:
        expected = dataset.id.read_direct_chunk(tuple(map(int, row[:-3])))[1][:size]
    else:
        items = max(1, size // dataset.dtype.itemsize)
        last = min(items, dataset.shape[-1])
        beginning = [*[0] * (len(dataset.shape) - 1), slice(0, last)]
        expected = np.asarray(dataset[tuple(beginning)]).tobytes()
    return bool(os.pread(raw, len(expected), offset) == expected)


def _attributes(file: h5py.File) -> dict[str, Any]:
    """The root's attributes that are numbers or text of a fixed length, text as Latin-1 of its bytes.

    HDF5's text of variable length sends its library round in circles where a file is damaged: it is left out.
    """
    found: dict[str, Any] = {}
    for number, name in enumerate(file.attrs):
        if number == MOST_ATTRIBUTES:
            break
        # One that cannot be read, or holds nothing, may not be needed.
        with suppress(Exception):
            claim = file.attrs.get_id(name)
            if claim.dtype.kind in "Sifu" and claim.get_storage_size() <= MOST_ATTRIBUTE_BYTES:
                value = np.asarray(file.attrs[name])
                found[name] = (
                    {"text": _latin1(value.tolist())} if value.dtype.kind == "S" else {"value": value.tolist()}
                )
    return found


def _latin1(value: Any) -> Any:
    return [_latin1(item) for item in value] if isinstance(value, list) else value.decode("latin1")


if __name__ == "__main__":
    main()
