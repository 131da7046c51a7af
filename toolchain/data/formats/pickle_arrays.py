"""A pickled dict of numpy arrays, rebuilt by hand from its opcodes.

No unpickler runs, and no name in the file is ever looked up: the six names that numpy's pickles use are six cases here,
every other name ends the reading. Arrays come back as claims (shape, type, where the bytes lie) that have been checked
against the file, so that nothing large is allocated for a lie; :func:`load_array` then reads one.

Nothing here hashes or walks what the file nests: a million tuples in each other cost what their opcodes cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.data.formats.pickle_scan import Literal, Operation, PickleFile
from toolchain.errors import DatasetError

# What the file may name, in the spellings of numpy 1 and 2, and the case below that takes its place.
_NAMES = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "numpy.core.multiarray _reconstruct": "reconstruct",
    "numpy._core.multiarray _reconstruct": "reconstruct",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "numpy.core.numeric _frombuffer": "frombuffer",
    "numpy._core.numeric _frombuffer": "frombuffer",
    "_codecs encode": "encode",
}
_NUMBER_TYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
_BYTE_ORDERS = {"<", ">", "|", "="}


@dataclass
class PickledDict:
    """The entries of a dict, in the file's order, and not hashed: a hostile key can take for ever to hash."""

    entries: list[tuple[object, object]]


