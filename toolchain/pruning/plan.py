"""A pruning plan: a small value that says which units of which model stay, and why; and the model that it makes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import nn

from deploy.errors import first_line
from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.models import ModelCard
from toolchain.models.structure import Edit, edited
from toolchain.pruning.budget import Budget, whole_number
from toolchain.pruning.frames import LONGEST
from toolchain.pruning.units import Unit, find_units

SCHEMA = 2
# No model has as many parameters, and sums of such numbers are still quick to make.
LARGEST = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which units stay.

    ``units``: all of them, in order; ``boundaries``: the first index of each block; ``kept``: indices; ``scores``: the
    log-flow of the candidate chosen in each block, all other blocks whole; ``scored_by``: what chose it;
    ``candidate_log_flows``: for each block those of all candidates, sorted, thinned to at most 101; ``log_flow``: of the
    pruned network, in natural logarithms; ``log_flow_whole``: of the original; ``losses``: Fisher's loss of 1, 2, … blocks;
    ``params``, ``macs``: of the whole model; ``frame_shape``: (2, length); ``settings``: what was asked for; ``model``: the
    architecture and its arguments, where they are known. A log-flow is None where nothing flows, and where no unit has a
    linear form; of a model whose stem has none (a recurrent one) only differences between log-flows mean something.
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


_READER = TypeAdapter(Plan)


def plan_from_json(values: Mapping[str, Any]) -> Plan:
    """Raises PlanError for values that are no plan, or of another schema."""
    try:
        # By way of JSON, because that is where strict reading still takes an array for a tuple.
        text = json.dumps(values)
        written = json.loads(text)
        schema = written.pop("schema")
        if schema != SCHEMA:
            newer = whole_number(schema) is not None and schema > SCHEMA
            age = "a newer thinwave wrote it" if newer else "plan again"
            raise PlanError(f"the plan's schema is {schema}, this version reads {SCHEMA}; {age}")
        plan = _READER.validate_json(json.dumps(written), strict=True)
        # A key that nobody reads, or one left out, would be another value when written again.
        if json.loads(json.dumps(plan.to_json())) != json.loads(text):
            raise ValueError("its keys are not those of a plan")
        fault = next(_faults(plan), None)
        if fault is not None:
            raise ValueError(fault)
    except ValidationError as error:
        raise _no_plan(_first_of(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _no_plan(f"it has no {error}" if isinstance(error, KeyError) else str(error)) from error
    return plan


def _no_plan(why: str) -> PlanError:
    return PlanError(f"this is no pruning plan: {why}; expected what Plan.to_json writes, plan again")


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    got = repr(first["input"])
    return f"{'.'.join(map(str, first['loc']))} is {got if len(got) <= 60 else got[:57] + '...'}: {first['msg']}"


def _faults(plan: Plan) -> Iterator[str]:
    """What a plan cannot say although its types are right."""
    if not _rising(plan.kept, len(plan.units)):
        yield f"kept holds {_some(plan.kept)}, expected rising indices of its {len(plan.units)} units"
    if not _rising(plan.boundaries, len(plan.units)) or plan.boundaries[0] != 0:
        yield f"boundaries are {_some(plan.boundaries)}, expected rising indices from 0, under {len(plan.units)}"
    if not set(plan.fixed) <= set(plan.kept):
        yield "it drops a fixed unit"
    for name in ("scores", "scored_by", "candidate_log_flows"):
        if len(getattr(plan, name)) != len(plan.boundaries):
            yield f"{name} has {len(getattr(plan, name))} entries for {len(plan.boundaries)} blocks"
    flows = (
        *plan.scores,
        plan.log_flow,
        plan.log_flow_whole,
        *(each for some in plan.candidate_log_flows for each in some),
    )
    if not all(flow is None or math.isfinite(flow) for flow in flows):
        yield "a log-flow is not finite, expected a number or null"
    if not all(0 <= loss < math.inf for loss in plan.losses):
        yield "losses are not all finite numbers from 0"
    if not (1 <= plan.params < LARGEST and 1 <= plan.macs < LARGEST):
        yield f"params = {plan.params:.3g} and macs = {plan.macs:.3g}, expected both over 0"
    if len(plan.frame_shape) != 2 or plan.frame_shape[0] != 2 or not 1 <= plan.frame_shape[1] <= LONGEST:
        yield f"frame_shape is {_some(plan.frame_shape)}, expected 2 and a length from 1 to {LONGEST}"
    names = plan.settings.get("units", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield f"settings.units is {names!r:.60}, expected a list of names"
    for unit in plan.units:
        sizes = (unit.params, unit.macs, unit.activation_bytes, unit.shortcut_params, unit.shortcut_macs)
        if not all(0 <= size < LARGEST for size in (*sizes, *unit.input_shape, *unit.shape)):
            yield f"unit {unit.name} has a size that is negative or too large"


def _rising(indices: Sequence[int], end: int) -> bool:
    return bool(indices) and indices[0] >= 0 and indices[-1] < end and all(a < b for a, b in pairwise(indices))


def _some(numbers: Sequence[int]) -> str:
    return f"{list(numbers[:8])!r:.60}"


def settings_of(
    budget: Budget, frames: NDArray[np.float32], names: Sequence[str] | None, **asked: Any
) -> dict[str, Any]:
    """The ``settings`` of a plan: its budget, how many ``frames`` it was made on, the units' ``names``, and what was asked."""
    given = {name: value for name, value in asdict(budget).items() if value is not None}
    return {**given, "frames": len(frames), **asked, **({} if names is None else {"units": list(names)})}


