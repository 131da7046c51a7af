"""Cells whose budget is a latency: measured on the one machine that all latencies are measured on, never on a worker.

A channel method is brought to what was read of the plan of layers. Readings are of a model beside the original, in turns in
the same processes; what has the same layers is read once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from deploy.host import describe_host
from deploy.latency import Model, measure
from deploy.noise import noise_frames
from deploy.profiling import AGAINST, BATCHES_FED, BUNDLE, Profile, Subject
from deploy.progress import Progress, part, silent
from deploy.targets import load_target
from toolchain.comparison.grid import Asked
from toolchain.comparison.measuring import LEAST_RUNS, WARMUP_S
from toolchain.comparison.methods import KINDS, OURS
from toolchain.comparison.pruning import (
    NEAR,
    PruneAsked,
    Start,
    channels_dropped,
    layers_dropped,
    opened,
    planned_by,
    untrained,
)
from toolchain.comparison.recipe import MeasureTable
from toolchain.comparison.shapes import shape_of
from toolchain.errors import NoRoomError
from toolchain.latency_budget import (
    Effort,
    Limit,
    MeasuredMeter,
    Meter,
    Reading,
    UnitLatencies,
    Work,
    as_of_now,
    corrected,
    plan_within,
    unit_latencies,
)
from toolchain.models import ModelCard, load_model
from toolchain.pruning import Budget, Choices, Latency, Plan, apply_plan, find_units, pruned_card, similarity_matrix

# Readings differ by more than widths do: halving nearer than this part of what is wanted finds noise.
CLOSE = 0.01
# Less than elsewhere: what comes out is timed once more, with all methods.
THOROUGH, BRIEF = Effort(8, 1.0), Effort(4, 0.6)
# Of plans that a baseline is asked for until one is fast enough.
ATTEMPTS = 8
LEAST_STEP = 0.002


@dataclass
class Stand:
    """Where models are read: the ``meter``, and what was read of a shape before, of a model beside its original."""

    meter: Meter
    folder: Path
    progress: Progress = silent
    known: dict[str, Reading] = field(default_factory=dict)
    # Originals that are written already, by their shapes.
    wholes: dict[str, Path] = field(default_factory=dict)

    def read(self, start: Start, model: nn.Module, card: ModelCard, *, thorough: bool = False) -> Reading:
        """What ``model`` takes beside the original of ``start``."""
        of = shape_of(start.card)
        key = f"{of} {shape_of(card)} {thorough}"
        if key not in self.known:
            whole = self.wholes.get(of) or self.meter.write(start.model, start.card, self.folder, f"whole-{of[:16]}")
            self.wholes[of] = whole
            path = self.meter.write(model, card, self.folder, "pruned")
            self.known[key] = self.meter.read(path, whole, card.length, thorough=thorough, progress=self.progress)
        return self.known[key]

    def know(self, start: Start, card: ModelCard, reading: Reading) -> None:
        """Take what somebody else read thoroughly, of a model of this card."""
        self.known[f"{shape_of(start.card)} {shape_of(card)} True"] = reading

    def share(self, start: Start, model: nn.Module, card: ModelCard, *, thorough: bool = False) -> float:
        """The part of the original's latency that ``model`` takes."""
        return 1.0 / self.read(start, model, card, thorough=thorough).times_as_fast


@contextmanager
def stand_here(table: MeasureTable) -> Iterator[Stand]:
    """A place to read models on this machine, in the first runtime of ``table``."""
    target, runtime = load_target(table.target), table.runtimes[0]

    def measured(subject: Subject, against: Subject, effort: Effort, progress: Progress) -> Profile:
        frames = noise_frames(BATCHES_FED * table.batch, subject.length, np.random.default_rng(0))
        both = {AGAINST: against, BUNDLE: subject}
        measurement = measure(
            {name: Model(path=each.path, runtime=runtime, precision=table.precision) for name, each in both.items()},
            frames=frames, threads=table.threads, batch=table.batch, target=target.name, processes=effort.processes,
            seconds=effort.seconds, least_runs=LEAST_RUNS, warmup_s=WARMUP_S, footprints=effort.footprints, progress=progress,
        )  # fmt: skip
        return Profile(
            measurement=measurement, runtime=runtime, precision=table.precision, host=describe_host(),
            length=subject.length, sample_rate_hz=None,
        )  # fmt: skip

    told = target.measuring.model_copy(update={"threads": table.threads, "batch": table.batch})
    meter = MeasuredMeter(
        measure=measured,
        target=target.model_copy(update={"measuring": told}),
        runtime=runtime,
        precision=table.precision,
        thorough=THOROUGH,
        brief=BRIEF,
    )
    with tempfile.TemporaryDirectory(prefix="thinwave-") as folder:
        yield Stand(meter, Path(folder))


def limit_of(asked: Asked) -> Limit:
    """The budget as a limit."""
    return Limit(speedup=asked.value) if asked.kind == "speedup" else Limit(latency_ms=asked.value)


