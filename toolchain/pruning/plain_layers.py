"""Units that are plain layers: products with what normalises and activates them, or the module around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from toolchain.cost import FREE
from toolchain.dataflow import Call, Operation
from toolchain.models.structure import Edit
from toolchain.pruning.paths import Paths
from toolchain.pruning.span import Kind, Span

# What may follow a layer's products and belongs to it, beside what works value by value.
NORMALISATION = frozenset(name for name in FREE if "norm" in name and "linalg" not in name and name != "norm")


# A span that is one module: `span_of_call`, which looks for skips too.
SpanOfCall = Callable[[Paths, Call], Span]


def plain_layers(paths: Paths, joined: Sequence[Span], span_of_call: SpanOfCall) -> Iterator[Span]:
    """The units of plain layers outside of the ``joined`` pieces, in order."""
    taken = {at for span in joined for at in range(span.start, span.end)}
    spans: list[Span] = []
    for at, macs in enumerate(paths.macs):
        if macs and at not in taken and not (spans and at < spans[-1].end):
            spans.append(_layer(paths, at, span_of_call))
    done = -1
    for span in spans:
        if span.start < done:
            continue
        around = _block_of_fixed(paths, span, spans, taken, done)
        if around is not None:
            span = span_of_call(paths, around)
        done = span.end
        yield span


def _block_of_fixed(paths: Paths, span: Span, spans: Sequence[Span], taken: set[int], done: int) -> Call | None:
    """The smallest module after ``done``, around a fixed layer, that can go whole and in which nothing can go by itself."""
    if span.kind != "fixed":
        return None
    around = [
        call
        for call in paths.calls
        if done <= call.start <= span.start < span.end <= call.end
        and call.end - call.start > span.end - span.start
        and paths.is_whole(call)
        and paths.keeps_shape(call)
        and taken.isdisjoint(range(call.start, call.end))
        and all(other.kind == "fixed" for other in spans if call.start <= other.start < call.end)
    ]
    return min(around, key=lambda call: call.end - call.start, default=None)


def _layer(paths: Paths, at: int, span_of_call: SpanOfCall) -> Span:
    """The products at a position, with what normalises and activates them; or the largest module that holds no others."""
    around = [call for call in paths.calls if call.start <= at < call.end]
    around.sort(key=lambda call: (call.end - call.start, -call.path.count(".")))
    innermost = around[0] if around else None
    whole = [
        call
        for call in around
        if innermost and paths.is_whole(call) and paths.products_in(call) == paths.products_in(innermost)
    ]
    if not whole:
        return _bare(paths, at, around)
    for call in reversed(whole):
        if call.end - call.start > whole[0].end - whole[0].start and paths.keeps_shape(call):
            return span_of_call(paths, call)
    if whole[0] is not innermost:
        return span_of_call(paths, whole[-1])
    span = _with_followers(paths, whole[0])
    wider = whole[-1].end - whole[-1].start > whole[0].end - whole[0].start
    return span_of_call(paths, whole[-1]) if span.kind == "fixed" and wider else span


def _bare(paths: Paths, at: int, around: list[Call]) -> Span:
    """Products in a forward that are no module's, or of a module that gives more than one tensor."""
    call = around[0] if around else None
    start, end = (call.start, call.end) if call and paths.products_in(call) == {at} else (at, at + 1)
    before, after = paths.ends(start, end)
    name = call.path if call else type(paths.model).__name__
    why = "it gives more than one tensor" if call and not call.plain else "its products are written as a function"
    if call and call.plain:
        why = "other values go past it"
    return Span(
        name=name, kind="fixed", reason=why, start=start, end=end,
        before=before, after=after, modules=(call.path,) if call else (),
    )  # fmt: skip


def _with_followers(paths: Paths, layer: Call) -> Span:
    """A layer and the normalisation and activations that come right after it."""
    parts, functions, end = [layer], list[Operation](), layer.end
    while end < len(paths.operations):
        operation = paths.operations[end]
        here = [call for call in paths.calls if call.start == end and call.end > end and not paths.is_function(call)]
        following = max(here, key=lambda call: (call.end, -call.path.count(".")), default=None)
        if following is not None:
            ran = range(following.start, following.end)
            if not paths.is_whole(following) or not all(_follows(paths.operations[at]) for at in ran):
                break
            parts.append(following)
            end = following.end
        elif _is_function(paths, operation, end, layer) and _follows(operation):
            functions.append(operation)
            end += 1
        else:
            break
    before, after = paths.ends(layer.start, end)
    kind: Kind = "fixed"
    repeated = paths.repeated(parts)
    if repeated:
        reason = repeated
    elif paths.flow.shapes[before] != paths.flow.shapes[after]:
        reason = "it changes the shape, and has no shortcut that could stay"
    elif functions and not _harmless(paths, functions, before):
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


def _is_function(paths: Paths, operation: Operation, at: int, layer: Call) -> bool:
    """Whether an operation stands in the forward of a module around ``layer``, as a function or a shared activation."""
    around = operation.module == "" or f"{layer.path}.".startswith(f"{operation.module}.")
    return around or any(call.start <= at < call.end and paths.is_function(call) for call in paths.calls)


def _follows(operation: Operation) -> bool:
    if not operation.writes or len(operation.reads) != 1 or isinstance(operation.function, nn.Module):
        return False
    return torch.Tag.pointwise in operation.function.tags or operation.name in NORMALISATION


def _harmless(paths: Paths, functions: list[Operation], before: int) -> bool:
    """Whether what stays in the forward changes nothing: a ReLU, on what has passed one already."""
    if any(operation.name != "relu" for operation in functions):
        return False
    value = before
    while True:
        origin = next((operation for operation in paths.operations if value in operation.writes), None)
        if origin is None or (origin.name != "relu" and "max_pool" not in origin.name):
            return False
        if origin.name == "relu":
            return True
        value = origin.reads[0]
