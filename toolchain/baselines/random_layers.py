"""Units drawn at random: what every way of choosing has to beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from toolchain.cost import Cost, cost
from toolchain.errors import PlanError
from toolchain.pruning import Budget, Plan, Unit, find_units, units_to_keep
from toolchain.pruning.budget import ROUNDING
from toolchain.pruning.synflow import linear_chain, one_thread


def random_layers(
    model: nn.Module,
    frames: NDArray[np.float32],
    *,
    keep: int | float | None = None,
    macs_cut: float | None = None,
    params_cut: float | None = None,
    seed: int,
    units: Sequence[str] | None = None,
) -> Plan:
    """Units of ``model`` drawn from the whole network, without blocks; ``frames`` (batch, 2, length) say the shape alone.

    The units that can be dropped are put into one random order, by ``seed``. A plan of m units keeps the fixed ones and
    the first of that order, so a larger plan holds every smaller one, and a cut of MACs or parameters gets the largest m
    whose draw fits.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    budget = Budget(keep=keep, macs_cut=macs_cut, params_cut=params_cut)
    found = find_units(model, frames, units)
    shape = tuple(frames.shape[1:])
    whole = cost(model, shape)
    kept = _drawn(found, whole, budget, np.random.default_rng(seed))
    with one_thread():
        chain = linear_chain(model, shape, units)
        flow_whole, flow = chain.log_flow(range(len(found))), chain.log_flow(kept)
    asked = {name: value for name, value in vars(budget).items() if value is not None}
    return Plan(
        units=tuple(found),
        boundaries=(0,),
        kept=kept,
        scores=(_finite(flow),),
        scored_by=("random",),
        candidate_log_flows=((),),
        log_flow=_finite(flow),
        log_flow_whole=_finite(flow_whole),
        # Nobody looked for blocks.
        losses=(),
        params=whole.params,
        macs=whole.macs,
        frame_shape=shape,
        settings={
            **asked,
            "frames": len(frames),
            "blocks": 1,
            "score": "random",
            "seed": seed,
            "baseline": "random",
            **({} if units is None else {"units": list(units)}),
        },
    )


def _drawn(units: Sequence[Unit], whole: Cost, budget: Budget, rng: np.random.Generator) -> tuple[int, ...]:
    """The units that stay: the fixed ones, and as many of one random order of the others as the budget has room for."""
    fixed = [index for index, unit in enumerate(units) if unit.kind == "fixed"]
    order: list[int] = rng.permutation([index for index in range(len(units)) if index not in fixed]).tolist()
    least = max(1, len(fixed))

    def of(count: int) -> tuple[int, ...]:
        return tuple(sorted((*fixed, *order[: count - len(fixed)])))

    if budget.cut is None:
        assert budget.keep is not None  # a budget is one of three
        count = units_to_keep(budget.keep, len(units))
        if count < least:
            raise PlanError(
                f"keep = {budget.keep} asks for {count} of {len(units)} units, but {len(fixed)} are fixed and always kept; "
                f"expected {least} to {len(units)}"
            )
        return of(count)
    what, fraction = budget.cut
    # Each of these draws holds the next: the first that fits is the largest.
    for kept in map(of, range(len(units) - 1, least - 1, -1)):
        if _removed(units, whole, kept, what) >= fraction - ROUNDING:
            return kept
    most = _removed(units, whole, of(least), what)
    raise PlanError(
        f"{what}_cut = {fraction:g}: no plan removes that much; this draw keeps {least} of {len(units)} units at least and "
        f"removes {most:.2%}: ask for at most {what}_cut = {int(most * 1e4) / 1e4:g}, or take another seed"
    )


def _removed(units: Sequence[Unit], whole: Cost, kept: Sequence[int], what: str) -> float:
    """The fraction of the MACs or parameters that goes with all units but ``kept``."""
    gone = [unit for index, unit in enumerate(units) if index not in kept]
    if what == "macs":
        return sum(unit.macs - unit.shortcut_macs for unit in gone) / whole.macs
    return sum(unit.params - unit.shortcut_params for unit in gone) / whole.params


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
