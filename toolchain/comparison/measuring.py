"""The latencies of a row: all methods of one start and budget, and the original, in turns in the same processes."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deploy.errors import DeployError
from deploy.latency import LIMIT_S, Model, ModelLatency, measure, ratio_between
from deploy.noise import noise_frames
from deploy.profiling import BATCHES_FED
from deploy.progress import Progress
from deploy.targets import load_target
from toolchain.comparison.recipe import MeasureTable
from toolchain.comparison.shapes import shape_of
from toolchain.errors import ToolchainError
from toolchain.latency_budget.meters import write_model
from toolchain.models import load_model

ORIGINAL = "original"
# A model's records, or why it has none.
Found = list[dict[str, Any]] | str
# Runs of each model in each process, at the least.
LEAST_RUNS = 200
# Of each model at the least; it goes on until it is steady.
WARMUP_S = 0.25


def measured_row(
    models: Mapping[str, Path], table: MeasureTable, run: str, *, trusted: str | None, progress: Progress
) -> dict[str, Found]:
    """Measure model files by name, "original" among them, in each runtime; ``run`` names the measurement.

    A name gets its records, as :class:`toolchain.compared.Latency` has them, or why it has none. Of models of the same layers
    one is timed. What cannot be written as ONNX or run is left out, and the others are timed.
    """
    found: dict[str, Found] = {name: [] for name in models}
    target = load_target(table.target).name
    with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
        files, leader, length = _written(models, table, Path(scratch), trusted, found)
        if ORIGINAL not in files:
            return dict.fromkeys(models, f"the original cannot be measured: {found[ORIGINAL]}")
        frames = noise_frames(BATCHES_FED * table.batch, length, np.random.default_rng(0))
        for number, runtime in enumerate(table.runtimes):
            measurement = measure(
                {name: Model(path=file, runtime=runtime, precision=table.precision) for name, file in files.items()},
                frames=frames,
                threads=table.threads,
                batch=table.batch,
                target=target,
                processes=table.processes,
                seconds=min(LIMIT_S, table.seconds * len(files)),
                least_runs=LEAST_RUNS,
                warmup_s=WARMUP_S,
                footprints=False,
                scratch=Path(scratch),
                progress=_part(progress, number, len(table.runtimes), f"{run}, {runtime}"),
            )
            timed = measurement.models
            for name, first in leader.items():
                records = found[name]
                assert isinstance(records, list)  # it was written
                records.append(_record(timed[first], timed[ORIGINAL], run, None if first == name else first))
    return found


def _written(
    models: Mapping[str, Path],
    table: MeasureTable,
    folder: Path,
    trusted: str | None,
    found: dict[str, Found],
) -> tuple[dict[str, Path], dict[str, str], int]:
    """The files to time, for each model which of them is its, and the length of frames."""
    files: dict[str, Path] = {}
    leader: dict[str, str] = {}
    shapes: dict[str, str] = {}
    length = 1
    for name, path in models.items():
        try:
            model, card = load_model(path, trusted=trusted)
            shape = shape_of(card)
            if shape not in shapes:
                files[name] = write_model(model, card, folder, name, table.precision)
                shapes[shape] = name
            leader[name], length = shapes[shape], card.length
        except (ToolchainError, DeployError) as error:
            found[name] = str(error)
    return files, leader, length


def _part(progress: Progress, number: int, of: int, told: str) -> Progress:
    """The progress of one runtime as a part of all."""

    def at(done: int, total: int, note: str = "") -> None:
        progress(number * total + done, total * of, f"{told}, {note}" if note else told)

    return at


def _record(model: ModelLatency, original: ModelLatency, run: str, same_as: str | None) -> dict[str, Any]:
    record, ratio = model.record, ratio_between(original, model)
    conditions = record.conditions
    pooled_ms = np.concatenate(model.samples_ns) / 1e6
    return {
        "runtime": record.runtime,
        "runtime_version": record.runtime_version,
        "precision": record.precision,
        "target": record.target,
        "host": platform.node(),
        "batch": record.batch,
        "threads": record.threads,
        "p50_ms": record.p50_ms,
        "p50_interval_ms": conditions["p50_interval_ms"],
        "p99_ms": record.p99_ms,
        "times_as_fast": ratio.ratio,
        "times_interval": [ratio.low, ratio.high],
        "percentiles_ms": [round(float(value), 6) for value in np.percentile(pooled_ms, range(101))],
        "processes": conditions["processes"],
        "stable": conditions["stable"],
        "run": run,
        "same_as": same_as,
    }
