"""Sums in which a value is read again: which side is the branch, which the shortcut, and how the branch is silenced."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from toolchain.dataflow import Call, Operation, Ref
from toolchain.models.structure import Edit, Stand
from toolchain.pruning.linear_forms import ACTIVATIONS
from toolchain.pruning.paths import Paths

SUMS = ("add", "sub")
# Of zeros they make zeros.
ZEROS_STAY = frozenset("relu gelu silu tanh elu leaky_relu hardtanh mul div neg abs clone mish hardswish".split())


@dataclass(frozen=True)
class Skip:
    """A sum in which a value is read again: its position, and which of its operands is the branch and which the shortcut."""

    position: int
    branch: int
    shortcut: int


def skips_within(paths: Paths, start: int, end: int) -> Iterator[Skip]:
    """The skips of a range, in order: at most one between two neighbouring cuts."""
    for first, last in pairwise(at for at in paths.cuts if start <= at <= end):
        skip = find_skip(paths, first, last) if last > first + 1 else None
        if skip is not None:
            yield skip


def find_skip(paths: Paths, start: int, end: int) -> Skip | None:
    """The sum at the end of a piece between two neighbouring cuts; None where no sum joins its values.

    The branch is the side with more layers in series; of equally many, the one with more activations. Where that does not
    tell, and for a sum that scales what would stay, there is none.
    """
    joins = [at for at in range(start, end) if len(paths.operations[at].reads) > 1]
    if not joins or paths.operations[joins[-1]].name not in SUMS:
        return None
    operation = paths.operations[joins[-1]]
    operands = [argument.value for argument in operation.arguments if isinstance(argument, Ref)]
    if len(operands) != 2 or operands[0] == operands[1]:
        return None
    depths = [_depth(paths, value, start, end) for value in operands]
    if depths[0] == depths[1]:
        return None
    branch = 0 if depths[0] > depths[1] else 1
    # The second operand is scaled by alpha, and subtracted in a difference: only a branch may be.
    plain = operation.name == "add" and operation.keywords.get("alpha", 1) == 1
    if branch == 0 and not plain:
        return None
    return Skip(joins[-1], operands[branch], operands[1 - branch])


def silencing(
    paths: Paths, parts: Sequence[Call], skip: Skip, left: Collection[int], start: int, end: int, before: int
) -> tuple[Edit, ...] | None:
    """What makes the branch of ``skip`` give nothing, its modules among ``parts``; None where that cannot be.

    ``left`` are the positions that go on running, ``before`` is the value that the piece from ``start`` to ``end`` comes from.
    """
    branch = paths.behind(skip.branch, start, end) - set(left)
    gone = [part for part in parts if branch and not any(at in left for at in range(part.start, part.end))]
    covered = {at for part in gone for at in range(part.start, part.end)}
    staying = branch - covered
    if not gone or not gone[-1].outputs or any(part.end > gone[-1].start for part in gone[:-1]):
        return None
    last = gone[-1]
    if any(paths.macs[at] or (at >= last.end and not _keeps_zeros(paths.operations[at])) for at in staying):
        return None
    stand_in: Stand = "zero"
    shapes = paths.flow.shapes
    if not last.single:
        # Attention gives its weights too, a recurrent layer its state.
        if not last.inputs or shapes[last.outputs[0]] != shapes[last.inputs[0]]:
            return None
        stand_in = "pair"
    elif last.outputs != (skip.branch,) or _is_into(paths.operations[skip.position], skip.branch):
        # Zeros have the shape of what comes in, which is the unit's input then.
        if shapes[last.outputs[0]] != shapes[before]:
            return None
        stand_in = "zeros"
    stands: list[Stand] = ["identity" for _ in gone]
    stands[-1] = stand_in
    if len(gone) > 1 and any(_is_in_place(paths.operations[at]) for at in staying):
        # What works in place in the forward would write to the skip itself: it gets zeros of its own.
        stands[0] = "zeros"
    return tuple(Edit(part.path, stand) for part, stand in zip(gone, stands, strict=True))


def _depth(paths: Paths, value: int, start: int, end: int) -> tuple[int, int]:
    """Layers in series on the longest way to ``value`` in the range, and activations on it."""
    depths: dict[int, tuple[int, int]] = {}
    for at in sorted(paths.behind(value, start, end)):
        operation = paths.operations[at]
        layers, activations = max((depths.get(read, (0, 0)) for read in operation.reads), default=(0, 0))
        reached = (layers + bool(paths.macs[at]), activations + (operation.name in ACTIVATIONS))
        depths.update(dict.fromkeys(operation.writes, reached))
    return depths.get(value, (0, 0))


def _keeps_zeros(operation: Operation) -> bool:
    if operation.name in ZEROS_STAY:
        return len(operation.reads) == 1
    return not isinstance(operation.function, nn.Module) and bool(operation.function.is_view)


def _is_in_place(operation: Operation) -> bool:
    if isinstance(operation.function, nn.Module):
        return False
    return str(operation.function.overloadpacket.__name__).endswith("_")


def _is_into(operation: Operation, value: int) -> bool:
    """Whether the sum is added into ``value``'s own tensor, which the number 0 is too small for."""
    first = operation.arguments[0]
    return _is_in_place(operation) and isinstance(first, Ref) and first.value == value
