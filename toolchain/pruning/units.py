"""The units of a model: what is kept or dropped as one piece, found by running the model and looking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolchain.cost import cost, numbers_in, products
from toolchain.dataflow import Dataflow, dataflow
from toolchain.errors import PlanError
from toolchain.models.structure import Edit, edited
from toolchain.pruning.frames import as_frames
from toolchain.pruning.span import Kind, Span
from toolchain.pruning.spans import find_spans

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Unit:
    """One unit: its module path, what may become of it and why, and what it weighs.

    ``removable``: dropping it leaves the identity. ``reducible``: dropping it leaves its shortcut. ``fixed``: it is always
    kept. ``params`` are numbers, ``macs`` those of one frame, as are ``input_shape``, ``shape`` (of its output) and
    ``activation_bytes``, what its layers put out in float32. ``shortcut_params`` and ``shortcut_macs`` stay when it is
    dropped, which ``edits`` do.
    """

    name: str
    kind: Kind
    reason: str
    params: int
    macs: int
    input_shape: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    activation_bytes: int = 0
    shortcut_params: int = 0
    shortcut_macs: int = 0
    edits: tuple[Edit, ...] = ()


def find_units(model: nn.Module, frames: NDArray[np.float32], names: Sequence[str] | None = None) -> list[Unit]:
    """The units of ``model`` in the order in which it runs them, found on one of ``frames`` (batch, 2, length).

    ``names`` are globs of module paths (``"layers.*"``): these modules are the units then, and no others. A model's author
    can name them too, in an attribute ``unit_names``.

    Raises PlanError where nothing can be dropped, ModelError where the model cannot be followed.
    """
    units = look_at_units(model, frames, names)
    if all(unit.kind == "fixed" for unit in units):
        raise PlanError(f"{type(model).__name__} has no unit that can be dropped: {_why(units, names)}")
    return units


def look_at_units(model: nn.Module, frames: NDArray[np.float32], names: Sequence[str] | None = None) -> list[Unit]:
    """As :func:`find_units`, also of a model in which nothing can be dropped: all its layers are fixed then."""
    frames = as_frames(frames)
    # Two: with one frame some operations are left out that many need.
    flow = dataflow(model, torch.from_numpy(np.resize(frames[:2], (2, *frames.shape[1:]))))
    spans = spans_of(model, flow, names)
    units = [_unit(model, flow, span) for span in spans]
    return with_failures_fixed(model, frames.shape[1:], [_without_shared_weights(model, unit) for unit in units])


def spans_of(model: nn.Module, flow: Dataflow, names: Sequence[str] | None = None) -> list[Span]:
    """Where the units of ``model`` lie in ``flow``; ``names`` as in :func:`find_units`."""
    names = names if names is not None else getattr(model, "unit_names", None)
    return find_spans(model, flow, [names] if isinstance(names, str) else names)


def _unit(model: nn.Module, flow: Dataflow, span: Span) -> Unit:
    frames = flow.shapes[flow.source][0]
    counted = {at: products(flow.operations[at], flow.shapes) or 0 for at in range(span.start, span.end)}
    written = sum(prod(flow.shapes[flow.operations[at].writes[0]]) for at, macs in counted.items() if macs)
    params = _parameters(model, span.modules)
    gone = [
        path
        for edit in span.edits
        for path in (
            [edit.module] if not isinstance(edit.becomes, tuple) else _others(model, edit.module, edit.becomes)
        )
    ]
    return Unit(
        name=span.name,
        kind=span.kind,
        reason=span.reason,
        params=params,
        macs=sum(counted.values()) // frames,
        input_shape=flow.shapes[span.before][1:],
        shape=flow.shapes[span.after][1:],
        activation_bytes=FLOAT_BYTES * written // frames,
        shortcut_params=params - _parameters(model, gone) if span.kind == "reducible" else 0,
        shortcut_macs=sum(counted[at] for at in span.left) // frames,
        edits=span.edits,
    )


def _parameters(model: nn.Module, paths: Sequence[str]) -> int:
    """The numbers in the parameters of the modules at ``paths``, shared ones once."""
    found = {id(parameter): parameter for path in paths for parameter in model.get_submodule(path).parameters()}
    return sum(map(numbers_in, found.values()))


def _others(model: nn.Module, path: str, stay: Sequence[str]) -> list[str]:
    return [f"{path}.{name}" for name, _ in model.get_submodule(path).named_children() if name not in stay]


def _without_shared_weights(model: nn.Module, unit: Unit) -> Unit:
    """``unit``, fixed where weights of it are used elsewhere too: dropping it would not take them away."""
    gone = [edit.module for edit in unit.edits]
    inside = {id(parameter) for path in gone for parameter in model.get_submodule(path).parameters()}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in inside and not any(path.startswith(f"{module}.") for module in gone):
            return replace(
                unit, kind="fixed", reason=f"it shares weights: {path}", edits=(), shortcut_params=0, shortcut_macs=0
            )
    return unit


def with_failures_fixed(model: nn.Module, frame_shape: Sequence[int], units: list[Unit]) -> list[Unit]:
    """``units``, those of them fixed whose edits do not do what the data flow promises.

    All are dropped at once and the products that are left are counted; only where that fails, one by one.
    """
    whole = cost(model, frame_shape).macs
    if not _failure(model, frame_shape, units, whole):
        return units
    tried = [_tried(model, frame_shape, unit, whole) for unit in units]
    lists = {_list_of(edit) for unit in tried for edit in unit.edits if edit.becomes == "gone"}
    return [_leaving(unit) if any(_list_of(edit) in lists for edit in unit.edits) else unit for unit in tried]


def _leaving(unit: Unit) -> Unit:
    """``unit``, its modules leaving their lists when it is dropped."""
    return replace(unit, edits=tuple(replace(edit, becomes="gone") for edit in unit.edits))


def _list_of(edit: Edit) -> str:
    return edit.module.rpartition(".")[0]


def _tried(model: nn.Module, frame_shape: Sequence[int], unit: Unit, whole: int) -> Unit:
    failure = _failure(model, frame_shape, [unit], whole)
    if not failure:
        return unit
    # Some lists of layers ask their elements for more than to be called; these are left by them altogether.
    if all(edit.becomes == "identity" for edit in unit.edits):
        leaving = _leaving(unit)
        if not _failure(model, frame_shape, [leaving], whole):
            return leaving
    return replace(unit, kind="fixed", reason=f"dropping it was tried: {failure}", edits=())


def _failure(model: nn.Module, frame_shape: Sequence[int], units: Sequence[Unit], whole: int) -> str:
    dropped = [unit for unit in units if unit.kind != "fixed"]
    expected = whole - sum(unit.macs - unit.shortcut_macs for unit in dropped)
    try:
        left = cost(edited(model, [edit for unit in dropped for edit in unit.edits]), frame_shape).macs
    except Exception as error:  # whatever a user's forward raises on what it did not expect
        cause = error.__cause__ or error
        return f"the model fails then ({type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0][:120]})"
    return "" if left == expected else f"{left:,} MACs are left, expected {expected:,}"


def _why(units: Sequence[Unit], names: Sequence[str] | None) -> str:
    """Why nothing can be dropped, with the way out."""
    if names is not None and not units:
        return f"no module that runs has a name like {', '.join(names)}"
    if not units:
        return "nothing in it has weights; expected a trained network"
    # Those that a user would expect to go come first.
    reasons: dict[str, list[str]] = {}
    for unit in sorted(units, key=lambda unit: "no shortcut" in unit.reason):
        reasons.setdefault(unit.reason, []).append(unit.name)
    said = "; ".join(f"{_few(names)} ({reason})" for reason, names in islice(reasons.items(), 3))
    return (
        f"all of its {len(units)} layers are fixed: {said}{'; …' if len(reasons) > 3 else ''}. Prune its channels instead, "
        "as Torch-Pruning does"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
