"""A CSV of complex numbers, one frame a line: gigabytes of text, read where they are asked for.

A cell is written as MATLAB and the published HisarMod2019.1 have it, ``-0.0123+0.456i``; Python's ``(1+2j)`` is read
too. One pass over the file finds where its lines start; a line is parsed when its frame is read.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.frames.gathering import gather
from deploy.frames.same_file import SameFile, read_into, same_file
from deploy.progress import Progress, silent
from toolchain.errors import DatasetError

# 1024 cells of two numbers with 17 digits each take 50 KiB.
MOST_LINE_BYTES = 8 << 20
# Two numbers of 17 digits, signs and exponents take 50. Longer digits would take the conversion quadratic time.
MOST_CELL_BYTES = 128
_MOST_EMPTY_LINES = 100
_SCAN_BYTES = 4 << 20
# Text that is parsed at once: its intermediate arrays stay in the processor's cache.
_PARSE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"

_NUMBER = rb"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_PLAIN_CELL = re.compile(rb"[+-]?" + _NUMBER + rb"[+-]" + _NUMBER + rb"[ij]")
# Also Python's "(1+2j)" and "2j", numpy's older "1+-2j", and blanks.
_CELL = re.compile(
    rb"\s*\(?\s*(?:([+-]?" + _NUMBER + rb")(?=\s*[+-]))?\s*(?:\+(?=-))?([+-]?\s*" + _NUMBER + rb")[ij]\s*\)?\s*"
)
_EXPECTED = "expected a complex number such as -0.5+0.25i in every cell"
_ONLY_BLANKS = bytes.maketrans(b"i,\n", b"   ")


def looks_like_hisarmod(start: bytes) -> bool:
    """Say whether the first bytes of a file (4 KiB) are those of a CSV of complex numbers: strict and cheap.

    Every whole cell of the first line must be a real and an imaginary part, and there must be two or more.
    """
    line, newline, _ = start[:4096].removeprefix(_BOM).partition(b"\n")
    cells = line.rstrip(b"\r").split(b",")
    whole = cells if newline else cells[:-1]
    return len(whole) >= 2 and all(_PLAIN_CELL.fullmatch(cell.strip(b" ()")) for cell in whole)


@dataclass(frozen=True, kw_only=True, eq=False)
class ComplexRows:
    """Where the lines of a CSV of complex numbers are.

    ``starts`` is int64 (N + 1,): the byte at which each line starts, and the end of the last; ``length`` the number of
    cells in each line.
    """

    file: SameFile
    starts: NDArray[np.int64] = field(repr=False)
    length: int

    def read(self, indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Fill ``out`` (n, 2, length) with the frames in the lines at ``indices`` (n,), counted from 0.

        Raises :class:`DatasetError` for the first cell that cannot be read, by line and column.
        """
        # Parsing a line that was not asked for takes longer than starting another reading.
        gather(indices, out, self._run, frame_bytes=self.line_bytes, gap_frames=1)

    @property
    def line_bytes(self) -> int:
        """What a line takes in the file, on average."""
        return max(1, int(self.starts[-1] - self.starts[0]) // (len(self.starts) - 1))

    def _run(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read the lines ``start`` to ``stop`` - 1: (stop - start, 2, length)."""
        rows = np.empty((stop - start, 2, self.length), dtype=np.float32)
        step = max(1, _PARSE_BYTES // self.line_bytes)
        with self.file.opened() as descriptor:
            for first in range(start, stop, step):
                last = min(first + step, stop)
                text = bytearray(int(self.starts[last] - self.starts[first]))
                read_into(descriptor, memoryview(text), int(self.starts[first]), self.file.path.name)
                values = self._parse(bytes(text), first, last - first)
                rows[first - start : last - start] = values.transpose(0, 2, 1)
        return rows

    def _parse(self, text: bytes, first: int, count: int) -> NDArray[np.float32]:
        """Give the numbers in ``count`` lines of text: (count, length, 2)."""
        if not text.endswith(b"\n"):  # the file's last line may end with the file
            text += b"\n"
        values = _parse_plain(text, count, self.length)
        if values is None:
            lines = text.split(b"\n")[:-1]
            cells = [self._parse_line(line, first + row + 1) for row, line in enumerate(lines)]
            values = np.array(cells, dtype=np.float32)
        return values

    def _parse_line(self, line: bytes, number: int) -> list[tuple[float, float]]:
        """Parse one line, cell by cell: slower, admits more, and knows what is wrong where."""
        place = f"{self.file.path.name}: line {number}"
        cells = line.rstrip(b"\r").split(b",")
        if len(cells) != self.length:
            raise DatasetError(_other_length(place, len(cells), self.length))
        values = []
        for column, cell in enumerate(cells, start=1):
            found = _CELL.fullmatch(cell) if len(cell) <= MOST_CELL_BYTES else None
            if found is None:
                shown = ascii(cell[:40].decode("utf-8", errors="replace")) if cell.strip() else "nothing"
                raise DatasetError(f"{place}, column {column} holds {shown}; {_EXPECTED}. {_way_out(number, line)}")
            real, imaginary = (float(b"".join(part.split())) if part else 0.0 for part in found.groups())
            if not max(abs(real), abs(imaginary)) <= float(np.finfo(np.float32).max):
                raise DatasetError(
                    f"{place}, column {column} holds {cell.decode()!a}, more than float32 can be; expected "
                    f"samples of a signal. Mend or leave out that line, its label and its SNR"
                )
            values.append((real, imaginary))
        return values


def _parse_plain(text: bytes, count: int, length: int) -> NDArray[np.float32] | None:
    """Parse ``count`` lines of plain cells: (count, length, 2). None where anything is not as it should be.

    numpy's parser takes numbers between blanks. So what is checked here is that each cell is two numbers with the
    second's sign between them; then "i", "," and the line's end become blanks and one more goes before that sign.
    """
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    text = text.replace(b"j", b"i")
    if b"(" in text:
        text = text.removeprefix(b"(").replace(b",(", b",").replace(b"\n(", b"\n").replace(b"i)", b"i")
    code = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(code == ord("i"))
    if ends.size != count * length or np.diff(ends, prepend=-1).max() > MOST_CELL_BYTES:
        return None
    after = code[ends + 1].reshape(count, length)
    # Each "i" is followed by a comma, the line's last by its end; and there are no other commas, ends and blanks.
    separated = (after[:, :-1] == ord(",")).all() and (after[:, -1] == ord("\n")).all()
    if not separated or np.count_nonzero(code == ord(",")) != count * (length - 1):
        return None
    if np.count_nonzero(code <= ord(" ")) != count:
        return None
    before, at = code[:-1], code[1:]
    between = (at == ord("+")) | (at == ord("-"))
    # uint8: what is below "0" wraps round to above 9.
    between &= (before - np.uint8(ord("0")) < 10) | (before == ord("."))
    signs = np.flatnonzero(between) + 1
    if signs.size != ends.size or (signs > ends).any() or (signs[1:] < ends[:-1]).any():
        return None
    apart = np.full(code.size + signs.size, ord(" "), dtype=np.uint8)
    kept = np.ones(apart.size, dtype=bool)
    kept[signs + np.arange(signs.size)] = False
    apart[kept] = np.frombuffer(text.translate(_ONLY_BLANKS), dtype=np.uint8)
    try:
        # One more number: older versions of numpy stop at what is none and say nothing, and then this one is missing.
        values = np.fromstring(apart.tobytes() + b"0", dtype=np.float32, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    if values.size != 2 * ends.size + 1 or not np.isfinite(values).all():
        return None
    return values[:-1].reshape(count, length, 2)


def open_rows(path: Path, *, count: int, counted_in: str, progress: Progress = silent) -> ComplexRows:
    """Find the lines of a CSV of ``count`` frames, and parse the first and the last of them.

    ``counted_in`` is the file that the number comes from. The memory needed is 8 bytes a line, whatever is in the file.
    Raises :class:`DatasetError` for another number of lines, for lines of different lengths, and for a first or last
    line that cannot be read; other cells are looked at when their frame is read.
    """
    file = same_file(path)
    starts, length = _find_lines(file, count, counted_in, progress)
    rows = ComplexRows(file=file, starts=starts, length=length)
    for row in sorted({0, count - 1}):
        rows._run(row, row + 1)
    return rows


class _Lines:
    """The lines found so far."""

    def __init__(self, source: str, count: int, counted_in: str) -> None:
        self.source, self.count, self.counted_in = source, count, counted_in
        self.starts = np.empty(count + 1, dtype=np.int64)
        self.found = self.cells = self.empty = 0

    def add(self, start: int, stop: int, cells: int) -> None:
        """Take the line in the bytes ``start`` to ``stop`` - 1, its newline among them."""
        if cells == 0:
            self.empty += 1
            if self.empty > _MOST_EMPTY_LINES:
                raise DatasetError(f"{self.source}: it ends in more than {_MOST_EMPTY_LINES} empty lines; {_EXPECTED}")
            return
        number = self.found + 1
        if self.empty:
            raise DatasetError(
                f"{self.source}: line {number} is empty; expected a frame a line. Take the empty lines out"
            )
        if number > self.count:
            raise DatasetError(
                f"{self.source}: it has more lines than the {self.count} labels in {self.counted_in}; expected one "
                f"label a line. Are both files of one set, and is the first line no header?"
            )
        if number == 1:
            self.cells = cells
        elif cells != self.cells:
            raise DatasetError(_other_length(f"{self.source}: line {number}", cells, self.cells))
        self.starts[self.found : number + 1] = start, stop
        self.found = number


def _find_lines(file: SameFile, count: int, counted_in: str, progress: Progress) -> tuple[NDArray[np.int64], int]:
    """Find the bytes at which lines start, (count + 1,), and the number of cells that each has."""
    source = file.path.name
    lines = _Lines(source, count, counted_in)
    buffer = bytearray(min(_SCAN_BYTES, file.size_bytes))
    offset = 0
    # Of the line that the last block ended in: where it starts, and its commas so far.
    start, commas = 0, 0
    with file.opened() as descriptor:
        while offset < file.size_bytes:
            size = min(len(buffer), file.size_bytes - offset)
            read_into(descriptor, memoryview(buffer)[:size], offset, source)
            block = bytes(buffer[:size])
            here = 0
            if offset == 0:
                _refuse_utf16(block, source)
                here = start = len(_BOM) if block.startswith(_BOM) else 0
            while (newline := block.find(b"\n", here)) >= 0:
                commas += block.count(b",", here, newline)
                stop = offset + newline + 1
                # No more than a carriage return; no complex number is as short.
                lines.add(start, stop, 0 if stop - start <= 2 and commas == 0 else commas + 1)
                start, commas, here = stop, 0, newline + 1
            commas += block.count(b",", here)
            offset += size
            if offset - start > MOST_LINE_BYTES:
                raise DatasetError(
                    f"{source}: line {lines.found + 1} is longer than {MOST_LINE_BYTES >> 20} MiB; expected a frame a "
                    f"line. {_way_out(1, b'')}"
                )
            progress(-(-offset >> 20), -(-file.size_bytes >> 20), f"MiB of {source}")
    if start < offset:
        lines.add(start, offset, commas + 1)
    if lines.found != count:
        raise DatasetError(
            f"{source}: it has {lines.found} lines, and {counted_in} has {count} labels; expected one label a line. "
            f"If it was cut off, fetch or copy it again and compare its size"
        )
    return lines.starts, lines.cells


def _refuse_utf16(block: bytes, source: str) -> None:
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DatasetError(
            f"{source}: its text is UTF-16; expected ASCII or UTF-8. Convert it: iconv -f UTF-16 -t UTF-8"
        )


def _other_length(place: str, cells: int, expected: int) -> str:
    return (
        f"{place} has {cells} columns, the lines before it have {expected}; expected one length. If it is the last "
        f"line, the file was cut off: fetch or copy it again"
    )


def _way_out(number: int, line: bytes) -> str:
    if number == 1 and line and b"i" not in line and b"j" not in line:
        return "If the first line is a header, take it out: tail -n +2"
    return "Is it the data file of HisarMod2019.1, whole and unchanged? Fetch or copy it again and compare its size"


def read_numbers(path: Path, what: str) -> list[str]:
    """Read a small CSV with one value a line, or all in one line; the values as text, without quotes and blanks.

    ``what`` is what the file holds, for messages. Raises :class:`DatasetError` where it is no such file.
    """
    # A pipe would be waited for.
    if not path.is_file():
        raise DatasetError(f"{path.name}: not a regular file; expected one {what} a line")
    try:
        # A label takes a few bytes; a million of them fit well.
        if path.stat().st_size > 64 << 20:
            raise DatasetError(
                f"{path.name}: it has {path.stat().st_size >> 20} MiB; expected one {what} a line. Is it the data file?"
            )
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    _refuse_utf16(content, path.name)
    try:
        lines = content.removeprefix(_BOM).decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path.name}: byte {error.start} is no ASCII text; expected one {what} a line") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) == 1:
        lines = lines[0].split(",")
    values = [line.strip().strip('"').strip() for line in lines]
    for number, value in enumerate(values, start=1):
        if not value or "," in value:
            raise DatasetError(f"{path.name}: line {number} is {value[:40]!a}; expected one {what} a line")
    if not values:
        raise DatasetError(f"{path.name}: it is empty; expected one {what} a line. Fetch or copy it again")
    return values


def as_number(value: str) -> float:
    """Give the number that a cell holds; NaN where it is no finite one."""
    # float() also takes "infinity", and "1_0" for 10.
    number = float(value) if re.fullmatch(_NUMBER_TEXT, value) and len(value) <= MOST_CELL_BYTES else math.nan
    return number if math.isfinite(number) else math.nan


_NUMBER_TEXT = r"[+-]?" + _NUMBER.decode()
