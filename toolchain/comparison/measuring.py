"""The latencies of a row: all methods of one start and budget, and the original, in turns in the same processes."""

from __future__ import annotations

import logging
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from deploy.errors import DeployError, MeasurementError, first_line
from deploy.latency import LIMIT_S, Measurement, Model, ModelLatency, ask_for, measure, ratio_between
from deploy.noise import noise_frames
from deploy.profiling import BATCHES_FED
from deploy.progress import Progress, part
from deploy.targets import load_target
from toolchain.comparison.recipe import MeasureTable
from toolchain.comparison.shapes import shape_of
from toolchain.errors import ToolchainError
from toolchain.latency_budget.meters import write_model
from toolchain.models import load_model

log = logging.getLogger(__name__)

ORIGINAL = "original"
# Runs of each model in each process, at the least.
LEAST_RUNS = 200
# Beside the measured threads so much of the load is this program's own: processes that start.
OTHERS = 0.7
# Of each model at the least; it goes on until it is steady.
WARMUP_S = 0.25


@dataclass
class Timed:
    """What is known of one model of a row: records as :class:`toolchain.compared.Latency` has them, and what was refused."""

    latency: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Written:
    """The files of a row: one for each shape, by the first method that has it; ``first`` says which of them is whose."""

    files: dict[str, Path]
    first: dict[str, str]
    length: int


def measured_row(
    models: Mapping[str, Path], table: MeasureTable, run: str, *, trusted: str | None, progress: Progress
) -> dict[str, Timed]:
    """Measure model files by name, "original" among them, in each runtime; ``run`` names the measurement.

    Of models of the same layers one is timed. What cannot be written as ONNX, or a runtime refuses, says so, and the others
    are timed; without the original none is, in that runtime.
    """
    found = {name: Timed() for name in models}
    with tempfile.TemporaryDirectory(prefix="thinwave-", ignore_cleanup_errors=True) as scratch:
        written = _write(models, table, Path(scratch), trusted, found)
        for number, runtime in enumerate(table.runtimes if written.files else ()):
            told = part(progress, 1000 * number, 1000, 1000 * len(table.runtimes), f"{run}, {runtime}")
            try:
                _measure_in(runtime, written, table, run, found, told)
            except DeployError as error:
                for name in written.first:
                    found[name].refused.append(f"{runtime}: {error}")
    return found


def _measure_in(
    runtime: str, written: _Written, table: MeasureTable, run: str, found: dict[str, Timed], progress: Progress
) -> None:
    frames = noise_frames(BATCHES_FED * table.batch, written.length, np.random.default_rng(0))
    models = {
        name: Model(path=file, runtime=runtime, precision=table.precision) for name, file in written.files.items()
    }

    def timed() -> Measurement:
        return measure(
            models, frames=frames, threads=table.threads, batch=table.batch, target=load_target(table.target).name,
            processes=table.processes, seconds=min(LIMIT_S, table.seconds * len(models)), least_runs=LEAST_RUNS,
            warmup_s=WARMUP_S, footprints=False, progress=progress,
        )  # fmt: skip

    try:
        measurement = timed()
    except MeasurementError:
        # One that the runtime refuses fails for all: who is it?
        refused = {name: why for name, model in models.items() if (why := _why_refused(model, table)) is not None}
        if not refused or ORIGINAL in refused:
            raise
        for name, why in refused.items():
            del models[name]
            for method in [method for method, first in written.first.items() if first == name]:
                found[method].refused.append(f"{runtime}: {why}")
        measurement = timed()
    original = measurement.models[ORIGINAL]
    if original.record.kind != "measured":
        raise MeasurementError("an emulator ran it, whose times are no device's; compare on a machine that is one")
    load = _load_average(original)
    if load is not None and load > table.threads + OTHERS:
        log.warning(
            "%s, %s: %.1f processes were running, %d of them measured: what else runs here makes latencies uncertain; "
            "close it, and call again with --measure-again",
            run,
            runtime,
            load,
            table.threads,
        )
    for method, first in written.first.items():
        if first in measurement.models:
            same_as = None if first == method else first
            found[method].latency.append(_record(measurement.models[first], original, run, same_as))


def _why_refused(model: Model, table: MeasureTable) -> str | None:
    """Why a runtime does not run a file; None where it does."""
    try:
        ask_for("frames", model, threads=table.threads)
    except MeasurementError as error:
        return str(error)
    return None


def _write(
    models: Mapping[str, Path], table: MeasureTable, folder: Path, trusted: str | None, found: dict[str, Timed]
) -> _Written:
    files: dict[str, Path] = {}
    first: dict[str, str] = {}
    by_shape: dict[str, str] = {}
    length = 1
    for name, path in models.items():
        try:
            model, card = load_model(path, trusted=trusted)
            shape = shape_of(card)
            if shape not in by_shape:
                files[name] = write_model(model, card, folder, name, table.precision)
                by_shape[shape] = name
            first[name], length = by_shape[shape], card.length
        except (ToolchainError, DeployError) as error:
            found[name].refused.append(str(error))
        except Exception as error:  # of one model, whatever it is: the others are measured
            found[name].refused.append(f"{type(error).__name__}: {first_line(error)}")
    if ORIGINAL not in files:
        for name in first:
            found[name].refused.append("the original cannot be measured")
        return _Written({}, {}, length)
    return _Written(files, first, length)


def _load_average(model: ModelLatency) -> float | None:
    """How many processes were runnable in the last minute of its run."""
    return cast(dict[str, float | None], model.record.conditions["load_average"])["after"]


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
        "load_average": _load_average(model),
        "run": run,
        "same_as": same_as,
    }
