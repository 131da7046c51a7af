"""The opcodes of a pickle, one by one, read and not obeyed.

A pickle is a program: ``pickle.load`` runs whatever it asks for, and nine bytes can ask for gigabytes. This file reads
the program as data. Long strings stay in the file (:class:`Literal`), so walking a 640 MB file costs one reading of it,
and nothing is allocated that the file does not have. What the opcodes may build is in ``pickle_arrays``.
"""

from __future__ import annotations

import codecs
import io
import os
import pickletools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from toolchain.errors import DatasetError

# A cell of a set takes about 60 opcodes, so this is room for 16,000 cells; more is an attempt to keep us busy.
MOST_OPERATIONS = 1_000_000
# Numbers, names: no honest line of these is longer, and int() of a long line takes time that grows as its square.
LONGEST_LINE_BYTES = 200
# Strings up to here are read at once (names, type codes); longer ones are frames.
SHORT_BYTES = 1024
_CHUNK_BYTES = 1 << 20

# Coding of each string opcode's argument. Python 2's strings are bytes that Python 3 is told to read as Latin-1.
_CODINGS = {
    "STRING": "quoted",
    "BINSTRING": "latin1",
    "SHORT_BINSTRING": "latin1",
    "UNICODE": "raw-unicode-escape",
    "SHORT_BINUNICODE": "utf-8",
    "BINUNICODE": "utf-8",
    "BINUNICODE8": "utf-8",
    "SHORT_BINBYTES": "bytes",
    "BINBYTES": "bytes",
    "BINBYTES8": "bytes",
    "BYTEARRAY8": "bytes",
}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_MEMO = {"GET", "BINGET", "LONG_BINGET", "MEMOIZE", *_PUTS}
_CONTAINERS = {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"}
_CONSTANTS = {"NONE", "NEWTRUE", "NEWFALSE"}
_OBJECTS = {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}
_STRUCTURE = {"PROTO", "FRAME", "MARK", "STOP"}
# All that a dict of arrays needs, in any protocol. The rest (INST, OBJ, NEWOBJ, PERSID, EXT1, NEXT_BUFFER, LIST, ...)
# makes other objects, or reaches outside the file.
NEEDED = _CODINGS.keys() | _NUMBERS | _MEMO | _CONTAINERS | _CONSTANTS | _OBJECTS | _STRUCTURE
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_SIZE_FIELD_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


@dataclass(frozen=True, slots=True)
class Literal:
    """A string in the file: where it is, how it is coded, and its bytes if they are few.

    ``coding``: "quoted" (Python 2's repr), "raw-unicode-escape", "utf-8", "latin1" (all text), or "bytes".
    """

    offset: int
    size_bytes: int
    coding: str
    short: bytes | None


class Operation(NamedTuple):
    """An opcode by its name in ``pickletools``, the byte where it starts, and its argument."""

    name: str
    offset: int
    argument: Literal | int | float | str | None


class PickleFile:
    """An open pickle: its operations, and the content of its literals.

    ``source`` is the file's name for messages. Every fault ends in one :class:`DatasetError` that names the byte.
    """

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file = file
        self.source = source
        self.size_bytes = file.seek(0, os.SEEK_END)
        self._offset = file.seek(0)

    def damaged(self, offset: int, found: str) -> DatasetError:
        """Make the error for a file that is broken at ``offset``."""
        return DatasetError(
            f"{self.source}: byte {offset}: {found}. The pickle is damaged or incomplete: "
            f"fetch or copy the file again and compare its size ({self.size_bytes} bytes here)"
        )

    def refused(self, offset: int, found: str) -> DatasetError:
        """Make the error for a file that asks, at ``offset``, for what a set of frames never needs."""
        return DatasetError(
            f"{self.source}: byte {offset}: {found}; expected only a dict of numpy arrays. Nothing of it was run. "
            f"Opening such a file with pickle.load can run code: take the set from its publisher, or save it again"
        )

    def operations(self) -> Iterator[Operation]:
        """Walk the file from its first opcode to STOP, checking each against the file's size.

        Raises :class:`DatasetError` for an opcode that a dict of arrays does not need, for a length or a memo index
        that the file cannot justify, for a file that ends early, and for one that goes on after STOP.
        """
        for count in range(MOST_OPERATIONS):
            offset = self._offset
            opcode = _OPCODES.get(self._take(1))
            if opcode is None:
                raise self.damaged(offset, "what stands there is no pickle opcode")
            if opcode.name not in NEEDED:
                asks_for = f" for {f'{self._line()}.{self._line()}'!a}" if opcode.name == "INST" else ""
                raise self.refused(offset, f"the pickle uses the opcode {opcode.name}{asks_for}")
            argument = self._argument(opcode, offset) if opcode.arg else None
            # Every memo entry is an object, and every object took an opcode; an unpickler allocates up to the index.
            if opcode.name in _PUTS and not (isinstance(argument, int) and 0 <= argument <= count):
                raise self.refused(offset, f"memo index {argument} after {count} opcodes")
            if opcode.name == "PROTO" and argument not in range(6):
                raise self.damaged(offset, f"pickle protocol {argument}; expected 0 to 5")
            yield Operation(opcode.name, offset, argument)
            if opcode.name == "STOP":
                if self._offset < self.size_bytes:
                    raise self.damaged(self._offset, f"{self.size_bytes - self._offset} bytes after the pickle's end")
                return
        raise self.refused(self._offset, f"more than {MOST_OPERATIONS} opcodes")

    def content(self, literal: Literal) -> bytes:
        """Read what ``literal`` says, as bytes; text as Latin-1, which is how numpy pickles bytes as text."""
        raw = self._raw(literal)
        if literal.coding in ("bytes", "latin1"):
            return raw
        try:
            if literal.coding == "quoted":
                return _unquoted(raw)
            return raw.decode(literal.coding).encode("latin1")
        except ValueError as error:
            raise self.damaged(
                literal.offset, f"a string that is not {literal.coding} text of bytes ({error})"
            ) from error

    def text(self, literal: Literal) -> str:
        """Read what ``literal`` says, as text; bytes are taken as UTF-8."""
        raw = self._raw(literal)
        try:
            if literal.coding in ("quoted", "latin1"):
                return self.content(literal).decode("latin1")
            return raw.decode("utf-8" if literal.coding == "bytes" else literal.coding)
        except ValueError as error:
            raise self.damaged(literal.offset, f"a string that is not {literal.coding} text ({error})") from error

    def _raw(self, literal: Literal) -> bytes:
        if literal.short is not None:
            return literal.short
        self._file.seek(literal.offset)
        raw = self._file.read(literal.size_bytes)
        self._file.seek(self._offset)  # where the walk over the operations stands
        if len(raw) < literal.size_bytes:
            raise self.damaged(literal.offset + len(raw), "the file became shorter while it was read")
        return raw

    def _argument(self, opcode: pickletools.OpcodeInfo, offset: int) -> Literal | int | float | str:
        """Read an opcode's argument by the size that ``pickletools`` gives for it; a long string only by its extent."""
        argument = opcode.arg
        assert argument is not None
        coding = _CODINGS.get(opcode.name)
        if coding and argument.n == pickletools.UP_TO_NEWLINE:
            return self._literal_line(coding)
        if argument.n == pickletools.UP_TO_NEWLINE:
            if opcode.name == "GLOBAL":
                return f"{self._line()} {self._line()}"
            raw = self._line().encode("latin1") + b"\n"
        elif argument.n in _SIZE_FIELD_BYTES:
            size_field = self._take(_SIZE_FIELD_BYTES[argument.n])
            size_bytes = int.from_bytes(size_field, "little", signed=argument.n == pickletools.TAKEN_FROM_ARGUMENT4)
            if not 0 <= size_bytes <= self.size_bytes - self._offset:
                raise self.damaged(
                    offset, f"{opcode.name} of {size_bytes} bytes where {self.size_bytes - self._offset} are left"
                )
            if coding:
                return self._literal(size_bytes, coding)
            if size_bytes > 16:  # LONG1, LONG4
                raise self.refused(offset, f"an integer of {size_bytes} bytes")
            raw = size_field + self._take(size_bytes)
        else:
            raw = self._take(argument.n)
        try:
            value: int | float = argument.reader(io.BytesIO(raw))
        except ValueError as error:
            raise self.damaged(offset, f"the argument {raw!r} of {opcode.name} cannot be read") from error
        if opcode.name == "FRAME" and value > self.size_bytes - self._offset:
            raise self.damaged(offset, f"FRAME of {value} bytes where {self.size_bytes - self._offset} are left")
        return value

    def _literal(self, size_bytes: int, coding: str) -> Literal:
        start = self._offset
        if size_bytes <= SHORT_BYTES:
            return Literal(start, size_bytes, coding, self._take(size_bytes))
        self._offset = self._file.seek(start + size_bytes)
        return Literal(start, size_bytes, coding, None)

    def _literal_line(self, coding: str) -> Literal:
        start = self._offset
        chunk = self._file.readline(_CHUNK_BYTES)
        short = chunk[:-1] if chunk.endswith(b"\n") and len(chunk) <= SHORT_BYTES else None
        self._offset += len(chunk)
        while not chunk.endswith(b"\n"):
            if not chunk:
                raise self.damaged(self._offset, f"the file ends inside the string that starts at byte {start}")
            chunk = self._file.readline(_CHUNK_BYTES)
            self._offset += len(chunk)
        return Literal(start, self._offset - 1 - start, coding, short)

    def _line(self) -> str:
        start = self._offset
        line = self._file.readline(LONGEST_LINE_BYTES)
        self._offset += len(line)
        if not line.endswith(b"\n"):
            end = "the file ends there" if self._offset == self.size_bytes else f"no end in {LONGEST_LINE_BYTES} bytes"
            raise self.damaged(start, f"a line for a number or a name: {end}")
        return line[:-1].decode("latin1")

    def _take(self, size_bytes: int) -> bytes:
        taken = self._file.read(size_bytes)
        self._offset += len(taken)
        if len(taken) < size_bytes:
            raise self.damaged(self._offset, "the file ends before the pickle does")
        return taken


def _unquoted(line: bytes) -> bytes:
    """Undo Python 2's ``repr`` of a string, as ``pickle`` does; ValueError where it is none."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("no quotes around it")
    # An escape that repr never writes is only a warning in Python: here it is damage.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return codecs.escape_decode(memoryview(line)[1:-1])[0]
        except Warning as warning:
            raise ValueError(ascii(str(warning))) from warning
