"""The plan that keeps the most flow within a latency, held to what the pruned model really takes.

Unit latencies do not add up exactly: a runtime fuses across units, and what is left lies in the cache. So the plan is made,
exported and read; the unit latencies are corrected by what was read, once, and the plan made anew where that says so. From
there on the room is made smaller while the model is too slow, and a unit comes back while that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deploy.progress import Progress, silent
from toolchain.errors import PlanError
from toolchain.latency_budget.limit import Limit
from toolchain.latency_budget.meters import Meter, Reading
from toolchain.latency_budget.unit_latencies import UnitLatencies
from toolchain.models import ModelCard
from toolchain.pruning import Budget, Choices, Plan, Unit, apply_plan, plan_on, with_unit
from toolchain.pruning.budget import Latency

Matrix = NDArray[np.float64]
FEWEST_READINGS = 2
# By this much the whole model is over the limit at the least.
LEAST_OVER = 1.001


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A plan that was read: the units kept, what its unit latencies said beforehand, what it takes, and at most takes."""

    why: str
    kept: tuple[int, ...]
    foreseen_ms: float
    ms: float
    at_most_ms: float
    fits: bool


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A plan within the limit, and how it was found; ``limit_ms`` is the limit where the original takes ``whole_ms``."""

    plan: Plan
    limit_ms: float
    whole_ms: float
    reading: Reading
    attempts: tuple[Attempt, ...]


def plan_within(
    limit: Limit,
    latencies: UnitLatencies,
    meter: Meter,
    *,
    matrix: Matrix,
    model: nn.Module,
    card: ModelCard,
    frames: NDArray[np.float32],
    units: Sequence[Unit],
    choices: Choices,
    folder: Path,
    progress: Progress = silent,
) -> Pruned:
    """Plan on the similarity ``matrix`` of ``units``; ``choices`` but for the budget, which is made here.

    The result was read to be within ``limit``, at the upper end of its interval, and with the dropped unit put back that takes
    least it was read not to be.

    Raises PlanError where no plan is fast enough, with the nearest.
    """
    limit_ms = limit.in_ms(latencies.whole_ms)
    prices = Latency(limit_ms=limit_ms, whole_ms=latencies.whole_ms, saved_ms=latencies.saved_ms)
    whole = meter.write(model, card, folder, "whole")
    attempts: list[Attempt] = []
    seen: dict[tuple[int, ...], tuple[Attempt, Reading]] = {}

    def planned(prices: Latency, limit_ms: float) -> Plan:
        budget = Budget(latency=replace(prices, limit_ms=limit_ms))
        return plan_on(matrix, model, frames, units, replace(choices, budget=budget))

    def read(plan: Plan, why: str) -> tuple[Attempt, Reading]:
        if plan.kept in seen:
            return seen[plan.kept]
        # Two are the least, the last being of what does not fit; how many more nobody knows.
        progress(len(attempts), max(FEWEST_READINGS, len(attempts) + 1), f"{why}: {len(plan.kept)} units")
        path = meter.write(apply_plan(plan, model), card, folder, "pruned")
        reading = meter.read(path, whole, card.length, thorough=True)
        ms, at_most_ms = limit.taken(reading, latencies.whole_ms)
        attempts.append(
            Attempt(
                why=why, kept=plan.kept, foreseen_ms=foreseen_ms(prices, plan.kept), ms=ms, at_most_ms=at_most_ms,
                fits=at_most_ms <= limit_ms,
            )
        )  # fmt: skip
        seen[plan.kept] = attempts[-1], reading
        return seen[plan.kept]

    try:
        plan, why = planned(prices, limit_ms), "first plan"
    except PlanError:
        # Each unit by itself may save less than all of them together: how fast the smallest model is has to be read.
        least = max(1, sum(unit.kind == "fixed" for unit in units))
        smallest = replace(choices, budget=Budget(keep=least), blocks="auto")
        plan, why = plan_on(matrix, model, frames, units, smallest), "smallest plan"
    found, reading = read(plan, why)
    prices = corrected(prices, plan.kept, found.ms)
    if not found.fits or foreseen_ms(prices, with_cheapest(prices, plan)) <= limit_ms:
        # The upper end of the interval has to fit: what is not known of a reading is kept free.
        again = planned(prices, limit_ms - (found.at_most_ms - found.ms))
        if again.kept != plan.kept:
            plan = again
            found, reading = read(plan, "unit latencies corrected")
    while not found.fits:
        plan = planned(prices, foreseen_ms(prices, plan.kept) - (found.at_most_ms - limit_ms))
        found, reading = read(plan, "less room")
    while (larger := with_cheapest(prices, plan)) != plan.kept:
        (index,) = set(larger).difference(plan.kept)
        candidate = with_unit(plan, index, model)
        found, tried = read(candidate, f"{units[index].name} put back")
        if not found.fits:
            break
        plan, reading = candidate, tried
    return Pruned(plan=plan, limit_ms=limit_ms, whole_ms=latencies.whole_ms, reading=reading, attempts=tuple(attempts))


def foreseen_ms(prices: Latency, kept: Sequence[int]) -> float:
    """What unit latencies say that a model takes of which only the units ``kept`` stay."""
    stays = frozenset(kept)
    return prices.whole_ms - sum(saved for index, saved in enumerate(prices.saved_ms) if index not in stays)


def corrected(prices: Latency, kept: Sequence[int], ms: float) -> Latency:
    """Unit latencies that agree with a reading of ``kept``: what its dropped units saved more or less than each alone.

    That is the whole's, and not spread over the units: what one more or less takes is near what was read of it.
    """
    dropped_ms = prices.whole_ms - foreseen_ms(prices, kept)
    # All units are not foreseen to fit, because they were read not to.
    return replace(prices, whole_ms=max(ms + dropped_ms, LEAST_OVER * prices.limit_ms))


def with_cheapest(prices: Latency, plan: Plan) -> tuple[int, ...]:
    """The units kept and the dropped one that takes least, the earliest of several; those kept where none is dropped."""
    dropped = [index for index in range(len(plan.units)) if index not in plan.kept]
    if not dropped:
        return plan.kept
    return tuple(sorted((*plan.kept, min(dropped, key=lambda index: (prices.saved_ms[index], index)))))
