"""Plans of an order of units: those that come first stay, as many as a budget has room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from toolchain.cost import Cost, cost
from toolchain.pruning import Budget, Plan, Unit, find_units
from toolchain.pruning.budget import count_to_keep, no_room, room_within
from toolchain.pruning.frames import require_finite
from toolchain.pruning.plan import settings_of
from toolchain.pruning.synflow import linear_chain

# A model's units, and the indices of those that may go, to these indices in the order in which they stay.
Order = Callable[[Sequence[Unit], Sequence[int]], Sequence[int]]


def plan_in_order(
    model: nn.Module,
    frames: NDArray[np.float32],
    budget: Budget,
    order: Order,
    *,
    units: Sequence[str] | None,
    score: str,
    **settings: Any,
) -> Plan:
    """Keep the fixed units of ``model``, and in their ``order`` those that the budget has room for; ``score`` names the order.

    ``frames`` (batch, 2, length) say the shape alone; ``settings`` are for the plan to remember, and the order is
    among them. A plan of m units holds every smaller one.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    require_finite(model)
    found = find_units(model, frames, units)
    shape = tuple(frames.shape[1:])
    whole = cost(model, shape)
    free = [index for index, unit in enumerate(found) if unit.kind != "fixed"]
    in_order = list(order(found, free))
    kept = _first(found, whole, budget, in_order)
    chain = linear_chain(model, shape, units)
    flow_whole, flow = chain.flows(kept)
    return Plan(
        units=tuple(found),
        boundaries=(0,),
        kept=kept,
        scores=(chain.told(flow),),
        scored_by=(score,),
        candidate_log_flows=((),),
        log_flow=chain.told(flow),
        log_flow_whole=chain.told(flow_whole),
        # Nobody looked for blocks.
        losses=(),
        params=whole.params,
        macs=whole.macs,
        frame_shape=shape,
        settings=settings_of(budget, frames, units, blocks=1, score=score, order=in_order, **settings),
    )


def _first(units: Sequence[Unit], whole: Cost, budget: Budget, order: Sequence[int]) -> tuple[int, ...]:
    fixed = [index for index, unit in enumerate(units) if unit.kind == "fixed"]
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
