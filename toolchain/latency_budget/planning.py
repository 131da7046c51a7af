"""The plan that keeps within a latency what its blocks or its flow ask for, held to what the pruned model really takes.

Unit latencies do not add up exactly: a runtime fuses across units, and what is left lies in the cache. So the plan is made,
exported and read; the unit latencies are corrected by what was read, once, and the plan made anew where that says so. From
there on the room is made smaller while nothing read fits, and units come back to the best that does for as long as that fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deploy.progress import Progress, silent
from toolchain.errors import NoRoomError
from toolchain.latency_budget.limit import Limit
from toolchain.latency_budget.meters import Meter, Reading
from toolchain.latency_budget.unit_latencies import UnitLatencies, alike_in_a_row
from toolchain.models import ModelCard
from toolchain.pruning import (
    Budget,
    Choices,
    Cutting,
    Latency,
    Plan,
    Unit,
    allotment,
    apply_plan,
    below_share,
    least_to_keep,
    log_flows_with,
    plan_on,
    pruned_card,
    with_unit,
)

Matrix = NDArray[np.float64]
# By this much the whole model is over the limit at the least, and a room is made smaller.
LEAST_OVER, LEAST_STEP = 1.001, 1e-6
# Two are the least, the last being of what does not fit; how many more nobody knows.
FEWEST_READINGS = 2
# A dropped unit hardly takes less than this part of what was read of it: with less left for it a brief reading has to do.
LIKELY_PART = 0.8


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


class Planner(Protocol):
    """A way of choosing among the ``units`` of a ``model`` with its ``card``."""

    @property
    def model(self) -> nn.Module:
        """The model that is pruned."""

    @property
    def card(self) -> ModelCard:
        """Its card."""

    @property
    def units(self) -> Sequence[Unit]:
        """Its units."""

    def plan(self, budget: Budget) -> Plan:
        """The plan within a budget; raises PlanError, of which NoRoomError where none is."""

    def smallest(self) -> Plan:
        """The plan that keeps as little as can be."""

    def returning(self, plan: Plan, saved_ms: Sequence[float]) -> list[int]:
        """Of the units that ``plan`` drops one of each run of alike ones, in the order in which they should come back.

        Whichever of a run comes back, the network takes the same. ``saved_ms`` is what each unit takes.
        """

    def worth(self, plan: Plan) -> tuple[float, ...]:
        """By what plans that fit are compared."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A planner by blocks: the similarity ``matrix`` of a model's ``units``, the model and its card, the frames.

    ``choices`` have no budget, which is made of the latencies; ``cutting`` is as :func:`toolchain.pruning.plan_on` takes it.
    """

    matrix: Matrix
    model: nn.Module
    card: ModelCard
    frames: NDArray[np.float32]
    units: Sequence[Unit]
    choices: Choices
    cutting: Cutting | None = None

    def plan(self, budget: Budget) -> Plan:
        """The plan within a budget; raises PlanError."""
        choices = replace(self.choices, budget=budget, allot=self.allot)
        plan = plan_on(self.matrix, self.model, self.frames, self.units, choices, cutting=self.cutting)
        return replace(plan, settings={**plan.settings, "allot": self.allot})

    def smallest(self) -> Plan:
        """The plan that keeps as little as blocks and fixed units allow."""
        return self.plan(Budget(keep=least_to_keep(self.matrix, self.units, self.choices)))

    def returning(self, plan: Plan, saved_ms: Sequence[float]) -> list[int]:
        """Those of the block furthest below its share first, where blocks have shares; of them, those that take least.

        Of a run that comes back which the flow would take, and where that says nothing the first.
        """
        away = dropped_runs(plan, self.units)
        dropped = [index for run in away for index in run]
        told = log_flows_with(plan, dropped, self.model) if _by_flow(plan) else [None] * len(dropped)
        sign = 1.0 if self.choices.direction == "max" else -1.0
        flows = {index: -math.inf if flow is None else sign * flow for index, flow in zip(dropped, told, strict=True)}

        def short(index: int) -> Fraction:
            if self.allot == "flow":
                return Fraction(0)
            block = next(block for block in plan.blocks if index in block)
            return below_share(block, len(set(block).intersection(plan.kept)), len(plan.kept) + 1, len(plan.units))

        chosen = [max(run, key=lambda index: flows[index]) for run in away]
        return sorted(chosen, key=lambda index: (-short(index), saved_ms[index], index))

    def worth(self, plan: Plan) -> tuple[float, ...]:
        """The flow that is left where flow was bought, else the units, then the flow."""
        flow = -math.inf
        if _by_flow(plan) and self.choices.direction == "max" and plan.log_flow is not None:
            flow = plan.log_flow
        return flow if self.allot == "flow" else -math.inf, len(plan.kept), flow

    @cached_property
    def allot(self) -> str:
        """How the budget is spent: "flow" or "shares"."""
        if self.choices.allot != "auto":
            return self.choices.allot
        return allotment(self.model, self.units, self.frames.shape[1:], self.choices)


def dropped_runs(plan: Plan, units: Sequence[Unit]) -> list[list[int]]:
    """The units that ``plan`` drops, in runs of neighbours that do the same work on as much data."""
    away = [[index for index in run if index not in plan.kept] for run in alike_in_a_row(units)]
    return [run for run in away if run]


def plan_within(
    limit: Limit, latencies: UnitLatencies, meter: Meter, work: Planner, folder: Path, *, progress: Progress = silent
) -> Pruned:
    """The plan by ``work`` that was read to be within ``limit``, at the upper end of its interval.

    With any dropped unit put back it was read not to be: thoroughly, or briefly where by far too little is left for it. Of
    units that leave the same network whichever of them goes, one was read for all. Files are written
    into ``folder``.

    Raises NoRoomError where no plan that was read is fast enough, with the fastest, and PlanError as planning does.
    """
    limit.check(latencies.whole_ms)
    limit_ms = limit.in_ms(latencies.whole_ms)
    prices = Latency(limit_ms=limit_ms, whole_ms=latencies.whole_ms, saved_ms=latencies.saved_ms)
    whole = meter.write(work.model, work.card, folder, "whole")
    readings = _Readings(limit, latencies, meter, work, folder, whole, progress)
    plan, why = _plan(work, prices, limit_ms), "first plan"
    if plan is None:
        # Each unit by itself may save less than all of them together: how fast the smallest model is has to be read.
        plan, why = work.smallest(), "smallest plan"
    found = readings.read(plan, prices, why)
    prices = corrected(prices, plan.kept, found.ms)
    if not found.fits or any(
        foreseen_ms(prices, (*plan.kept, one)) <= limit_ms for one in work.returning(plan, prices.saved_ms)
    ):
        # The upper end of the interval has to fit: what is not known of a reading is kept free.
        again = _plan(work, prices, limit_ms - (found.at_most_ms - found.ms))
        if again is not None:
            plan, found = again, readings.read(again, prices, "unit latencies corrected")
    while not readings.fitting:
        over = max(found.at_most_ms - limit_ms, LEAST_STEP * limit_ms)
        smaller = _plan(work, prices, foreseen_ms(prices, plan.kept) - over)
        if smaller is None or smaller.kept in readings.seen:
            smaller = work.smallest()
            if smaller.kept in readings.seen:
                raise readings.no_room(limit_ms)
        plan, found = smaller, readings.read(smaller, prices, "less room")
    plan = readings.best()
    while (larger := _one_more(readings, prices, plan, limit_ms)) is not None:
        plan = larger
    return Pruned(
        plan=replace(plan, settings=_settings(plan, limit, limit_ms, latencies)),
        limit_ms=limit_ms,
        whole_ms=latencies.whole_ms,
        reading=readings.of[plan.kept],
        attempts=tuple(readings.seen.values()),
    )


@dataclass
class _Readings:
    """Plans that were read, each once: the attempts by what is kept, the readings behind them, and the plans that fit."""

    limit: Limit
    latencies: UnitLatencies
    meter: Meter
    work: Planner
    folder: Path
    whole: Path
    progress: Progress
    seen: dict[tuple[int, ...], Attempt] = field(default_factory=dict)
    of: dict[tuple[int, ...], Reading] = field(default_factory=dict)
    fitting: list[Plan] = field(default_factory=list)

    def read(self, plan: Plan, prices: Latency, why: str, *, likely: bool = True) -> Attempt:
        """Export the model of ``plan`` and read it beside the original, once; what is not ``likely`` to fit briefly first."""
        if plan.kept in self.seen:
            return self.seen[plan.kept]
        done, work = len(self.seen), self.work
        self.progress(done, max(FEWEST_READINGS, done + 1), f"{why}: {len(plan.kept)} units")
        path = self.meter.write(apply_plan(plan, work.model), pruned_card(work.card, plan), self.folder, "pruned")
        limit_ms = self.limit.in_ms(self.latencies.whole_ms)
        for thorough in (True,) if likely else (False, True):
            reading = self.meter.read(path, self.whole, work.card.length, thorough=thorough)
            ms, at_most_ms = self.limit.taken(reading, self.latencies.whole_ms)
            if at_most_ms > limit_ms:
                break
        attempt = Attempt(
            why=why, kept=plan.kept, foreseen_ms=foreseen_ms(prices, plan.kept), ms=ms, at_most_ms=at_most_ms,
            fits=at_most_ms <= limit_ms,
        )  # fmt: skip
        self.seen[plan.kept], self.of[plan.kept] = attempt, reading
        if attempt.fits:
            self.fitting.append(plan)
        return attempt

    def best(self) -> Plan:
        """Of the plans that fit the one that is worth most."""
        return max(self.fitting, key=self.work.worth)

    def no_room(self, limit_ms: float) -> NoRoomError:
        """The error where nothing fits, with the fastest that was read."""
        fastest = min(self.seen.values(), key=lambda attempt: attempt.at_most_ms)
        return NoRoomError(
            f"{self.limit}: no plan makes this model that fast; the fastest keeps {len(fastest.kept)} of "
            f"{len(self.work.units)} units and was {self.meter.kind} to take {fastest.ms:.4g} ms, and {limit_ms:.4g} are "
            "asked for: allow more, or take a smaller model"
        )


def _plan(work: Planner, prices: Latency, room_ms: float) -> Plan | None:
    """The plan in ``room_ms`` milliseconds by these prices; None where these say that there is none."""
    if room_ms <= 0:
        return None
    try:
        return work.plan(Budget(latency=replace(prices, limit_ms=room_ms)))
    except NoRoomError:
        return None


def _one_more(readings: _Readings, prices: Latency, plan: Plan, limit_ms: float) -> Plan | None:
    """``plan`` with one unit put back that was read to fit; None where there is none."""
    work, left_ms = readings.work, limit_ms - readings.seen[plan.kept].ms
    for index in work.returning(plan, prices.saved_ms):
        larger = with_unit(plan, index, work.model)
        likely = LIKELY_PART * prices.saved_ms[index] <= left_ms
        if readings.read(larger, prices, f"{work.units[index].name} put back", likely=likely).fits:
            return larger
    return None


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


def _by_flow(plan: Plan) -> bool:
    """Whether the flow chose the units, in every block: where one has no linear form it says nothing."""
    return set(plan.scored_by) == {"synflow"}


def _settings(plan: Plan, limit: Limit, limit_ms: float, latencies: UnitLatencies) -> dict[str, object]:
    """The plan's settings with the budget as it was asked for, and what its units took, labelled."""
    others = {name: value for name, value in plan.settings.items() if name not in ("latency", "keep")}
    told = {
        "asked": str(limit),
        "limit_ms": limit_ms,
        "kind": latencies.kind,
        "under": dict(latencies.under),
        "whole_ms": latencies.whole_ms,
        "saved_ms": list(latencies.saved_ms),
    }
    return {"latency": told, **others}
