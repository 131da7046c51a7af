"""What a model does with its frames, seen by running it: every operation, what it reads and writes, and in which module.

PyTorch's dispatcher is watched, so functions in a ``forward`` are seen as well as modules, and a skip is a value that is
read again later, wherever it is written. Only what depends on the input is recorded. Recurrent modules are taken as one
operation each: their insides differ from one processor to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import index
from types import UnionType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from toolchain.errors import ModelError, ToolchainError
from toolchain.models.modes import evaluating

# One operation each.
OPAQUE = (nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True)
class Ref:
    """A value that depends on the input, by its number: it stands in an operation's arguments for the tensor."""

    value: int


T = TypeVar("T")


def leaves(values: object, kind: type[T]) -> list[T]:
    """What is of a ``kind`` in ``values``, which may be lists, tuples and mappings of them."""
    if isinstance(values, kind):
        return [values]
    inside = values.values() if isinstance(values, Mapping) else values if isinstance(values, list | tuple) else ()
    return [leaf for value in inside for leaf in leaves(value, kind)]


def mapped(function: Callable[[Any], Any], values: Any, kind: type | UnionType) -> Any:
    """``values`` with ``function`` applied to all that is of a ``kind`` in them; their containers become plain ones."""
    if isinstance(values, kind):
        return function(values)
    if isinstance(values, Mapping):
        return {name: mapped(function, value, kind) for name, value in values.items()}
    if isinstance(values, list | tuple):
        made = [mapped(function, value, kind) for value in values]
        return made if isinstance(values, list) else tuple(made)
    return values


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: ``function`` (an ATen overload, or the module for a recurrent one) and its arguments.

    In ``arguments`` and ``keywords`` a :class:`Ref` stands for what depends on the input, other tensors are constants.
    ``reads`` and ``writes`` are the numbers of values; ``outputs`` says for each output its value or None; ``module`` is
    the path of the innermost module at work; ``serial`` counts all that ran, constants too. ``aliased``: it reads what was
    changed in place through another view, so that its value cannot be computed again from its arguments. ``complex``: it
    works on complex numbers.
    """

    function: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    outputs: tuple[int | None, ...]
    module: str
    serial: int
    aliased: bool
    complex: bool

    @property
    def name(self) -> str:
        """As the dispatcher calls it, without the overload and the underscore of an operation in place: "relu"."""
        if isinstance(self.function, nn.Module):
            return type(self.function).__name__
        return str(self.function.overloadpacket.__name__).removesuffix("_")


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: its operations are ``start`` to ``end`` (not in), its inputs and outputs values.

    ``inputs`` are the values among its arguments. ``single``: it returns one tensor; ``plain``: and it takes one value.
    """

    path: str
    module: nn.Module
    start: int
    end: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    single: bool
    plain: bool


