"""Where the units of a model lie among its operations, and what each leaves when it is dropped.

A position among the operations where later ones read a single value is a cut: all that follows depends on that value alone.
What lies between two cuts can be taken for a piece, and is dropped where the value before can stand for the value after.
Two kinds of pieces hold weights: those in which a value is read again later (a residual unit, an encoder layer), and plain
layers with what normalises and activates them. A skip is seen wherever it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from toolchain.cost import FREE, products
from toolchain.dataflow import Call, Dataflow, Operation, Ref
from toolchain.models.structure import RELU, Edit, Stand

Kind = Literal["removable", "reducible", "fixed"]

# What may follow a layer's products and belongs to it, beside what works value by value.
NORMALISATION = frozenset(name for name in FREE if "norm" in name and "linalg" not in name and name != "norm")
SUMS = ("add",)
# Of zeros they make zeros.
ZEROS_STAY = frozenset("relu gelu silu tanh elu leaky_relu hardtanh mul div neg abs clone mish hardswish".split())


@dataclass(frozen=True)
class Skip:
    """A sum in which a value is read again: its position, and which of its operands is the branch and which the shortcut."""

    position: int
    branch: int
    shortcut: int


@dataclass(frozen=True, kw_only=True)
class Span:
    """One unit among the operations ``start`` to ``end`` (not in), from value ``before`` to value ``after``.

    ``skips``: its sums; ``left``: the positions that still run when it is dropped; ``edits``: what drops it; ``modules``: the
    paths that hold its parameters.
    """

    name: str
    kind: Kind
    reason: str
    start: int
    end: int
    before: int
    after: int
    skips: tuple[Skip, ...] = ()
    left: frozenset[int] = frozenset()
    edits: tuple[Edit, ...] = ()
    modules: tuple[str, ...] = ()


def find_spans(model: nn.Module, flow: Dataflow, names: Sequence[str] | None = None) -> list[Span]:
    """The units of ``model`` in the order in which it runs them, without the fixed ones before and after all others.

    ``names``: globs of module paths; with them these modules are the units, and no others.
    """
    search = _Search(model, flow)
    found = search.named(names) if names is not None else search.all()
    droppable = [at for at, span in enumerate(found) if span.kind != "fixed"]
    if names is None:
        # In a network of residual units or encoder layers, plain layers around them are its stem and head.
        droppable = [at for at in droppable if found[at].skips] or droppable
    # What comes before the first unit that can be dropped is the stem, what comes after the last the head.
    return found[droppable[0] : droppable[-1] + 1] if droppable else found


class _Search:
    def __init__(self, model: nn.Module, flow: Dataflow) -> None:
        self.model, self.flow = model, flow
        self.operations = flow.operations
        self.macs = [products(operation, flow.shapes) or 0 for operation in flow.operations]
        self.calls = [call for call in flow.calls if call.path]
        self.runs = Counter(call.path for call in self.calls if call.end > call.start)
        self.positions = [at for at, value in enumerate(flow.cuts) if value is not None]

    def all(self) -> list[Span]:
        joined = self._joined()
        spans = joined + list(self._plain(joined))
        return sorted(spans, key=lambda span: span.start)

    def named(self, names: Sequence[str]) -> list[Span]:
        spans: list[Span] = []
        for call in sorted(self.calls, key=lambda call: (call.start, -call.end)):
            if not any(fnmatchcase(call.path, name) for name in names) or call.end == call.start:
                continue
            if spans and call.start < spans[-1].end:
                continue  # within one that was named too
            spans.append(self._of_call(call))
        return spans

    # Pieces in which a value is read again.

    def _joined(self) -> list[Span]:
        atoms = [
            (start, end)
            for start, end in pairwise(self.positions)
            if end > start + 1 and self._weighs(start, end) and not self._is_chain(start, end)
        ]
        owners = [self._owner(start, end) for start, end in atoms]
        spans: list[Span] = []
        for (start, end), owner in zip(atoms, owners, strict=True):
            if spans and start < spans[-1].end:
                continue
            if owner is not None and self._is_whole(owner) and not self._holds_units(owner, atoms, owners):
                spans.append(self._of_call(owner))
            else:
                spans.append(self._around(start, end))
        return spans

    def _owner(self, start: int, end: int) -> Call | None:
        """The innermost call in which all of this runs."""
        around = [call for call in self.calls if call.start <= start and call.end >= end]
        return min(around, key=lambda call: (call.end - call.start, -call.path.count(".")), default=None)

    def _is_whole(self, call: Call) -> bool:
        """Whether the call takes the one value that is there, and gives the one that is there after it."""
        return (
            call.plain and self.flow.cuts[call.start] == call.inputs[0] and self.flow.cuts[call.end] == call.outputs[0]
        )

    def _holds_units(self, owner: Call, atoms: list[tuple[int, int]], owners: list[Call | None]) -> bool:
        """Whether the call is a row of units itself: other pieces inside it, or elements of one list run with skips around."""
        for (start, end), other in zip(atoms, owners, strict=True):
            if not (owner.start <= start and end <= owner.end):
                continue
            if other is not owner:
                return True
            branch = self._outermost(start, end)
            if len(branch) == 1 and branch[0].path.rpartition(".")[2].isdigit():
                return True
        return False

    def _around(self, start: int, end: int) -> Span:
        """A skip that is written outside the module that it goes around: the unit is that module with the sum."""
        before, after = self._ends(start, end)
        parts = self._outermost(start, end)
        weights = {part: sum(self.macs[part.start : part.end]) for part in parts}
        heaviest = max(parts, key=lambda part: weights[part], default=None)
        name = heaviest.path if heaviest else self.operations[start].module or type(self.model).__name__
        modules = tuple(part.path for part in parts)
        skip = self._skip(start, end)

        def fixed(reason: str) -> Span:
            return Span(
                name=name, kind="fixed", reason=reason, start=start, end=end, before=before, after=after, modules=modules,
                skips=(skip,) if skip else (),
            )  # fmt: skip

        if skip is None:
            reader = next(self.operations[at].name for at in range(start, end) if len(self.operations[at].reads) > 1)
            return fixed(f"its input is read again outside it, by {reader}, and not for a sum")
        repeated = self._repeated(parts)
        if repeated:
            return fixed(repeated)
        tail = range(skip.position + 1, end)
        left = self._behind(skip.shortcut, start, end) | {*tail}
        branch = self._behind(skip.branch, start, end) - left
        gone = [part for part in parts if branch and not left.intersection(range(part.start, part.end))]
        covered = {at for part in gone for at in range(part.start, part.end)}
        stand_in = self._silencing(gone, branch - covered, skip, before)
        if stand_in is None:
            return fixed("its skip is written outside it, and its branch cannot be taken out by its modules")
        same = self.flow.shapes[before] == self.flow.shapes[after]
        edits = tuple(Edit(part.path, stand_in if part is gone[-1] else "identity") for part in gone)
        identity = same and skip.shortcut == before and not tail
        return Span(
            name=name,
            kind="removable" if identity else "reducible",
            reason="with the sum after it" if identity else "its shortcut stays",
            start=start,
            end=end,
            before=before,
            after=after,
            skips=(skip,),
            left=frozenset() if identity else frozenset(left),
            edits=edits,
            modules=modules,
        )

    # Units that are one module.

    def _of_call(self, call: Call) -> Span:
        before, after = self._ends(call.start, call.end)
        skips = tuple(self._skips_within(call.start, call.end))
        kind: Kind = "fixed"
        left: frozenset[int] = frozenset()
        edits: tuple[Edit, ...] = ()
        repeated = self._repeated([call])
        if repeated:
            reason = repeated
        elif not self._is_whole(call):
            reason = "it does not take one tensor and give one that all that follows comes from"
        elif self.flow.shapes[call.inputs[0]] == self.flow.shapes[call.outputs[0]]:
            kind, edits = "removable", (Edit(call.path),)
            reason = "one shape in and out"
        else:
            reduced = self._reduced(call, skips)
            if reduced is None:
                reason = "it changes the shape, and has no shortcut that could stay"
            else:
                kind, (edits, left) = "reducible", reduced
                reason = "its shortcut stays"
        return Span(
            name=call.path, kind=kind, reason=reason, start=call.start, end=call.end, before=before, after=after,
            skips=skips, left=left, edits=edits, modules=(call.path,),
        )  # fmt: skip

    def _reduced(self, call: Call, skips: Sequence[Skip]) -> tuple[tuple[Edit, ...], frozenset[int]] | None:
        """What makes of the module its shortcut and what comes after the sum; None where that cannot be told."""
        if len(skips) != 1:
            return None
        (skip,) = skips
        left = self._behind(skip.shortcut, call.start, call.end) | set(range(skip.position + 1, call.end))
        inside = [
            part
            for part in self.calls
            if part.path.rpartition(".")[0] == call.path and call.start <= part.start and part.end <= call.end
        ]
        stay: list[str] = []
        at = 0
        remaining = sorted(left)
        value = call.inputs[0]
        while at < len(remaining):
            if value == skip.shortcut:
                # The shortcut takes the place of the sum.
                value = self.operations[skip.position].writes[0]
            position = remaining[at]
            part = next((p for p in inside if p.start == position and p.end > position and p.plain), None)
            if part is not None and part.inputs == (value,):
                stay.append(part.path.rpartition(".")[2])
                value, taken = part.outputs[0], part.end - part.start
                if remaining[at : at + taken] != list(range(part.start, part.end)):
                    return self._silenced(call, skip, inside, left)
                at += taken
            elif self.operations[position].name == "relu" and self.operations[position].reads == (value,):
                stay.append(RELU)
                value, at = self.operations[position].writes[0], at + 1
            else:
                return self._silenced(call, skip, inside, left)
        return (Edit(call.path, tuple(stay)),), frozenset(left)

    def _silenced(
        self, call: Call, skip: Skip, inside: list[Call], left: set[int]
    ) -> tuple[tuple[Edit, ...], frozenset[int]] | None:
        """Where the shortcut is written as functions: the module stays, and its branch gives the number 0."""
        gone = [part for part in inside if part.end > part.start and not left.intersection(range(part.start, part.end))]
        covered = {at for part in gone for at in range(part.start, part.end)}
        branch = self._behind(skip.branch, call.start, call.end) - left
        stand_in = self._silencing(gone, branch - covered, skip, call.inputs[0])
        if stand_in is None:
            return None
        return tuple(Edit(part.path, stand_in if part is gone[-1] else "identity") for part in gone), frozenset(left)

    def _silencing(self, gone: Sequence[Call], staying: set[int], skip: Skip, before: int) -> Stand | None:
        """What the last module of a branch becomes, so that the branch gives nothing; None where that cannot be.

        ``staying`` are the branch's operations that are no module's: after the last module they must leave zeros zeros.
        """
        if not gone or not gone[-1].plain or any(part.end > gone[-1].start for part in gone[:-1]):
            return None
        last = gone[-1]
        if any(self.macs[at] or (at >= last.end and not self._keeps_zeros(self.operations[at])) for at in staying):
            return None
        if last.outputs == (skip.branch,) and not self._is_in_place(skip):
            return "zero"
        # Zeros have the shape of what comes in, which is the unit's input then.
        return "zeros" if self.flow.shapes[last.outputs[0]] == self.flow.shapes[before] else None

    def _keeps_zeros(self, operation: Operation) -> bool:
        if operation.name in ZEROS_STAY:
            return len(operation.reads) == 1
        return not isinstance(operation.function, nn.Module) and operation.function.is_view

    # Plain layers.

    def _plain(self, joined: list[Span]) -> Iterator[Span]:
        taken = {at for span in joined for at in range(span.start, span.end)}
        done = -1
        for at, macs in enumerate(self.macs):
            if not macs or at in taken or at < done:
                continue
            span = self._layer(at)
            done = span.end
            yield span

    def _layer(self, at: int) -> Span:
        """The products at a position, with what normalises and activates them; or the largest module that holds no others."""
        around = [call for call in self.calls if call.start <= at < call.end]
        around.sort(key=lambda call: (call.end - call.start, -call.path.count(".")))
        innermost = around[0] if around else None
        whole = [
            call
            for call in around
            if innermost and self._is_whole(call) and self._products_in(call) == self._products_in(innermost)
        ]
        if not whole:
            return self._bare(at, around)
        for call in reversed(whole):
            if call.end - call.start > whole[0].end - whole[0].start and self._keeps_shape(call):
                return self._of_call(call)
        if whole[0] is not innermost:
            return self._of_call(whole[-1])
        span = self._with_followers(whole[0])
        wider = whole[-1].end - whole[-1].start > whole[0].end - whole[0].start
        return self._of_call(whole[-1]) if span.kind == "fixed" and wider else span

    def _bare(self, at: int, around: list[Call]) -> Span:
        """Products in a forward that are no module's, or of a module that gives more than one tensor."""
        call = around[0] if around else None
        start, end = (call.start, call.end) if call and self._products_in(call) == {at} else (at, at + 1)
        before, after = self._ends(start, end)
        name = call.path if call else type(self.model).__name__
        why = "it gives more than one tensor" if call and not call.plain else "its products are written as a function"
        if call and call.plain:
            why = "other values go past it"
        return Span(
            name=name, kind="fixed", reason=why, start=start, end=end,
            before=before, after=after, modules=(call.path,) if call else (),
        )  # fmt: skip

    def _with_followers(self, layer: Call) -> Span:
        """A layer and the normalisation and activations that come right after it."""
        parts, functions, end = [layer], list[Operation](), layer.end
        while end < len(self.operations):
            operation = self.operations[end]
            here = [call for call in self.calls if call.start == end and call.end > end]
            following = max(here, key=lambda call: (call.end, -call.path.count(".")), default=None)
            if following is not None:
                ran = range(following.start, following.end)
                if not self._is_whole(following) or not all(self._follows(self.operations[at]) for at in ran):
                    break
                parts.append(following)
                end = following.end
            elif f"{layer.path}.".startswith(f"{operation.module}." if operation.module else "") and self._follows(
                operation
            ):
                functions.append(operation)
                end += 1
            else:
                break
        before, after = self._ends(layer.start, end)
        kind: Kind = "fixed"
        repeated = self._repeated(parts)
        if repeated:
            reason = repeated
        elif self.flow.shapes[before] != self.flow.shapes[after]:
            reason = "it changes the shape, and has no shortcut that could stay"
        elif functions and not self._harmless(functions, before):
            names = ", ".join(dict.fromkeys(operation.name for operation in functions))
            reason = f"{names} after it is written as a function, and would run twice"
        else:
            kind, reason = "removable", "one shape in and out"
        return Span(
            name=layer.path,
            kind=kind,
            reason=reason,
            start=layer.start,
            end=end,
            before=before,
            after=after,
            edits=tuple(Edit(part.path) for part in parts) if kind == "removable" else (),
            modules=tuple(part.path for part in parts),
        )

    def _follows(self, operation: Operation) -> bool:
        if not operation.writes or len(operation.reads) != 1 or isinstance(operation.function, nn.Module):
            return False
        return torch.Tag.pointwise in operation.function.tags or operation.name in NORMALISATION

    def _harmless(self, functions: list[Operation], before: int) -> bool:
        """Whether what stays in the forward changes nothing: a ReLU, on what has passed one already."""
        if any(operation.name != "relu" for operation in functions):
            return False
        value = before
        while True:
            origin = next((operation for operation in self.operations if value in operation.writes), None)
            if origin is None or (origin.name != "relu" and "max_pool" not in origin.name):
                return False
            if origin.name == "relu":
                return True
            value = origin.reads[0]

    # What the searches share.

    def _weighs(self, start: int, end: int) -> bool:
        return any(self.macs[start:end])

    def _is_chain(self, start: int, end: int) -> bool:
        return all(len(self.operations[at].reads) <= 1 for at in range(start, end))

    def _products_in(self, call: Call) -> set[int]:
        return {at for at in range(call.start, call.end) if self.macs[at]}

    def _keeps_shape(self, call: Call) -> bool:
        return self.flow.shapes[call.inputs[0]] == self.flow.shapes[call.outputs[0]]

    def _ends(self, start: int, end: int) -> tuple[int, int]:
        before, after = self.flow.cuts[start], self.flow.cuts[end]
        if before is None:
            before = self.operations[start].reads[0]
        if after is None:
            after = self.operations[end - 1].writes[0]
        return before, after

    def _repeated(self, parts: Sequence[Call]) -> str:
        for part in parts:
            if self.runs[part.path] > 1:
                return f"the model runs {part.path} {self.runs[part.path]} times; a unit runs once"
        return ""

    def _outermost(self, start: int, end: int) -> list[Call]:
        """The largest calls inside a piece, in order, without those that hold what joins its values: its last operation."""
        inside = [call for call in self.calls if start <= call.start < call.end < end]
        inside.sort(key=lambda call: (call.start, -call.end, call.path.count(".")))
        parts: list[Call] = []
        for call in inside:
            if not parts or call.start >= parts[-1].end:
                parts.append(call)
        return parts

    def _behind(self, value: int, start: int, end: int) -> set[int]:
        """The positions in the range that ``value`` is computed by."""
        wanted, positions = {value}, set()
        for at in range(end - 1, start - 1, -1):
            if wanted.intersection(self.operations[at].writes):
                positions.add(at)
                wanted.update(self.operations[at].reads)
        return positions

    def _skips_within(self, start: int, end: int) -> Iterator[Skip]:
        cuts = [at for at in self.positions if start <= at <= end]
        for first, last in pairwise(cuts):
            skip = self._skip(first, last) if last > first + 1 else None
            if skip is not None:
                yield skip

    def _skip(self, start: int, end: int) -> Skip | None:
        """The sum at the end of a piece between two neighbouring cuts, if a sum is what joins its values."""
        joins = [at for at in range(start, end) if len(self.operations[at].reads) > 1]
        if not joins or self.operations[joins[-1]].name not in SUMS:
            return None
        operands = [argument.value for argument in self.operations[joins[-1]].arguments if isinstance(argument, Ref)]
        if len(operands) != 2 or operands[0] == operands[1]:
            return None
        weights = [sum(self.macs[at] for at in self._behind(value, start, end)) for value in operands]
        branch = 0 if weights[0] > weights[1] else 1
        if weights[branch] == weights[1 - branch] == 0:
            return None
        return Skip(joins[-1], operands[branch], operands[1 - branch])

    def _is_in_place(self, skip: Skip) -> bool:
        """Whether the sum is added into the branch's own tensor, which the number 0 is too small for."""
        operation = self.operations[skip.position]
        first = operation.arguments[0]
        in_place = str(operation.function.overloadpacket.__name__).endswith("_")
        return in_place and isinstance(first, Ref) and first.value == skip.branch
