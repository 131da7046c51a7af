"""An array in an HDF5 file, read as the bytes that it is stored in, without the HDF5 library.

Contiguous, compact and chunked arrays, plain or with HDF5's own compression (deflate, shuffle).
Source: HDF5 File Format Specification, version 3.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import DatasetError
from deploy.frames.same_file import SameFile, read_into

# HDF5's numbers of its filters.
DEFLATE, SHUFFLE = 1, 2
WAY_OUT = "The file is damaged or cut off: fetch or copy it again and compare its size"
# Recorded frames hardly compress. Deflate reaches 1000 to 1, with which a small file would fill the memory.
MOST_RATIO = 100
FREE_OF_RATIO_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5Dataset:
    """An array of the file: its shape, its type, and where its numbers lie.

    ``dtype`` is plain numbers, text of a fixed length, or MATLAB's complex: fields ``real`` and ``imag``. The storage
    is a grid of chunks of ``chunk`` (a contiguous array is one chunk): ``offset``, ``size_bytes`` and ``skipped`` (the
    filters left out, as bits) are int64, one each in the grid's order, the last axis fastest.
    """

    file: SameFile
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    filters: tuple[int, ...]
    offset: NDArray[np.int64] = field(repr=False)
    size_bytes: NDArray[np.int64] = field(repr=False)
    skipped: NDArray[np.int64] = field(repr=False)
    compact: bytes | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """What the array takes in memory: no more than the file holds, or a thousand times that where it is deflated."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def stored_bytes(self) -> int:
        """What the array takes in the file."""
        return len(self.compact) if self.compact is not None else int(self.size_bytes.sum())

    @property
    def rows_per_chunk(self) -> int:
        """How many neighbours on axis 0 are stored together."""
        return self.chunk[0]

    @property
    def in_place(self) -> bool:
        """Whether rows stand in the file as they are, so that one can be read without its neighbours."""
        return not self.filters and self.chunk[1:] == self.shape[1:]

    def read_all(self) -> NDArray[Any]:
        """Read the whole array."""
        return self.read(0, self.shape[0])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the rows ``start`` to ``stop`` - 1 of axis 0, in the file's own type.

        Raises :class:`DatasetError` where they cannot be read or decompressed.
        """
        if not 0 <= start <= stop <= self.shape[0]:
            raise IndexError(f"rows {start} to {stop} of {self.name}, which has {self.shape[0]}")
        if self.compact is not None:
            return np.frombuffer(self.compact, self.dtype).reshape(self.shape)[start:stop]
        rows = np.empty((stop - start, *self.shape[1:]), dtype=self.dtype)
        if start < stop and rows.size:
            with self.file.opened() as descriptor:
                if self.in_place:
                    self._read_in_place(descriptor, start, rows)
                else:
                    self._read_chunks(descriptor, start, rows)
        return rows

    def _read_in_place(self, descriptor: int, start: int, rows: NDArray[Any]) -> None:
        buffer, row_bytes = _bytes_of(rows), rows[:1].nbytes
        done = 0
        while done < len(rows):
            number, within = divmod(start + done, self.rows_per_chunk)
            count = min(self.rows_per_chunk - within, len(rows) - done)
            here = buffer[done * row_bytes : (done + count) * row_bytes]
            read_into(descriptor, here, int(self.offset[number]) + within * row_bytes, self._place)
            done += count

    def _read_chunks(self, descriptor: int, start: int, rows: NDArray[Any]) -> None:
        stop = start + len(rows)
        grid = [range(start // self.chunk[0], -(-stop // self.chunk[0]))]
        grid += [range(-(-size // step)) for size, step in zip(self.shape[1:], self.chunk[1:], strict=True)]
        counts = grid_of(self.shape, self.chunk)
        for place in product(*grid):
            number = int(np.ravel_multi_index(place, counts))
            content = self._content(descriptor, number)
            lows = [at * step for at, step in zip(place, self.chunk, strict=True)]
            first = max(start, lows[0])
            last = min(stop, lows[0] + self.chunk[0])
            to = [slice(first - start, last - start)]
            to += [slice(low, low + step) for low, step in zip(lows[1:], self.chunk[1:], strict=True)]
            part = rows[tuple(to)]
            # A chunk at the edge is stored whole; what is past the edge is left out.
            kept = [slice(first - lows[0], last - lows[0]), *(slice(0, size) for size in part.shape[1:])]
            part[...] = content[tuple(kept)]

    def _content(self, descriptor: int, number: int) -> NDArray[Any]:
        """Read one chunk and undo its filters, the last one first."""
        stored = bytearray(int(self.size_bytes[number]))
        read_into(descriptor, memoryview(stored), int(self.offset[number]), self._place)
        content: bytes | bytearray = stored
        expected_bytes = math.prod(self.chunk) * self.dtype.itemsize
        for position in reversed(range(len(self.filters))):
            if int(self.skipped[number]) >> position & 1:
                continue
            if self.filters[position] == DEFLATE:
                content = self._inflated(content, expected_bytes, number)
            elif len(content) == expected_bytes:
                # The first bytes of all numbers, then all second ones, ...
                planes = np.frombuffer(content, np.uint8).reshape(self.dtype.itemsize, -1)
                content = planes.T.tobytes()
        if len(content) != expected_bytes:
            raise self._damaged(f"chunk {number} has {len(content)} bytes, expected {expected_bytes}")
        return np.frombuffer(content, self.dtype).reshape(self.chunk)

    def _inflated(self, content: bytes | bytearray, expected_bytes: int, number: int) -> bytes:
        inflating = zlib.decompressobj()
        try:
            inflated = inflating.decompress(content, expected_bytes + 1)
        except zlib.error as error:
            raise self._damaged(f"chunk {number} cannot be decompressed ({error})") from error
        if not inflating.eof:  # too long, or cut off before its checksum
            raise self._damaged(f"chunk {number} does not become the {expected_bytes} bytes that it should")
        return inflated

    @property
    def _place(self) -> str:
        return f"{self.file.path.name}: {self.name}"

    def _damaged(self, found: str) -> DatasetError:
        return DatasetError(f"{self._place}: {found}. {WAY_OUT}")


def check_ratio(place: str, claimed_bytes: int, stored_bytes: int, way_out: str) -> None:
    """Refuse what claims more than 64 MiB and a hundred times what it takes in the file, before any of it is read.

    ``place`` opens the message: "set.npz: iq". Raises :class:`DatasetError` with ``way_out`` as its end.
    """
    if claimed_bytes > max(FREE_OF_RATIO_BYTES, MOST_RATIO * stored_bytes):
        raise DatasetError(
            f"{place} claims {claimed_bytes} bytes out of {stored_bytes} in the file; expected at most {MOST_RATIO} times "
            f"as many, for signals hardly compress. {way_out}"
        )


def grid_of(shape: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[int, ...]:
    """Count the chunks along each axis."""
    return tuple(-(-size // step) for size, step in zip(shape, chunk, strict=True))


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)