def prune_within(
    asked: PruneAsked,
    models: Mapping[str, Path],
    folder: Path,
    stand: Stand,
    taken: UnitLatencies | None,
    keep: Callable[[UnitLatencies], None],
    progress: Progress = silent,
) -> tuple[dict[str, Any], Path]:
    """Bring the original to a latency by a method, as :func:`toolchain.comparison.pruning.prune` to what is counted.

    ``taken`` is what the units of such a model take, where that was read before; ``keep`` gets it as soon as it is read. What
    is recorded as reached was read thoroughly.
    """
    start, limit = opened(asked, models), limit_of(asked.asked)
    # A reading tells how it goes on; its steps are none of the whole.
    stand.progress = part(progress, 0, 0, 1)
    if KINDS[asked.method] == "layers":
        if taken is None:
            keep(taken := _taken(start, asked, stand, progress))
        else:
            taken = as_of_now(taken, start.model, start.card, stand.meter, stand.folder)
        limit.check(taken.whole_ms)
        left = limit.in_ms(taken.whole_ms) / taken.whole_ms
        find = _ours if asked.method == OURS else _others
        plan = find(asked, start, limit, stand, taken, progress)
        return layers_dropped(
            start, plan, left, lambda model, card: stand.share(start, model, card, thorough=True), folder
        )
    left = _left(limit, start, stand)

    def share(model: nn.Module, card: ModelCard) -> float:
        found = stand.share(start, model, card)
        progress(0, 1, f"takes {found:.0%} of the original's time")
        return found

    if KINDS[asked.method] == "scratch":
        return untrained(
            start, models["shape"], left, lambda model, card: stand.share(start, model, card, thorough=True), folder
        )
    record, path = channels_dropped(asked, start, left, share, folder, close=CLOSE)
    found, card = load_model(path, trusted=asked.architecture)
    reached = stand.share(start, found, card, thorough=True)
    return record | {"reached": reached, "within": abs(reached - record["wanted"]) <= NEAR}, path


def _left(limit: Limit, start: Start, stand: Stand) -> float:
    """The part of the original's latency that the limit leaves."""
    if limit.speedup is not None:
        return 1.0 / limit.speedup
    whole_ms = stand.read(start, start.model, start.card).against_ms
    limit.check(whole_ms)
    return limit.in_ms(whole_ms) / whole_ms


def _taken(start: Start, asked: PruneAsked, stand: Stand, progress: Progress) -> UnitLatencies:
    """What the units take, read now."""
    units = find_units(start.model, start.sample.frames, asked.choices.units)
    check = limit_of(asked.asked).check
    return unit_latencies(start.model, start.card, units, stand.meter, stand.folder, check=check, progress=progress)


def _ours(
    asked: PruneAsked, start: Start, limit: Limit, stand: Stand, taken: UnitLatencies, progress: Progress
) -> Plan:
    frames, table = start.sample.frames, asked.choices.model_dump(exclude={"frames"})
    units = find_units(start.model, frames, asked.choices.units)
    work = Work(
        matrix=similarity_matrix(start.model, frames, units, asked.choices.similarity),
        model=start.model,
        card=start.card,
        frames=frames,
        units=units,
        choices=Choices(seed=start.seed, **table),
    )
    found = plan_within(limit, taken, stand.meter, work, stand.folder, progress=progress)
    # It was read thoroughly, or it would not fit.
    stand.know(start, pruned_card(start.card, found.plan), found.reading)
    return found.plan


def _others(
    asked: PruneAsked, start: Start, limit: Limit, stand: Stand, taken: UnitLatencies, progress: Progress
) -> Plan:
    """The plan of a baseline with most units that was read to be within the limit: with less room until one is.

    Raises NoRoomError where none was.
    """
    limit_ms = limit.in_ms(taken.whole_ms)
    prices = Latency(limit_ms=limit_ms, whole_ms=taken.whole_ms, saved_ms=taken.saved_ms)
    room_ms, fitting, seen = limit_ms, list[Plan](), set[tuple[int, ...]]()
    for attempt in range(ATTEMPTS):
        try:
            plan = planned_by(asked, start, Budget(latency=replace(prices, limit_ms=room_ms)), silent)
        except NoRoomError:
            break
        if plan.kept in seen:
            room_ms -= LEAST_STEP * limit_ms * 2**attempt
            if fitting or room_ms <= 0:
                break
            continue
        seen.add(plan.kept)
        progress(attempt, ATTEMPTS, f"{len(plan.kept)} units")
        reading = stand.read(start, apply_plan(plan, start.model), pruned_card(start.card, plan), thorough=True)
        ms, at_most_ms = limit.taken(reading, taken.whole_ms)
        if at_most_ms <= limit_ms:
            fitting.append(plan)
            if len(seen) > 1:
                break
        if len(seen) == 1:
            # What was read of the first plan says more than the units one by one.
            prices = corrected(prices, plan.kept, ms)
            room_ms = limit_ms - (at_most_ms - ms)
        else:
            room_ms -= max(at_most_ms - limit_ms, LEAST_STEP * limit_ms)
        if room_ms <= 0:
            break
    if not fitting:
        raise NoRoomError(f"{limit}: no plan of {asked.method} was read to be that fast; allow more")
    return max(fitting, key=lambda plan: len(plan.kept))