@dataclass(frozen=True, eq=False)
class Dataflow:
    """All that :func:`dataflow` saw: operations and calls in order, the shape of every value, and first and last value."""

    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]
    shapes: tuple[tuple[int, ...], ...]
    source: int
    result: int
    cuts: tuple[int | None, ...] = field(init=False)
    """For each position 0..operations: the only value that later operations read, None where there are several."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cuts", tuple(self._cuts()))

    def _cuts(self) -> Iterator[int | None]:
        last_read = [-1] * len(self.shapes)
        for at, operation in enumerate(self.operations):
            for value in operation.reads:
                last_read[value] = at
        last_read[self.result] = len(self.operations)
        live = {self.source}
        yield self.source
        for at, operation in enumerate(self.operations):
            live.update(operation.writes)
            live = {value for value in live if last_read[value] > at}
            yield next(iter(live)) if len(live) == 1 else None


def dataflow(model: nn.Module, frames: Tensor) -> Dataflow:
    """Run ``model`` on ``frames`` (batch, 2, length), in evaluation mode, and say what it did.

    Raises ModelError where it fails on these frames, where what it returns is no tensor, or does not come from the frames by
    PyTorch's operations; and for a part of it that TorchScript compiled, into which nobody can look.
    """
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{path or 'the model'} was compiled by TorchScript; expected the nn.Module that it was made from"
            )
    recorder = _Recorder(frames)
    with _watched(model, recorder), recorder:
        result = _run(model, frames, recorder)
    if not isinstance(result, Tensor):
        raise ModelError(f"{type(model).__name__} returns {type(result).__name__}; expected one tensor, the logits")
    value = recorder.value_of(result)
    if value is None:
        raise ModelError(
            f"what {type(model).__name__} returns does not come from its input by PyTorch's operations; expected a model "
            "that computes in PyTorch from the frames to the logits"
        )
    return Dataflow(tuple(recorder.operations), tuple(recorder.calls), tuple(recorder.shapes), recorder.source, value)


def checked_shape(frame_shape: Sequence[int]) -> tuple[int, ...]:
    """``frame_shape`` as a tuple; ModelError where it is not made of whole numbers over 0."""
    try:
        shape = tuple(map(index, frame_shape))
    except TypeError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ModelError(
            f"frames of shape {frame_shape!r}: expected (2, length), I in the first row and Q in the second"
        )
    return shape


def _run(model: nn.Module, frames: Tensor, watch: _Watch) -> Any:
    try:
        return model(frames)
    except Exception as error:  # the user's code, or what takes its values
        if error is watch.failed or isinstance(error, ToolchainError):
            raise
        said = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"{type(model).__name__} fails on float32 frames of shape {tuple(frames.shape)}: "
            f"{type(error).__name__}: {said[0][:200]}"
        ) from error


def follow(model: nn.Module, frames: Tensor, flow: Dataflow, wanted: Mapping[int, Callable[[Tensor], None]]) -> None:
    """Run ``model`` on other ``frames`` as in ``flow`` and hand each value in ``wanted`` to its function as it comes.

    Nothing is kept, so memory does not grow with the layers. Raises ModelError where the model runs otherwise on these
    frames than in ``flow``.
    """
    expected = {}
    for operation in flow.operations:
        for position, value in enumerate(operation.outputs):
            if value is not None and value in wanted:
                expected[operation.serial] = (operation, position, wanted[value], flow.shapes[value])
    follower = _Follower(expected)
    with _watched(model, follower), follower:
        _run(model, frames, follower)
    if follower.handed != len(expected):
        raise ModelError(
            "the model runs otherwise on these frames than on a few, so that its layers cannot be compared; expected one that "
            "does the same with every frame"
        )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What recording and following share: the modules at work, and recurrent modules as one operation each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.serial = 0
        self.paths: list[str] = [""]
        self.opaque = 0
        # What the takers of values raised, if they did.
        self.failed: Exception | None = None

    def enter(self, path: str, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.paths.append(path)
        self.opaque += isinstance(module, OPAQUE)

    def leave(self, path: str, module: nn.Module, arguments: tuple[Any, ...], keywords: Any, output: Any) -> None:
        self.paths.pop()
        if isinstance(module, OPAQUE):
            self.opaque -= 1
            if not self.opaque:
                self.ran(module, arguments, keywords, output)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self.opaque:
            self.ran(func, args, kwargs or {}, output)
        return output

    def ran(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        raise NotImplementedError


class _Recorder(_Watch):  # type: ignore[no-untyped-call]
    """Keeps every tensor alive while it works, so that a tensor's identity says which it is."""

    def __init__(self, source: Tensor) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.shapes: list[tuple[int, ...]] = []
        self.current: dict[int, int] = {}
        self.aliased: set[int] = set()
        self.sharing: dict[int, list[Tensor]] = {}
        self.open: list[int] = []
        self.source = self._new_value(source)

    def value_of(self, tensor: Tensor) -> int | None:
        return self.current.get(id(tensor))

    def enter(self, path: str, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        super().enter(path, module, arguments, keywords)
        self.open.append(len(self.operations))

    def leave(self, path: str, module: nn.Module, arguments: tuple[Any, ...], keywords: Any, output: Any) -> None:
        # Inputs first: an operation in place gives its input another value.
        start = self.open.pop()
        super().leave(path, module, arguments, keywords, output)
        if self.opaque:
            return
        outputs = self._values(output)
        reads = [read for operation in self.operations[start:] for read in operation.reads]
        made = {write for operation in self.operations[start:] for write in operation.writes}
        given = self._values((arguments, keywords))
        inputs = tuple(dict.fromkeys(value for value in (*reads, *given) if value not in made))
        single = len(outputs) == 1 and isinstance(output, Tensor)
        plain = single and len(inputs) == 1
        self.calls.append(Call(path, module, start, len(self.operations), inputs, outputs, single, plain))

    def ran(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        self.serial += 1
        produced = leaves(output, Tensor)
        reads = self._values((arguments, keywords))
        given = leaves((arguments, keywords), Tensor)
        referred, referred_keywords = mapped(self._referred, (arguments, keywords), Tensor)
        written = _written(function, arguments, keywords)
        writes: list[int] = []
        if reads:
            for tensor in written:
                writes += self._write(tensor)
            in_place = {id(tensor) for tensor in written}
            writes += [self._new_value(tensor) for tensor in produced if id(tensor) not in in_place]
        for tensor in produced:
            self._keep(tensor)
        if reads:
            self.operations.append(
                Operation(
                    function,
                    referred,
                    referred_keywords,
                    reads,
                    tuple(writes),
                    tuple(self.value_of(tensor) for tensor in produced),
                    self.paths[-1],
                    self.serial,
                    not self.aliased.isdisjoint(reads),
                    any(tensor.is_complex() for tensor in given),
                )
            )

    def _values(self, values: Any) -> tuple[int, ...]:
        numbers = (self.value_of(tensor) for tensor in leaves(values, Tensor))
        return tuple(dict.fromkeys(number for number in numbers if number is not None))

    def _referred(self, tensor: Tensor) -> Tensor | Ref:
        value = self.value_of(tensor)
        return tensor if value is None else Ref(value)

    def _write(self, tensor: Tensor) -> list[int]:
        """``tensor`` is written in place; what shares its memory changes with it."""
        others = [other for other in self._sharing(tensor) if other is not tensor]
        values = [self._new_value(other) for other in others]
        self.aliased.update(values)
        return [self._new_value(tensor), *values]

    def _new_value(self, tensor: Tensor) -> int:
        self._keep(tensor)
        self.shapes.append(tuple(tensor.shape))
        self.current[id(tensor)] = len(self.shapes) - 1
        return len(self.shapes) - 1

    def _keep(self, tensor: Tensor) -> None:
        sharing = self._sharing(tensor)
        if not any(other is tensor for other in sharing):
            sharing.append(tensor)

    def _sharing(self, tensor: Tensor) -> list[Tensor]:
        return self.sharing.setdefault(tensor.untyped_storage()._cdata, [])


class _Follower(_Watch):  # type: ignore[no-untyped-call]
    def __init__(self, expected: dict[int, tuple[Operation, int, Callable[[Tensor], None], tuple[int, ...]]]) -> None:
        super().__init__()
        self.expected, self.handed = expected, 0

    def ran(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        self.serial += 1
        if self.serial not in self.expected:
            return
        operation, position, take, shape = self.expected[self.serial]
        produced = leaves(output, Tensor)
        given = produced[position].shape
        differing = sum(before != now for before, now in zip(shape, given, strict=False))
        if function is operation.function and len(given) == len(shape) and differing <= 1:
            try:
                take(produced[position])
            except Exception as error:
                self.failed = error
                raise
            self.handed += 1


def _written(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> list[Tensor]:
    """The arguments that the operation writes to, as its schema says."""
    if isinstance(function, nn.Module):
        return []
    written = []
    for position, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = arguments[position] if position < len(arguments) else keywords.get(argument.name)
            written += leaves(given, Tensor)
    return written


@contextmanager
def _watched(model: nn.Module, watch: _Watch) -> Iterator[None]:
    hooks = []
    for path, module in model.named_modules():
        enter = lambda module, args, kwargs, path=path: watch.enter(path, module, args, kwargs)  # noqa: E731
        leave = lambda module, args, kwargs, out, path=path: watch.leave(path, module, args, kwargs, out)  # noqa: E731
        hooks.append(module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True))
        hooks.append(module.register_forward_hook(leave, with_kwargs=True))
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fast path is one operation for a whole encoder layer, in which nothing could be seen.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(model):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
