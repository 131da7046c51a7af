"""What each unit of a model takes on a target: the model with it and without it, in turns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import JsonValue, NonNegativeFloat, PositiveFloat
from torch import nn

from deploy.progress import Progress, silent
from deploy.regular_file import read_whole
from deploy.strict_reading import Strict, read_strictly
from toolchain.errors import PlanError
from toolchain.latency_budget.meters import Meter, Reading
from toolchain.models import ModelCard
from toolchain.models.structure import edited
from toolchain.pruning import Unit

MOST_BYTES = 1 << 24
SHOWN = 60


class UnitLatency(Strict):
    """One unit: how many times as fast the model is without it, and what that saves in ms."""

    name: str
    times_as_fast: PositiveFloat
    saved_ms: NonNegativeFloat


class UnitLatencies(Strict):
    """What a model takes, and its units; ``under`` says on which target, in which runtime and precision, ``model`` which."""

    kind: Literal["measured", "estimated"]
    under: dict[str, JsonValue]
    model: dict[str, JsonValue]
    whole_ms: PositiveFloat
    units: tuple[UnitLatency, ...]

    @property
    def saved_ms(self) -> tuple[float, ...]:
        """What the model takes less without each unit."""
        return tuple(unit.saved_ms for unit in self.units)


def unit_latencies(
    model: nn.Module,
    card: ModelCard,
    units: Sequence[Unit],
    meter: Meter,
    folder: Path,
    *,
    check: Callable[[float], None] = lambda whole_ms: None,
    progress: Progress = silent,
) -> UnitLatencies:
    """Read ``model`` with and without each of its ``units``; files are written into ``folder``.

    Of several alike in a row the same network is left whichever goes: one of them is read for all. Fixed ones save nothing.
    ``check`` is told what the model takes as soon as that is known, and may raise.
    """
    whole = meter.write(model, card, folder, "whole")
    runs = alike_in_a_row(units)
    readings: dict[int, Reading] = {}
    for number, run in enumerate(runs):
        unit = units[run[0]]
        progress(number, len(runs), f"latency of {unit.name}")
        without = meter.write(edited(model, unit.edits), card, folder, "without")
        reading = meter.read(without, whole, card.length, thorough=False)
        if not readings:
            check(reading.against_ms)
        readings.update(dict.fromkeys(run, reading))
        progress(number + 1, len(runs), f"latency of {unit.name}")
    whole_ms = math.exp(fmean(math.log(readings[run[0]].against_ms) for run in runs))
    times = [readings[index].times_as_fast if index in readings else 1.0 for index in range(len(units))]
    return UnitLatencies(
        kind=meter.kind,
        under=meter.under,
        model=_told_of(card, units),
        whole_ms=whole_ms,
        units=tuple(_unit_latency(unit.name, faster, whole_ms) for unit, faster in zip(units, times, strict=True)),
    )


def _unit_latency(name: str, times_as_fast: float, whole_ms: float) -> UnitLatency:
    # Noise may say of a unit that hardly takes time that the model is slower without it.
    saved_ms = max(0.0, whole_ms * (1.0 - 1.0 / times_as_fast))
    return UnitLatency(name=name, times_as_fast=times_as_fast, saved_ms=saved_ms)


def as_of_now(latencies: UnitLatencies, model: nn.Module, card: ModelCard, meter: Meter, folder: Path) -> UnitLatencies:
    """``latencies`` of an earlier call, or another machine, where ``model`` takes what is read of it now."""
    whole = meter.write(model, card, folder, "whole")
    whole_ms = meter.read(whole, whole, card.length, thorough=False).against_ms
    units = tuple(_unit_latency(unit.name, unit.times_as_fast, whole_ms) for unit in latencies.units)
    return latencies.model_copy(update={"whole_ms": whole_ms, "units": units})


def alike_in_a_row(units: Sequence[Unit]) -> list[list[int]]:
    """Indices of the units that are not fixed, in runs of neighbours that do the same work on as much data."""
    runs = [
        [index for index, _ in run] for _, run in groupby(enumerate(units), key=lambda numbered: _work(numbered[1]))
    ]
    return [run for run in runs if units[run[0]].kind != "fixed"]


def _told_of(card: ModelCard, units: Sequence[Unit]) -> dict[str, JsonValue]:
    """By what another model is known to be another."""
    return {
        "architecture": card.architecture,
        "classes": len(card.classes),
        "length": card.length,
        "units": [unit.name for unit in units],
        "macs": sum(unit.macs for unit in units),
        "params": sum(unit.params for unit in units),
    }


def _work(unit: Unit) -> tuple[Any, ...]:
    return (unit.kind, unit.input_shape, unit.shape, unit.params, unit.macs, unit.shortcut_params, unit.shortcut_macs)


def read_unit_latencies(path: Path, card: ModelCard, units: Sequence[Unit], meter: Meter) -> UnitLatencies:
    """Those that an earlier call left in ``path``; raises PlanError for another model's, or of other conditions."""
    try:
        told = json.loads(read_whole(path, MOST_BYTES))["unit_latencies"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error}"
        raise PlanError(f"{path}: no unit latencies can be read from it: {reason}; expected a latency.json") from error
    found = read_strictly(UnitLatencies, told, where=str(path), error=PlanError)
    here: dict[str, Any] = {"kind": meter.kind, **meter.under, **_told_of(card, units)}
    there: dict[str, Any] = {"kind": found.kind, **found.under, **found.model}
    if other := [name for name, value in here.items() if there.get(name) != value]:
        name = other[0]
        raise PlanError(
            f"{path}: its unit latencies are not those that are asked for: {name} is {_short(there.get(name))} there and "
            f"{_short(here[name])} here; leave --unit-latencies out"
        )
    return found


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
