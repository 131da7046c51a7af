"""Where the units of a model lie among its operations, and what each leaves when it is dropped.

A position among the operations where later ones read a single value is a cut: all that follows depends on that value alone.
What lies between two cuts can be taken for a piece, and is dropped where the value before can stand for the value after.
Two kinds of pieces hold weights: those in which a value is read again later (a residual unit, an encoder layer), and plain
layers with what normalises and activates them. A skip is seen wherever it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from torch import nn

from toolchain.dataflow import Call, Dataflow
from toolchain.models.structure import RELU, Edit
from toolchain.pruning.paths import Paths
from toolchain.pruning.plain_layers import plain_layers
from toolchain.pruning.skips import Skip, find_skip, silencing, skips_within
from toolchain.pruning.span import Kind, Span


def find_spans(model: nn.Module, flow: Dataflow, names: Sequence[str] | None = None) -> list[Span]:
    """The units of ``model`` in the order in which it runs them, without the fixed ones before and after all others.

    ``names``: globs of module paths; with them these modules are the units, all of them, and no others.
    """
    paths = Paths(model, flow)
    found = _named(paths, names) if names is not None else _all(paths)
    droppable = [at for at, span in enumerate(found) if span.kind != "fixed"]
    if names is not None:
        return found
    # In a network of residual units or encoder layers, plain layers around them are its stem and head.
    droppable = [at for at in droppable if found[at].skips] or droppable
    # What comes before the first unit that can be dropped is the stem, what comes after the last the head.
    return found[droppable[0] : droppable[-1] + 1] if droppable else found


def _all(paths: Paths) -> list[Span]:
    joined = _joined(paths)
    plain = list(plain_layers(paths, joined, span_of_call))
    if any(span.kind != "fixed" for span in joined):
        # Between residual units or encoder layers a layer that cannot go is no unit: what changes the shape from one stage
        # to the next, or the shortcut that a unit left.
        plain = [span for span in plain if span.kind != "fixed"]
    return sorted(joined + plain, key=lambda span: span.start)


def _named(paths: Paths, names: Sequence[str]) -> list[Span]:
    spans: list[Span] = []
    for call in sorted(paths.calls, key=lambda call: (call.start, -call.end)):
        if not any(fnmatchcase(call.path, name) for name in names) or call.end == call.start:
            continue
        if spans and call.start < spans[-1].end:
            continue  # within one that was named too
        spans.append(span_of_call(paths, call))
    return spans


def _joined(paths: Paths) -> list[Span]:
    atoms = [
        (start, end)
        for start, end in pairwise(paths.cuts)
        if end > start + 1 and _weighs(paths, start, end) and not _is_chain(paths, start, end)
    ]
    owners = [_owner(paths, start, end) for start, end in atoms]
    spans: list[Span] = []
    for (start, end), owner in zip(atoms, owners, strict=True):
        if spans and start < spans[-1].end:
            continue
        if owner is not None and paths.is_whole(owner) and not _holds_units(paths, owner, atoms, owners):
            spans.append(span_of_call(paths, owner))
        else:
            spans.append(_around(paths, start, end))
    return spans


def _owner(paths: Paths, start: int, end: int) -> Call | None:
    """The innermost call in which all of this runs."""
    around = [call for call in paths.calls if call.start <= start and call.end >= end]
    return min(around, key=lambda call: (call.end - call.start, -call.path.count(".")), default=None)


def _holds_units(paths: Paths, owner: Call, atoms: list[tuple[int, int]], owners: list[Call | None]) -> bool:
    """Whether the call is a row of units itself: other pieces inside it, or elements of one list run with skips around."""
    for (start, end), other in zip(atoms, owners, strict=True):
        if not (owner.start <= start and end <= owner.end):
            continue
        if other is not owner:
            return True
        branch = paths.outermost(start, end)
        if len(branch) == 1 and branch[0].path.rpartition(".")[2].isdigit():
            return True
    return False


def _around(paths: Paths, start: int, end: int) -> Span:
    """A skip that is written outside the module that it goes around: the unit is that module with the sum."""
    before, after = paths.ends(start, end)
    parts = paths.outermost(start, end)
    heaviest = max(parts, key=lambda part: sum(paths.macs[part.start : part.end]), default=None)
    name = heaviest.path if heaviest else paths.operations[start].module or type(paths.model).__name__
    modules = tuple(part.path for part in parts)
    skip = find_skip(paths, start, end)

    def fixed(reason: str) -> Span:
        return Span(
            name=name, kind="fixed", reason=reason, start=start, end=end, before=before, after=after, modules=modules,
            skips=(skip,) if skip else (),
        )  # fmt: skip

    if skip is None:
        reader = next(paths.operations[at].name for at in range(start, end) if len(paths.operations[at].reads) > 1)
        return fixed(f"its input is read again outside it, by {reader}, and not for a sum of a branch and a shortcut")
    repeated = paths.repeated(parts)
    if repeated:
        return fixed(repeated)
    tail = range(skip.position + 1, end)
    left = paths.behind(skip.shortcut, start, end) | {*tail}
    edits = silencing(paths, parts, skip, left, start, end, before)
    if edits is None:
        return fixed("its skip is written outside it, and its branch cannot be taken out by its modules")
    # Of several parts only some may make up the branch.
    if not any(edit.module == name or edit.module.startswith(f"{name}.") for edit in edits):
        name = edits[-1].module
    same = paths.flow.shapes[before] == paths.flow.shapes[after]
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


def span_of_call(paths: Paths, call: Call) -> Span:
    """The unit that is one module: dropped whole, or to its shortcut where it changes the shape."""
    before, after = paths.ends(call.start, call.end)
    skips = tuple(skips_within(paths, call.start, call.end))
    kind: Kind = "fixed"
    left: frozenset[int] = frozenset()
    edits: tuple[Edit, ...] = ()
    repeated = paths.repeated([call])
    if repeated:
        reason = repeated
    elif not paths.is_whole(call):
        reason = "it does not take one tensor and give one that all that follows comes from"
    elif paths.flow.shapes[call.inputs[0]] == paths.flow.shapes[call.outputs[0]]:
        kind, edits = "removable", (Edit(call.path),)
        reason = "one shape in and out"
    else:
        reduced = _reduced(paths, call, skips)
        if reduced is None:
            reason = "it changes the shape, and has no shortcut that could stay"
        else:
            kind, (edits, left) = "reducible", reduced
            reason = "its shortcut stays"
    return Span(
        name=call.path, kind=kind, reason=reason, start=call.start, end=call.end, before=before, after=after,
        skips=skips, left=left, edits=edits, modules=(call.path,),
    )  # fmt: skip


def _reduced(paths: Paths, call: Call, skips: Sequence[Skip]) -> tuple[tuple[Edit, ...], frozenset[int]] | None:
    """What makes of the module its shortcut and what comes after the sum; None where that cannot be told."""
    if len(skips) != 1:
        return None
    (skip,) = skips
    left = paths.behind(skip.shortcut, call.start, call.end) | set(range(skip.position + 1, call.end))
    stay = _children_of(paths, call, skip, sorted(left))
    if stay is not None:
        return (Edit(call.path, stay),), frozenset(left)
    # Where the shortcut is written as functions the module stays, and its branch gives nothing.
    parts = paths.outermost(call.start, call.end)
    edits = silencing(paths, parts, skip, left, call.start, call.end, call.inputs[0])
    return None if edits is None else (edits, frozenset(left))


def _children_of(paths: Paths, call: Call, skip: Skip, left: Sequence[int]) -> tuple[str, ...] | None:
    """The children of the module that run the positions ``left``, one after another; None where something else runs there."""
    children = [
        part
        for part in paths.calls
        if part.path.rpartition(".")[0] == call.path and call.start <= part.start < part.end <= call.end and part.plain
    ]
    stay: list[str] = []
    at, value = 0, call.inputs[0]
    while at < len(left):
        if value == skip.shortcut:
            # The shortcut takes the place of the sum.
            value = paths.operations[skip.position].writes[0]
        operation = paths.operations[left[at]]
        child = next((part for part in children if part.start == left[at] and part.inputs == (value,)), None)
        if child is not None and list(left[at : at + child.end - child.start]) == list(range(child.start, child.end)):
            stay.append(child.path.rpartition(".")[2])
            value, at = child.outputs[0], at + child.end - child.start
        elif operation.name == "relu" and operation.reads == (value,):
            stay.append(RELU)
            value, at = operation.writes[0], at + 1
        else:
            return None
    return tuple(stay)


def _weighs(paths: Paths, start: int, end: int) -> bool:
    return any(paths.macs[start:end])


def _is_chain(paths: Paths, start: int, end: int) -> bool:
    return all(len(paths.operations[at].reads) <= 1 for at in range(start, end))
