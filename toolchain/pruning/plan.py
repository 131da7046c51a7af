"""A pruning plan: a small value that says which units of which model stay, and why; and the model that it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from toolchain.errors import PlanError
from toolchain.models import without_units
from toolchain.models.residual import ResidualUnit
from toolchain.pruning.units import Unit

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which units stay.

    ``units``: all of them, in order; ``boundaries``: the first index of each block; ``kept``: indices; ``scores``: the
    log-flow of the candidate chosen in each block, all other blocks whole; ``log_flow``: of the pruned network, in natural
    logarithms; ``log_flow_whole``: of the original; ``losses``: Fisher's loss of 1, 2, … blocks; ``settings``: what was
    asked for; ``model``: the architecture and its arguments, where they are known.
    """

    units: tuple[Unit, ...]
    boundaries: tuple[int, ...]
    kept: tuple[int, ...]
    scores: tuple[float, ...]
    log_flow: float
    log_flow_whole: float
    losses: tuple[float, ...]
    settings: Mapping[str, Any]
    model: Mapping[str, Any] | None = None

    @property
    def fixed(self) -> tuple[int, ...]:
        """Indices of the units that cannot be dropped."""
        return tuple(index for index, unit in enumerate(self.units) if unit.kind == "fixed")

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the units that go."""
        kept = frozenset(self.kept)
        return tuple(unit.name for index, unit in enumerate(self.units) if index not in kept)

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The indices of each block's units."""
        ends = (*self.boundaries[1:], len(self.units))
        return tuple(tuple(range(start, end)) for start, end in zip(self.boundaries, ends, strict=True))

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values; :func:`plan_from_json` reads them."""
        return {"schema": SCHEMA, **asdict(self)}


def plan_from_json(values: Mapping[str, Any]) -> Plan:
    """Raises PlanError for values that are no plan, or of a newer schema."""
    fields = dict(values)
    try:
        schema = fields.pop("schema")
        if schema != SCHEMA:
            raise PlanError(f"the plan's schema is {schema}, this version reads {SCHEMA}; a newer thinwave wrote it")
        plan = Plan(
            **{
                **fields,
                "units": tuple(Unit(**unit) for unit in fields["units"]),
                **{name: tuple(fields[name]) for name in ("boundaries", "kept", "scores", "losses")},
            }
        )
        json.dumps(plan.to_json())
        indices = (*plan.boundaries, *plan.kept)
        if not all(isinstance(index, int) and 0 <= index < len(plan.units) for index in indices):
            raise ValueError("an index that is no unit")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"this is no pruning plan: {error!r}; expected what Plan.to_json writes") from error
    return plan


def apply_plan(plan: Plan, model: nn.Module) -> nn.Module:
    """A new, smaller model with the kept units' weights; ``model`` is left as it was.

    Raises PlanError where the model's units are not those of the plan: another model, or one that was pruned already.
    """
    found = [name for name, module in model.named_modules() if isinstance(module, ResidualUnit)]
    expected = [unit.name for unit in plan.units]
    if sorted(found) != sorted(expected):
        lacking = [name for name in expected if name not in found]
        detail = f"it lacks {', '.join(lacking[:3])}" if lacking else "it has others"
        raise PlanError(
            f"the plan is for a model of {len(expected)} units, this one has {len(found)}; {detail}. "
            "Apply a plan to the model that it was made for, once"
        )
    return without_units(model, plan.dropped)