def globs(names: object) -> list[str] | None:
    """Globs that name units, as a list; one alone may come as text. PlanError for anything else."""
    listed = [names] if isinstance(names, str) else names
    if listed is None:
        return None
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise PlanError(f'units = {names!r}: expected globs of module paths, like ["layers.*"]')
    return list(listed)


def with_model(plan: Plan, card: ModelCard) -> Plan:
    """``plan`` that says which model it is for."""
    described = {"architecture": card.architecture, "classes": list(card.classes), "length": card.length}
    return replace(plan, model={**described, "dropped": list(card.dropped)})


def pruned_card(card: ModelCard, plan: Plan) -> ModelCard:
    """The card of the model that ``plan`` makes of the one of ``card``."""
    widths = tuple(width for width in card.widths if not any(_goes(width.module, edit) for edit in plan.edits))
    return replace(
        card,
        dropped=(*card.dropped, *plan.dropped),
        edits=(*card.edits, *plan.edits),
        widths=widths,
        plan=plan.to_json(),
    )


def _goes(path: str, edit: Edit) -> bool:
    """Whether the module at ``path`` is gone after ``edit``."""
    if path != edit.module and not path.startswith(f"{edit.module}."):
        return False
    child = path.removeprefix(edit.module).removeprefix(".").partition(".")[0]
    return not (isinstance(edit.becomes, tuple) and child in edit.becomes)


def apply_plan(plan: Plan, model: nn.Module) -> nn.Module:
    """A new, smaller model with the kept units' weights; ``model`` is left as it was.

    Raises PlanError where the model's units are not those of the plan: another model, or one that was pruned already.
    """
    way_out = "Apply a plan to the model that it was made for, once"
    try:
        found = find_units(model, np.zeros((1, *plan.frame_shape), dtype=np.float32), plan.settings.get("units"))
    except Exception as error:  # whatever the model raises on frames that are not its own
        raise PlanError(
            f"the plan is for a model of {len(plan.units)} units; {first_line(error)}. {way_out}"
        ) from error
    if [_weight(unit) for unit in found] != [_weight(unit) for unit in plan.units]:
        raise PlanError(
            f"the plan is for a model of {len(plan.units)} units, this one has {len(found)}; "
            f"{_first_difference(plan.units, found)}. {way_out}"
        )
    whole = cost(model, plan.frame_shape)
    if (whole.params, whole.macs) != (plan.params, plan.macs):
        raise PlanError(
            f"the plan is for a model of {plan.params:,} parameters and {plan.macs:,} MACs, this one has {whole.params:,} "
            f"and {whole.macs:,}. {way_out}"
        )
    for unit, here in zip(plan.units, found, strict=True):
        # A plan comes from a file: it may choose among the units, not say what becomes of them.
        if unit.edits != here.edits:
            raise PlanError(
                f"dropping {unit.name} is written otherwise in the plan than this model does it; plan again"
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
