"""How each method that takes out layers chooses them, for the one search that brings all of them to a latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from deploy.progress import Progress, silent
from toolchain.baselines import plan_in_order, psr_choices, walked_back
from toolchain.compared import OURS
from toolchain.comparison.pruning import Opened, PruneAsked, planned_by
from toolchain.latency_budget import Planner, Work, dropped_runs
from toolchain.models import ModelCard
from toolchain.pruning import Budget, Choices, Plan, Unit, find_units, similarity_matrix


@dataclass(frozen=True, kw_only=True)
class InOrder:
    """A planner by an order of units, that of the plan of ``all_units``: those that come first stay, and come back first."""

    start: Opened
    all_units: Plan

    @property
    def model(self) -> nn.Module:
        """As :class:`toolchain.latency_budget.Planner` says, as all that follows."""
        return self.start.model

    @property
    def card(self) -> ModelCard:
        """That of the original."""
        return self.start.card

    @property
    def units(self) -> Sequence[Unit]:
        """Those of the original."""
        return self.all_units.units

    @property
    def order(self) -> list[int]:
        """The units that may go, the first being the last that does."""
        order: list[int] = self.all_units.settings["order"]
        return order

    def plan(self, budget: Budget) -> Plan:
        """In the order each unit that still fits."""
        told: dict[str, Any] = {name: self.all_units.settings.get(name) for name in ("units", "score")}
        names = [name for name in ("seed", "baseline") if name in self.all_units.settings]
        told |= {name: self.all_units.settings[name] for name in names}
        return plan_in_order(self.model, self.start.sample.frames, budget, lambda *_: self.order, **told)

    def smallest(self) -> Plan:
        """The fixed units, or the first in the order where there are none."""
        return self.plan(Budget(keep=max(1, len(self.units) - len(self.order))))

    def returning(self, plan: Plan, saved_ms: Sequence[float]) -> list[int]:
        """In the order, whatever they take."""
        first = [min(run, key=self.order.index) for run in dropped_runs(plan, self.units)]
        return sorted(first, key=self.order.index)

    def worth(self, plan: Plan) -> tuple[float, ...]:
        """The units, then how early they come in the order."""
        return len(plan.kept), -sum(self.order.index(index) for index in plan.kept if index in self.order)


def planner_of(asked: PruneAsked, start: Opened, progress: Progress = silent) -> Planner:
    """The planner of a method that takes out layers."""
    table = asked.choices.model_dump(exclude={"frames"})
    if asked.method == OURS:
        return _by_blocks(start, Choices(seed=start.seed, **table))
    if asked.method == "psr":
        choices = psr_choices(units=asked.choices.units)
        assert isinstance(choices.blocks, int)
        return _by_blocks(start, choices, cutting=partial(walked_back, blocks=choices.blocks))
    count = len(find_units(start.model, start.sample.frames, asked.choices.units))
    return InOrder(start=start, all_units=planned_by(asked, start, Budget(keep=count), progress))


def _by_blocks(start: Opened, choices: Choices, **cutting: Any) -> Work:
    frames = start.sample.frames
    units = find_units(start.model, frames, choices.units)
    matrix = similarity_matrix(start.model, frames, units, choices.similarity)
    return Work(
        matrix=matrix, model=start.model, card=start.card, frames=frames, units=units,
        choices=replace(choices, budget=None), **cutting,
    )  # fmt: skip
