"""Cells whose budget is a latency: measured on the one machine that all latencies are measured on, never on a worker.

A channel method is brought to what was read of the plan of layers. Readings are of a model beside the original, in turns in
the same processes; what has the same layers is read once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from toolchain.comparison.methods import KINDS
from toolchain.comparison.planners import planner_of
from toolchain.comparison.pruning import (
    NEAR,
    Opened,
    PruneAsked,
    channels_dropped,
    layers_dropped,
    opened,
    untrained,
)
from toolchain.comparison.recipe import MeasureTable
from toolchain.comparison.shapes import shape_of
from toolchain.latency_budget import (
    Effort,
    Limit,
    MeasuredMeter,
    Meter,
    Reading,
    UnitLatencies,
    as_of_now,
    plan_within,
    unit_latencies,
)
from toolchain.latency_budget.meters import Kind
from toolchain.models import ModelCard, load_model
from toolchain.pruning import find_units

# Readings differ by more than widths do: halving nearer than this part of what is wanted finds noise.
CLOSE = 0.01
# Less than elsewhere: what comes out is timed once more, with all methods.
THOROUGH, BRIEF = Effort(8, 1.0), Effort(4, 0.6)


@dataclass
class Stand:
    """A meter that reads models of the same layers once: what it read is ``known`` by their shapes."""

    meter: Meter
    folder: Path
    progress: Progress = silent
    known: dict[str, Reading] = field(default_factory=dict)
    # What would lie at a path, and the files of those that were read.
    _subjects: dict[Path, tuple[nn.Module, ModelCard, str]] = field(default_factory=dict)
    _files: dict[str, Path] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """As :class:`toolchain.latency_budget.Meter` says."""
        return self.meter.kind

    @property
    def under(self) -> dict[str, Any]:
        """As :class:`toolchain.latency_budget.Meter` says."""
        return self.meter.under

    def write(self, model: nn.Module, card: ModelCard, folder: Path, name: str) -> Path:
        """What to read the model by; it is written when it is read."""
        path = folder / name
        self._subjects[path] = (model, card, shape_of(card))
        return path

    def read(self, path: Path, against: Path, length: int, *, thorough: bool, progress: Progress = silent) -> Reading:
        """The reading of what was written so, also that of an earlier call; a thorough one serves as a brief one too."""
        shapes = f"{self._subjects[against][2]} {self._subjects[path][2]}"
        for key in (f"{shapes} True", f"{shapes} {thorough}"):
            if key in self.known:
                return self.known[key]
        self.known[key] = self.meter.read(
            self._file(path), self._file(against), length, thorough=thorough, progress=self.progress
        )
        return self.known[key]

    def beside(self, start: Opened, model: nn.Module, card: ModelCard, *, thorough: bool = False) -> Reading:
        """What ``model`` takes beside the original of ``start``."""
        whole = self.write(start.model, start.card, self.folder, "whole")
        return self.read(self.write(model, card, self.folder, "pruned"), whole, card.length, thorough=thorough)

    def share(self, start: Opened, model: nn.Module, card: ModelCard, *, thorough: bool = False) -> float:
        """The part of the original's latency that ``model`` takes."""
        return 1.0 / self.beside(start, model, card, thorough=thorough).times_as_fast

    def _file(self, path: Path) -> Path:
        model, card, shape = self._subjects[path]
        if shape not in self._files:
            self._files[shape] = self.meter.write(model, card, self.folder, shape[:32])
        return self._files[shape]


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
        elif limit.latency_ms is not None:
            taken = as_of_now(taken, start.model, start.card, stand.meter, stand.folder)
        limit.check(taken.whole_ms)
        left = limit.in_ms(taken.whole_ms) / taken.whole_ms
        planner = planner_of(asked, start, progress)
        plan = plan_within(limit, taken, stand, planner, stand.folder, progress=progress).plan
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


def _left(limit: Limit, start: Opened, stand: Stand) -> float:
    """The part of the original's latency that the limit leaves."""
    if limit.speedup is not None:
        return 1.0 / limit.speedup
    whole_ms = stand.beside(start, start.model, start.card).against_ms
    limit.check(whole_ms)
    return limit.in_ms(whole_ms) / whole_ms


def _taken(start: Opened, asked: PruneAsked, stand: Stand, progress: Progress) -> UnitLatencies:
    """What the units take, read now."""
    units = find_units(start.model, start.sample.frames, asked.choices.units)
    check = limit_of(asked.asked).check
    return unit_latencies(start.model, start.card, units, stand.meter, stand.folder, check=check, progress=progress)
