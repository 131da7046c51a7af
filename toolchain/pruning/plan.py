"""A pruning plan: a small value that says which units of which model stay, and why; and the model that it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from toolchain.errors import ModelError, PlanError
from toolchain.models.structure import Edit, edit_from_json, edited
from toolchain.pruning.units import Unit, find_units

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which units stay.

    ``units``: all of them, in order; ``boundaries``: the first index of each block; ``kept``: indices; ``scores``: the
    log-flow of the candidate chosen in each block, all other blocks whole; ``scored_by``: what chose it;
    ``candidate_log_flows``: for each block those of all candidates, sorted, thinned to at most 101; ``log_flow``: of the
    pruned network, in natural logarithms; ``log_flow_whole``: of the original; ``losses``: Fisher's loss of 1, 2, … blocks;
    ``params``, ``macs``: of the whole model; ``frame_shape``: (2, length); ``settings``: what was asked for; ``model``: the
    architecture and its arguments, where they are known. A log-flow is None where nothing flows, or a stem has no linear form.
    """

    units: tuple[Unit, ...]
    boundaries: tuple[int, ...]
    kept: tuple[int, ...]
    scores: tuple[float | None, ...]
    scored_by: tuple[str, ...]
    candidate_log_flows: tuple[tuple[float, ...], ...]
    log_flow: float | None
    log_flow_whole: float | None
    losses: tuple[float, ...]
    params: int
    macs: int
    frame_shape: tuple[int, ...]
    settings: Mapping[str, Any]
    model: Mapping[str, Any] | None = None

    @property
    def fixed(self) -> tuple[int, ...]:
        """Indices of the units that cannot be dropped."""
        return tuple(index for index, unit in enumerate(self.units) if unit.kind == "fixed")

    @property
    def dropped_units(self) -> tuple[Unit, ...]:
        """The units that go."""
        kept = frozenset(self.kept)
        return tuple(unit for index, unit in enumerate(self.units) if index not in kept)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the units that go."""
        return tuple(unit.name for unit in self.dropped_units)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What makes the pruned model of the original."""
        return tuple(edit for unit in self.dropped_units for edit in unit.edits)

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The indices of each block's units."""
        ends = (*self.boundaries[1:], len(self.units))
        return tuple(tuple(range(start, end)) for start, end in zip(self.boundaries, ends, strict=True))

    @property
    def macs_left(self) -> int:
        """MACs of the pruned model."""
        return self.macs - sum(unit.macs - unit.shortcut_macs for unit in self.dropped_units)

    @property
    def params_left(self) -> int:
        """Parameters of the pruned model."""
        return self.params - sum(unit.params - unit.shortcut_params for unit in self.dropped_units)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values; :func:`plan_from_json` reads them."""
        return {"schema": SCHEMA, **asdict(self)}


def plan_from_json(values: Mapping[str, Any]) -> Plan:
    """Raises PlanError for values that are no plan, or of another schema."""
    try:
        fields = dict(values)
        schema = fields.pop("schema")
        if schema != SCHEMA:
            age = "a newer thinwave wrote it" if isinstance(schema, int) and schema > SCHEMA else "plan again"
            raise PlanError(f"the plan's schema is {schema}, this version reads {SCHEMA}; {age}")
        listed = ("boundaries", "kept", "scores", "scored_by", "losses", "frame_shape")
        plan = Plan(
            **{
                **fields,
                "units": tuple(_unit(unit) for unit in fields["units"]),
                "candidate_log_flows": tuple(tuple(flows) for flows in fields["candidate_log_flows"]),
                **{name: tuple(fields[name]) for name in listed},
            }
        )
        json.dumps(plan.to_json())
        indices = (*plan.boundaries, *plan.kept)
        if not all(type(index) is int and 0 <= index < len(plan.units) for index in indices):
            raise ValueError("an index that is no unit")
        if not set(plan.fixed) <= set(plan.kept):
            raise ValueError("it drops a fixed unit")
        numbers = (plan.params, plan.macs, *plan.frame_shape)
        if len(plan.frame_shape) != 2 or not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
            raise ValueError("wrong types")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"this is no pruning plan: {error!r}; expected what Plan.to_json writes") from error
    return plan


def _unit(values: Mapping[str, Any]) -> Unit:
    edits = tuple(edit_from_json(edit) for edit in values["edits"])
    shapes = {name: tuple(values[name]) for name in ("input_shape", "shape")}
    unit = Unit(**{**values, **shapes, "edits": edits})
    if unit.kind not in ("removable", "reducible", "fixed") or not isinstance(unit.name, str):
        raise ValueError("no unit")
    return unit


def apply_plan(plan: Plan, model: nn.Module) -> nn.Module:
    """A new, smaller model with the kept units' weights; ``model`` is left as it was.

    Raises PlanError where the model's units are not those of the plan: another model, or one that was pruned already.
    """
    way_out = "Apply a plan to the model that it was made for, once"
    try:
        found = find_units(model, np.zeros((1, *plan.frame_shape), dtype=np.float32), plan.settings.get("units"))
    except (PlanError, ModelError) as error:
        raise PlanError(f"the plan is for a model of {len(plan.units)} units; {error}. {way_out}") from error
    if [_weight(unit) for unit in found] != [_weight(unit) for unit in plan.units]:
        raise PlanError(
            f"the plan is for a model of {len(plan.units)} units, this one has {len(found)}; "
            f"{_first_difference(plan.units, found)}. {way_out}"
        )
    return edited(model, plan.edits)


def _weight(unit: Unit) -> tuple[str, str, int, int]:
    return unit.name, unit.kind, unit.params, unit.macs


def _first_difference(expected: Sequence[Unit], found: Sequence[Unit]) -> str:
    names = [unit.name for unit in found]
    lacking = [unit.name for unit in expected if unit.name not in names]
    if lacking:
        return f"it lacks {', '.join(lacking[:3])}"
    for unit, other in zip(expected, found, strict=False):
        if _weight(unit) != _weight(other):
            return (
                f"{other.name} is {other.kind} with {other.params:,} parameters and {other.macs:,} MACs, the plan's "
                f"{unit.name} {unit.kind} with {unit.params:,} and {unit.macs:,}"
            )
    return "it has others"
