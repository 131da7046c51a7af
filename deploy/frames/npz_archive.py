"""The arrays inside an ``.npz``: what each claims to be is compared with what is there before anything of it is read."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import DatasetError
from deploy.frames.same_file import SameFile, same_file

WAY_OUT = "Write it with np.savez(path, iq=iq, label=label, snr_db=snr_db, classes=np.array(names))"
# Of the list of what the zip holds, and of what is read at once: 20,000 arrays, where a set has six.
_MOST_READ_BYTES = 1 << 20
# numpy's own reader refuses headers beyond 10,000 characters.
_MOST_HEADER_BYTES = 16 << 10
# Their decompressors cannot be told how much to give at most; numpy writes neither.
_METHODS = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}
_ENCRYPTED = 0x1
_SIZES_FOLLOW = 0x8
_ZIP64 = 0xFFFFFFFF
# What zipfile raises for a damaged file depends on where the damage is.
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    IndexError,
    MemoryError,
)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One array: ``shape`` and ``dtype`` as its header says, ``offset`` the place of its first number in the file.

    ``offset`` is None where the array is compressed. ``size_bytes`` is what its numbers take, ``packed_bytes`` what they
    take in the file; ``fortran`` is true where the first axis runs fastest.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int | None
    size_bytes: int
    packed_bytes: int
    entry: zipfile.ZipInfo


class _BoundedReader(io.BufferedReader):
    """Refuses to be read in large pieces: zipfile reads a directory whole, whatever size the file claims for it."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > _MOST_READ_BYTES:
            # One byte more than the most tells a long rest from a short one.
            content = super().read(_MOST_READ_BYTES + 1)
            if len(content) > _MOST_READ_BYTES:
                raise zipfile.BadZipFile(f"its list of members is longer than {_MOST_READ_BYTES} bytes")
            return content
        return super().read(size)

    def seek(self, target: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET and target < 0:
            raise zipfile.BadZipFile("it points to a place before its start")
        return super().seek(target, whence)


class Archive:
    """An ``.npz`` that is open; :func:`open_archive` makes one."""

    def __init__(self, file: SameFile, stream: _BoundedReader, source: str) -> None:
        self.file = file
        self.source = source
        self._stream = stream
        with self._faults():
            if not zipfile.is_zipfile(stream):
                raise DatasetError(f"{source}: is no .npz, or only the start of one. Fetch it again. {WAY_OUT}")
            self._zip = zipfile.ZipFile(stream)

    def members(self, names: Sequence[str]) -> dict[str, Member]:
        """Look at the headers of those of ``names`` that the file holds; what else it holds is let be."""
        entries: dict[str, zipfile.ZipInfo] = {}
        with self._faults():
            for entry in self._zip.infolist():
                name = entry.filename.removesuffix(".npy")
                if name in names and name != entry.filename:
                    if name in entries:
                        raise DatasetError(f"{self.source}: {name} is there twice; expected once. {WAY_OUT}")
                    entries[name] = entry
            spans = {name: self._span(name, entry) for name, entry in entries.items()}
        by_place = sorted(spans, key=lambda name: spans[name])
        for before, after in pairwise(by_place):
            if spans[before][1] > entries[after].header_offset:
                raise DatasetError(f"{self.source}: {before} and {after} share bytes of the file; it is damaged")
        return {name: self._member(name, entry, spans[name][0]) for name, entry in entries.items()}

    def names(self) -> str:
        """Say what the file holds, for messages."""
        entries = self._zip.infolist()
        shown = ", ".join(printable(entry.filename.removesuffix(".npy"), 40) for entry in entries[:8])
        return (shown or "nothing") + (f" and {len(entries) - 8} more" if len(entries) > 8 else "")

    def pieces(self, member: Member, piece_bytes: int) -> Iterator[bytes]:
        """Read the numbers of ``member`` in pieces of ``piece_bytes``, to the end, where the checksum is compared."""
        left = member.size_bytes
        with self._faults(member.name), self._zip.open(member.entry) as numbers:
            _read(numbers, member.entry.file_size - left)
            while left:
                piece = _read(numbers, min(piece_bytes, left))
                left -= len(piece)
                yield piece

    def read(self, member: Member) -> NDArray[Any]:
        """Read a small array whole, in the order that it has in the file."""
        with self._faults(member.name):
            content = np.empty(member.size_bytes, dtype=np.uint8)
        start = 0
        for piece in self.pieces(member, _MOST_READ_BYTES):
            content[start : start + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
            start += len(piece)
        array: NDArray[Any] = np.frombuffer(content, dtype=member.dtype)
        return array.reshape(member.shape, order="F" if member.fortran else "C")

    def _span(self, name: str, entry: zipfile.ZipInfo) -> tuple[int, int]:
        """Find where the content of a member starts and ends, and compare the two headers that the zip has of it."""
        if entry.flag_bits & _ENCRYPTED:
            raise DatasetError(f"{self.source}: {name} is encrypted; expected plain arrays. {WAY_OUT}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            method = _METHODS.get(entry.compress_type, f"method {entry.compress_type}")
            raise DatasetError(f"{self.source}: {name} is compressed by {method}; expected deflate or none. {WAY_OUT}")
        self._stream.seek(entry.header_offset)
        signature, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = struct.unpack(
            "<4s5H3I2H", self._stream.read(30)
        )
        extra = self._stream.read(name_bytes + extra_bytes)[name_bytes:]
        if size == _ZIP64 or packed == _ZIP64:
            size, packed = _zip64_sizes(extra, size, packed)
        start = entry.header_offset + 30 + name_bytes + extra_bytes
        expected = (entry.CRC, entry.compress_size, entry.file_size)
        agrees = (crc, packed, size) == expected or (flags & _SIZES_FOLLOW and (crc, packed, size) == (0, 0, 0))
        if signature != b"PK\x03\x04" or method != entry.compress_type or not agrees:
            raise zipfile.BadZipFile(f"{name} is described in two ways")
        stop = start + entry.compress_size
        if stop > self._zip.start_dir:
            raise zipfile.BadZipFile(f"{name} claims {entry.compress_size} bytes, which the file does not have")
        if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
            raise zipfile.BadZipFile(f"{name} is not compressed, and has two sizes")
        return start, stop

    def _member(self, name: str, entry: zipfile.ZipInfo, start: int) -> Member:
        with self._faults(name), self._zip.open(entry) as stream:
            header = io.BytesIO(_read(stream, min(_MOST_HEADER_BYTES, entry.file_size)))
        shape, fortran, dtype = self._header(name, header)
        header_bytes = header.tell()
        size_bytes = math.prod(shape) * dtype.itemsize
        if header_bytes + size_bytes != entry.file_size or any(axis < 0 for axis in shape):
            raise DatasetError(
                f"{self.source}: {name} claims {dtype} numbers of shape {shape}, {size_bytes} bytes; "
                f"{entry.file_size - header_bytes} are there. The file is damaged. {WAY_OUT}"
            )
        stored = entry.compress_type == zipfile.ZIP_STORED
        return Member(
            name=name,
            shape=shape,
            dtype=dtype,
            fortran=fortran,
            offset=start + header_bytes if stored else None,
            size_bytes=size_bytes,
            packed_bytes=entry.compress_size,
            entry=entry,
        )

    def _header(self, name: str, header: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            # What Python's parser warns of in a damaged header, and numpy in one of Python 2, is nobody's business.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                version = np.lib.format.read_magic(header)
                if version == (1, 0):
                    shape, fortran, dtype = np.lib.format.read_array_header_1_0(header)
                elif version in ((2, 0), (3, 0)):
                    # Version 3 differs only in the names of structured arrays, which are not read here.
                    shape, fortran, dtype = np.lib.format.read_array_header_2_0(header)
                else:
                    raise ValueError(f"version {version}")
        # A damaged header is parsed as Python's text: what is raised depends on where the damage is.
        except Exception as error:
            raise DatasetError(f"{self.source}: {name} has no header of numpy's ({_say(error)}). {WAY_OUT}") from error
        if dtype.hasobject:
            raise DatasetError(
                f"{self.source}: {name} holds Python objects, which may run code when opened; expected plain numbers "
                f"and text. {WAY_OUT}"
            )
        return shape, fortran, dtype

    @contextmanager
    def _faults(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            place = f"{name} cannot be read" if name else "cannot be read as .npz"
            raise DatasetError(
                f"{self.source}: {place}: {_say(error)}. The file is damaged or cut off: fetch or write it again"
            ) from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an ``.npz``; DatasetError where it is none, or is damaged."""
    file = same_file(path)
    with file.opened() as descriptor, _BoundedReader(io.FileIO(descriptor, closefd=False)) as stream:
        yield Archive(file, stream, path.name)


def _read(stream: Any, size: int) -> bytes:
    """Read ``size`` bytes of a member, in pieces: it may end before, and must not be trusted with its own size."""
    pieces = []
    while size:
        piece = stream.read(min(size, _MOST_READ_BYTES))
        if not piece:
            raise EOFError("it ends before its size")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _zip64_sizes(extra: bytes, size: int, packed: int) -> tuple[int, int]:
    """Find the sizes beyond 4 GiB, which stand behind the header; numpy always puts them there."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1:
            values = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
            return (
                next(values, size) if size == _ZIP64 else size,
                next(values, packed) if packed == _ZIP64 else packed,
            )
        extra = extra[4 + length :]
    return size, packed


def printable(text: str, most: int) -> str:
    """Make text of a file fit for a message: it may be long, and may steer the terminal."""
    return (text if text.isprintable() else ascii(text)[1:-1])[:most]


def _say(error: BaseException) -> str:
    return printable(str(error) or type(error).__name__, 200)
