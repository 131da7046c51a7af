"""The units of a model: what is kept or dropped as one piece, found by running the model and looking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.models.modes import evaluating
from toolchain.models.residual import ResidualUnit, ShortcutUnit

Kind = Literal["removable", "reducible", "fixed"]


@dataclass(frozen=True)
class Unit:
    """One unit: its module path, what may become of it and why, and what it weighs (parameters, MACs of one frame).

    ``removable``: dropping it leaves the identity. ``reducible``: it changes the shape, dropping it leaves its shortcut.
    ``fixed``: it is always kept.
    """

    name: str
    kind: Kind
    reason: str
    params: int
    macs: int


def find_units(model: nn.Module, frames: NDArray[np.float32]) -> list[Unit]:
    """The units of ``model`` in the order in which it runs them, found on one of ``frames`` (batch, 2, length).

    Raises PlanError where the model has no unit that can be dropped, runs one twice, puts something between them, or was
    pruned already.
    """
    reduced = [name for name, module in model.named_modules() if isinstance(module, ShortcutUnit)]
    if reduced:
        raise PlanError(f"the model was pruned already: {', '.join(reduced)} reduced; plan from the original model")
    named = {module: name for name, module in model.named_modules() if isinstance(module, ResidualUnit)}
    runs: list[tuple[ResidualUnit, Tensor, Tensor]] = []
    hooks = [
        unit.register_forward_hook(lambda module, inputs, output: runs.append((module, inputs[0], output)))
        for unit in named
    ]
    try:
        with evaluating(model):
            model(torch.from_numpy(frames[:1]))
    finally:
        for hook in hooks:
            hook.remove()
    _check_chain(named, runs)

    costs = cost(model, frames.shape[1:])
    units = []
    for module, before, after in runs:
        kind, reason = _kind(module, before, after)
        share = costs.within(named[module])
        units.append(Unit(named[module], kind, reason, share.params, share.macs))
    if all(unit.kind == "fixed" for unit in units):
        raise PlanError(
            f"{type(model).__name__} has no unit that can be dropped: expected residual units, found {len(units)}; "
            "layer pruning has nothing to do here, prune its channels instead"
        )
    return units


def _kind(module: ResidualUnit, before: Tensor, after: Tensor) -> tuple[Kind, str]:
    if not isinstance(module.shortcut, nn.Identity):
        return "reducible", f"{_shape(before)} to {_shape(after)}: its shortcut stays"
    return "removable", f"{_shape(before)} in and out"


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape[1:])


def _check_chain(named: dict[ResidualUnit, str], runs: list[tuple[ResidualUnit, Tensor, Tensor]]) -> None:
    order = [named[module] for module, _, _ in runs]
    repeated = {name for name in order if order.count(name) > 1}
    if repeated:
        raise PlanError(f"the model runs {', '.join(sorted(repeated))} more than once; each unit must run once")
    for (_, _, after), (_, before, _), name in zip(runs, runs[1:], order[1:], strict=False):
        if before is not after:
            raise PlanError(
                f"the input of {name} is not the output of the unit before it; expected a plain chain of residual units"
            )
