"""Units drawn at random: what every way of choosing has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from toolchain.cost import Cost, cost
from toolchain.pruning import Budget, Plan, Unit, find_units
from toolchain.pruning.budget import count_to_keep, no_room, room_within
from toolchain.pruning.frames import as_frames, require_finite
from toolchain.pruning.plan import globs, settings_of
from toolchain.pruning.planning import seed_asked
from toolchain.pruning.synflow import linear_chain


def random_layers(
    model: nn.Module,
    frames: ArrayLike | Tensor,
    *,
    keep: int | float | None = None,
    macs_cut: float | None = None,
    params_cut: float | None = None,
    seed: int,
    units: Sequence[str] | None = None,
) -> Plan:
    """Units of ``model`` drawn from the whole network, without blocks; ``frames`` (batch, 2, length) say the shape alone.

    The units that can be dropped are put into one random order, by ``seed``. A plan of m units keeps the fixed ones and
    the first of that order, so a larger plan holds every smaller one; within a cut of MACs or parameters that order is
    gone through, and each unit that still fits is kept.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    budget = Budget(keep=keep, macs_cut=macs_cut, params_cut=params_cut)
    seed = seed_asked(seed)
    require_finite(model)
    units, frames = globs(units), as_frames(frames)
    found = find_units(model, frames, units)
    shape = tuple(frames.shape[1:])
    whole = cost(model, shape)
    kept = _drawn(found, whole, budget, np.random.default_rng(seed))
    chain = linear_chain(model, shape, units)
    flow_whole, flow = chain.flows(kept)
    return Plan(
        units=tuple(found),
        boundaries=(0,),
        kept=kept,
        scores=(chain.told(flow),),
        scored_by=("random",),
        candidate_log_flows=((),),
        log_flow=chain.told(flow),
        log_flow_whole=chain.told(flow_whole),
        # Nobody looked for blocks.
        losses=(),
        params=whole.params,
        macs=whole.macs,
        frame_shape=shape,
        settings=settings_of(budget, frames, units, blocks=1, score="random", seed=seed, baseline="random"),
    )


def _drawn(units: Sequence[Unit], whole: Cost, budget: Budget, rng: np.random.Generator) -> tuple[int, ...]:
    """The units that stay: the fixed ones, and as many of one random order of the others as the budget has room for."""
    fixed = [index for index, unit in enumerate(units) if unit.kind == "fixed"]
    order: list[int] = rng.permutation([index for index in range(len(units)) if index not in fixed]).tolist()
    if budget.cut is None:
        count = count_to_keep(budget.keep, len(units), len(fixed), max(1, len(fixed)))
        return tuple(sorted((*fixed, *order[: count - len(fixed)])))
    room, kept = room_within(budget, units, whole), list(fixed)
    for index in order:
        if room.fits([*kept, index]):
            kept.append(index)
    if not kept or not room.fits(kept):
        nearest = kept or room.cheapest(range(len(units)), 1)
        raise no_room(budget, len(nearest), len(units), room.removed(nearest))
    return tuple(sorted(kept))