@dataclass
class PickledArray:
    """An array of the file. Until its state has come, ``content`` is None."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool
    content: Literal | None


@dataclass(frozen=True)
class _Name:
    role: str


@dataclass
class _NumberType:
    code: str
    byte_order: str = "="

    def numpy(self) -> np.dtype[np.generic]:
        return np.dtype(self.byte_order + self.code)


@dataclass(frozen=True)
class _Encoded:
    """Text that ``_codecs.encode(text, "latin1")`` makes bytes of: how Python 3 writes bytes in protocols 0 to 2."""

    literal: Literal


def read_pickle(file: PickleFile) -> object:
    """Rebuild what the pickle holds: None, a number, a Literal, a tuple, a PickledDict or a PickledArray.

    Raises :class:`DatasetError` with the byte and, inside a dict, the entry where the file asks for anything else.
    """
    machine = _Machine(file)
    for operation in file.operations():
        machine.step(operation)
    return machine.pop()


def load_array(file: PickleFile, array: PickledArray) -> NDArray[np.generic]:
    """Read the numbers of an array, in its own shape and type; read-only.

    Raises :class:`DatasetError` where its bytes cannot be read or do not fill its shape.
    """
    if array.content is None:
        raise file.damaged(file.size_bytes, "an array is announced and its numbers never come")
    content = file.content(array.content)
    if len(content) != _size_bytes(array.shape, array.dtype):
        raise file.damaged(array.content.offset, _misfit(array.shape, array.dtype, f"{len(content)} bytes"))
    return np.frombuffer(content, dtype=array.dtype).reshape(array.shape, order="F" if array.fortran_order else "C")


def describe(value: object, file: PickleFile) -> str:
    """Say what a value is in a few words, without going into what it nests."""
    match value:
        case Literal() if value.short is not None:
            return ascii(value.short if value.coding == "bytes" else file.text(value))[:60]
        case Literal() | _Encoded():
            return "a long string"
        case PickledArray():
            return f"{value.dtype} array {value.shape}"
        case PickledDict():
            return f"a dict of {len(value.entries)} entries"
        case tuple():
            parts = [f"a {len(part)}-tuple" if isinstance(part, tuple) else describe(part, file) for part in value[:4]]
            end = ", ..." if len(value) > 4 else "," if len(value) == 1 else ""
            return f"({', '.join(parts)}{end})"
        case _Name() | _NumberType():
            return "a part of an array"
        case _:
            return repr(value)


class _Machine:
    """The stack and memo of one reading."""

    def __init__(self, file: PickleFile) -> None:
        self._file = file
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._offset = 0

    def step(self, operation: Operation) -> None:
        """Do what ``operation`` means for a dict of arrays, or refuse it."""
        self._offset = operation.offset
        argument = operation.argument
        match operation.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self._marks.append(len(self._stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[operation.name])
            case "EMPTY_TUPLE":
                self._stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._stack.append(self._pop_last(int(operation.name[-1])))
            case "TUPLE":
                self._stack.append(tuple(self._pop_mark()))
            case "EMPTY_DICT":
                self._stack.append(PickledDict([]))
            case "DICT":
                entries = self._pop_mark()
                self._stack.append(PickledDict([]))
                self._set(entries)
            case "SETITEM":
                self._set(list(self._pop_last(2)))
            case "SETITEMS":
                self._set(self._pop_mark())
            case "PUT" | "BINPUT" | "LONG_BINPUT" if isinstance(argument, int):
                self._memo[argument] = self._top()
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._top()
            case "GET" | "BINGET" | "LONG_BINGET" if isinstance(argument, int):
                if argument not in self._memo:
                    raise self._damaged(f"memo {argument} is asked for and was never put")
                self._stack.append(self._memo[argument])
            case "GLOBAL":
                self._stack.append(self._name(str(argument)))
            case "STACK_GLOBAL":
                self._stack.append(self._name(" ".join(self._short_text(part) for part in self._pop_last(2))))
            case "REDUCE":
                name, arguments = self._pop_last(2)
                self._stack.append(self._call(name, arguments))
            case "BUILD":
                state = self.pop()
                self._build(self._top(), state)
            case _:
                self._stack.append(argument)

    def pop(self) -> object:
        """Take the value on top of the stack."""
        return self._pop_last(1)[0]

    def _top(self) -> object:
        if not self._stack:
            raise self._damaged("an opcode finds nothing to work on")
        return self._stack[-1]

    def _pop_last(self, count: int) -> tuple[object, ...]:
        if len(self._stack) < count:
            raise self._damaged("an opcode finds nothing to work on")
        taken = tuple(self._stack[-count:])
        del self._stack[-count:]
        return taken

    def _pop_mark(self) -> list[object]:
        if not self._marks:
            raise self._damaged("an opcode finds no mark")
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _set(self, items: list[object]) -> None:
        target = self._top()
        if not isinstance(target, PickledDict) or len(items) % 2:
            raise self._damaged(f"an entry is set in {describe(target, self._file)}; expected a dict")
        target.entries.extend(zip(items[::2], items[1::2], strict=True))

    def _name(self, name: str) -> _Name:
        if name not in _NAMES:
            raise self._refused(f"the pickle asks for {name.replace(' ', '.')!a}")
        return _Name(_NAMES[name])

    def _call(self, name: object, arguments: object) -> object:
        """Take the place of one of numpy's (or Python's) functions, for the arguments that numpy's pickles give."""
        match name, arguments:
            case _Name("encode"), (Literal() as text, Literal() as encoding):
                if self._short_text(encoding) in ("latin1", "latin-1"):
                    return _Encoded(text)
            case _Name("reconstruct"), (_Name("ndarray"), (0,), (Literal() | _Encoded()) as code):
                if self._short_bytes(code) == b"b":
                    return PickledArray((0,), np.dtype(np.int8), fortran_order=False, content=None)
            case _Name("dtype"), (Literal() as code, bool() | int(), bool() | int()):
                return self._number_type(self._short_text(code))
            case _Name("scalar"), (_NumberType() as number_type, (Literal() | _Encoded()) as content):
                raw, dtype = self._short_bytes(content), number_type.numpy()
                if len(raw) == dtype.itemsize:
                    return np.frombuffer(raw, dtype)[0].item()
            case _Name("frombuffer"), (Literal() as content, _NumberType() as number_type, tuple() as shape, order):
                return self._array(shape, number_type, self._short_text(order) == "F", content)
            case _:
                pass
        called = name.role if isinstance(name, _Name) else describe(name, self._file)
        raise self._refused(f"the pickle calls {called} with {describe(arguments, self._file)}, as numpy never does")

    def _build(self, target: object, state: object) -> None:
        match target, state:
            # A plain number has, between byte order and flags, no parts, no names, and no size of its own.
            case _NumberType(), (3, Literal() as order, None, None, None, -1, -1, int()) if (
                self._short_text(order) in _BYTE_ORDERS
            ):
                target.byte_order = self._short_text(order)
            case PickledArray(content=None), (
                1,
                tuple() as shape,
                _NumberType() as number_type,
                (bool() | int()) as fortran_order,
                (Literal() | _Encoded()) as content,
            ):
                literal = content.literal if isinstance(content, _Encoded) else content
                claimed = self._array(shape, number_type, bool(fortran_order), literal)
                vars(target).update(vars(claimed))
            case _:
                raise self._refused(
                    f"the pickle sets the state of {describe(target, self._file)} to {describe(state, self._file)}, "
                    f"as numpy never does"
                )

    def _number_type(self, code: str) -> _NumberType:
        if code not in _NUMBER_TYPES:
            raise self._refused(f"an array of the type {code!a}; expected numbers of at most 8 bytes")
        return _NumberType(code)

    def _array(
        self, shape: tuple[object, ...], number_type: _NumberType, fortran_order: bool, content: Literal
    ) -> PickledArray:
        # Eight axes at most, before their product is taken: a million large integers would take minutes to multiply.
        sizes = tuple(axis for axis in shape[:8] if isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0)
        if len(sizes) != len(shape):
            raise self._refused(f"an array of the shape {describe(shape, self._file)}")
        dtype = number_type.numpy()
        # No coding of bytes is shorter than the bytes: what is claimed beyond the string's size is not there.
        claimed_bytes, exact = _size_bytes(sizes, dtype), content.coding in ("bytes", "latin1")
        if claimed_bytes > content.size_bytes or (exact and claimed_bytes < content.size_bytes):
            raise self._damaged(_misfit(sizes, dtype, f"{content.size_bytes} bytes of string"))
        return PickledArray(sizes, dtype, fortran_order, content)

    def _short_bytes(self, value: Literal | _Encoded) -> bytes:
        literal = value.literal if isinstance(value, _Encoded) else value
        return self._file.content(literal) if literal.short is not None else b""

    def _short_text(self, value: object) -> str:
        if not isinstance(value, Literal) or value.short is None:
            raise self._refused(f"{describe(value, self._file)} where a name belongs")
        return self._file.text(value)

    def _damaged(self, found: str) -> DatasetError:
        return self._file.damaged(self._offset, found + self._entry())

    def _refused(self, found: str) -> DatasetError:
        return self._file.refused(self._offset, found + self._entry())

    def _entry(self) -> str:
        """Name the dict entry being read: the last key, a text and a number, that waits on the stack for its value."""
        for value in reversed(self._stack):
            match value:
                case (Literal(), int() | float()):
                    return f" (in the entry {describe(value, self._file)})"
                case _:
                    pass
        return ""


def _size_bytes(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    return math.prod(shape) * dtype.itemsize


def _misfit(shape: tuple[int, ...], dtype: np.dtype[np.generic], found: str) -> str:
    return f"a {dtype} array {shape} needs {_size_bytes(shape, dtype)} bytes and has {found}"
