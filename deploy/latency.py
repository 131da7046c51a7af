"""The measuring protocol: single-stream latency, host to host, in fresh processes; one model, or several in turns.

The bias of one process (where its memory happens to lie) does not go away with more samples, so the sampling unit is
the process. Each opens every model anew, pins itself, warms up, and times single runs; what is reported is

- ``p50_ms``: the geometric mean of the processes' medians, with a 95 % t interval of their logarithms over processes;
- ``p90_ms`` to ``max_ms``: of all samples together (numpy's linear percentiles), nothing clipped;
- the ratio of two models: each process times all in short turns and gives one logarithm of the ratio of their medians;
  the mean of those and its 95 % t interval. Machines drift; such a ratio does not. It equals the ratio of the two p50.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from deploy.affinity import cores_for, thread_environment
from deploy.bundle import sha256_of
from deploy.cgroup import cpu_quota_cores
from deploy.checkout import commit_of
from deploy.child_process import ask_child
from deploy.errors import MeasurementError
from deploy.host import emulated, package_version, processor_facts
from deploy.interval import t_interval
from deploy.latency_child import Opened, Request, What
from deploy.machine_state import change_of_state, machine_state
from deploy.names import Executed, Precision
from deploy.progress import Progress, silent
from deploy.python_command import python_command
from deploy.results import LatencyRecord, Ratio
from deploy.runtimes.base import Float32

log = logging.getLogger(__name__)

LIMIT_S = 120.0
# Of running for memory and energy, whose counters tick every millisecond.
FOOTPRINT_S = 1.0
FOOTPRINT = ("memory_bytes", "energy_joules_per_run")
CHILD = ("-m", "deploy.latency_child")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model to be measured: its file, the ``precision`` that was written in where that is known, and the runtime."""

    path: Path
    runtime: str = "onnxruntime"
    precision: Precision | None = None


@dataclass(frozen=True, kw_only=True)
class ModelLatency:
    """One model's record and every sample behind it: nanoseconds of single runs, int64 (runs,), an array a process."""

    record: LatencyRecord
    samples_ns: tuple[npt.NDArray[np.int64], ...]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What :func:`measure` found: the models by name, and with two of them how many times faster the second is.

    ``ratio`` is latency of the first / latency of the second: original / pruned is the speed-up. Of more models
    :func:`ratio_between` gives any two's.
    """

    models: dict[str, ModelLatency]
    ratio: Ratio | None


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """What one process gave: samples by model, and what it said of itself."""

    samples_ns: dict[str, npt.NDArray[np.int64]]
    runtime_version: dict[str, str]
    precision: dict[str, Executed]
    on_device_ms: dict[str, float | None]
    steady: dict[str, bool]
    affinity: list[int]


def measure(
    models: Mapping[str, Model],
    *,
    frames: Float32,
    threads: int = 1,
    batch: int = 1,
    target: str = "unknown",
    processes: int = 10,
    seconds: float = 3.0,
    least_runs: int = 1024,
    warmup_s: float = 0.5,
    warmup_limit_s: float = 10.0,
    footprints: bool = True,
    samples_path: Path | None = None,
    scratch: Path | None = None,
    progress: Progress = silent,
    child_command: Sequence[str] | None = None,
) -> Measurement:
    """Measure one model, or several against each other, as the module says.

    ``models`` are by name; ``frames`` is float32 (n, 2, length) with n >= ``batch``, fed ``batch`` at a time and
    over again. Each of the ``processes`` warms every model up for ``warmup_s`` and until it is steady (or
    ``warmup_limit_s``, and then ``stable`` is false in the record), then times for ``seconds`` altogether and at least
    ``least_runs`` of each model, at most 120 s.
    With ``footprints`` memory and energy are read of each model too, in a process of its own.
    ``samples_path`` receives all samples as ``.npz``, an array ``<name>.process<number>`` each; ``scratch`` is a folder
    for what the processes exchange. ``child_command`` starts a Python with thinwave in it, in place of
    :func:`deploy.python_command.python_command`.

    Raises MeasurementError for arguments that cannot be measured with, and where a process fails.
    """
    check_arguments(len(models), frames, threads=threads, batch=batch, processes=processes, seconds=seconds)
    hashes = {name: _hash(model.path) for name, model in models.items()}
    before = machine_state()
    samples, steps = [], processes + len(models) * footprints
    with tempfile.TemporaryDirectory(prefix="thinwave-", dir=scratch) as folder:
        np.save(Path(folder) / "frames.npy", frames, allow_pickle=False)
        for number in range(processes):
            # Each process opens and times another model first: what comes first has other memory.
            first = number % len(models)
            names = [*list(models)[first:], *list(models)[:first]]
            request = Request(
                models=tuple(_opened(name, models[name]) for name in names),
                threads=threads,
                batch=batch,
                frames=str(Path(folder) / "frames.npy"),
                samples=tuple(str(Path(folder) / f"samples{position}.npy") for position in range(len(names))),
                seconds=seconds,
                least_runs=least_runs,
                limit_s=LIMIT_S,
                warmup_s=warmup_s,
                warmup_limit_s=warmup_limit_s,
            )
            samples.append(_measure_in_child(request, number, steps, progress, child_command))
            progress(number + 1, steps, "")
        taken: dict[str, dict[str, JsonValue]] = {name: dict.fromkeys(FOOTPRINT) for name in models}
        for number, (name, model) in enumerate(models.items() if footprints else (), start=processes):
            progress(number, steps, f"memory of {name}")
            said = ask_for(
                "footprint", model, Path(folder) / "frames.npy", threads=threads, batch=batch,
                seconds=min(seconds, FOOTPRINT_S), child_command=child_command, number=number, steps=steps,
            )  # fmt: skip
            taken[name] = dict(zip(FOOTPRINT, (said["memory_bytes"], said["energy_joules"]), strict=True))
            progress(number + 1, steps, "")
    changes = change_of_state(before, machine_state())
    ran = {name: _what_ran(samples, name) for name in models}
    if samples_path is not None:
        _write_samples(samples_path, samples)
    conditions: dict[str, JsonValue] = {
        "cpu_model": processor_facts()["cpu_model"],
        "cpu_quota_cores": cpu_quota_cores(),
        **changes,
        "processes": processes,
        "thinwave_version": package_version("thinwave"),
        "commit": commit_of(),
    }
    settings = {"target": target, "batch": batch, "threads": threads}
    found = {
        name: ModelLatency(
            record=_record(
                name,
                samples,
                {**settings, "runtime": models[name].runtime, **ran[name]},
                {
                    **conditions,
                    **taken[name],
                    "model_sha256": hashes[name],
                    "file_precision": models[name].precision,
                },
            ),
            samples_ns=tuple(sample.samples_ns[name] for sample in samples),
        )
        for name in models
    }
    return Measurement(models=found, ratio=ratio_between(*found.values()) if len(found) == 2 else None)


def check_arguments(models: int, frames: Float32, *, threads: int, batch: int, processes: int, seconds: float) -> None:
    """Raise MeasurementError for what :func:`measure` cannot measure with, before any work."""
    if models < 1:
        raise MeasurementError("there is no model to measure; expected one, or several to be timed in turns")
    if frames.dtype != np.float32 or frames.ndim != 3 or not 1 <= batch <= len(frames):
        raise MeasurementError(
            f"got frames {frames.dtype} {frames.shape} and batch {batch}; "
            "expected float32 (n, 2, length) with n >= batch >= 1"
        )
    if processes < 2:
        raise MeasurementError(
            f"got {processes} processes; an interval over processes needs at least 2, and 10 make a good one"
        )
    if not 0.0 < seconds <= LIMIT_S:
        raise MeasurementError(f"got {seconds} seconds a process; expected more than 0 and at most {LIMIT_S:.0f}")
    cores_for(threads)


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise MeasurementError(f"{path}: the model cannot be read: {error.strerror}") from error


def _opened(name: str, model: Model) -> Opened:
    return Opened(name=name, path=str(model.path.absolute()), precision=model.precision, runtime=model.runtime)


def _ask(
    request: Request, number: int, steps: int, progress: Progress, child_command: Sequence[str] | None, name: str
) -> dict[str, Any]:
    # What lies in the user's working directory must not come before the installed packages.
    environment = {**thread_environment(request.threads), "PYTHONSAFEPATH": "1"}
    return ask_child(
        [*(child_command or python_command()), *CHILD],
        request.to_line(),
        environment=environment,
        tell=lambda stage: progress(number, steps, stage),
        name=name,
    )


def ask_for(
    what: What,
    model: Model,
    frames: Path | None = None,
    *,
    threads: int = 1,
    batch: int = 1,
    runs: int = 0,
    samples: Sequence[Path] = (),
    seconds: float = FOOTPRINT_S,
    child_command: Sequence[str] | None = None,
    number: int = 0,
    steps: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Ask a fresh process for one thing about one model, on the ``frames`` in an ``.npy``; arrays are left at ``samples``.

    Raises MeasurementError with what the process told, or how it ended.
    """
    request = Request(
        models=(_opened("model", model),),
        what=what,
        threads=threads,
        batch=batch,
        frames="" if frames is None else str(frames),
        samples=tuple(map(str, samples)),
        seconds=seconds,
        least_runs=runs,
        limit_s=LIMIT_S,
        warmup_s=0.0,
        warmup_limit_s=0.0,
    )
    name = f"the process that opens {model.path.name}"
    return _ask(request, number, steps, progress, child_command, name)


def _measure_in_child(
    request: Request, number: int, steps: int, progress: Progress, child_command: Sequence[str] | None
) -> _Sample:
    name = f"process {number + 1} of {steps}"
    for path in request.samples:
        Path(path).unlink(missing_ok=True)
    said = _ask(request, number, steps, progress, child_command, name)
    names = [model.name for model in request.models]
    try:
        times_ns = [np.load(path, allow_pickle=False) for path in request.samples]
        sample = _Sample(samples_ns=dict(zip(names, times_ns, strict=True)), **said)
    except (OSError, ValueError, TypeError) as error:
        raise MeasurementError(f"{name} left samples that cannot be read: {error}") from error
    for model in names:
        if not sample.steady[model]:
            log.warning("%s: %s did not become steady within %s s of warm-up", name, model, request.warmup_limit_s)
    return sample


def _record(
    name: str, samples: Sequence[_Sample], settings: Mapping[str, Any], conditions: dict[str, JsonValue]
) -> LatencyRecord:
    medians_ms = [_median_ns(sample, name) / 1e6 for sample in samples]
    p50_ms, low_ms, high_ms = (math.exp(value) for value in t_interval([math.log(median) for median in medians_ms]))
    pooled_ms = np.concatenate([sample.samples_ns[name] for sample in samples]) / 1e6
    p90_ms, p95_ms, p99_ms = (float(value) for value in np.percentile(pooled_ms, [90, 95, 99]))
    unsteady = sum(not sample.steady[name] for sample in samples)
    other = [model for model in samples[0].samples_ns if model != name]
    return LatencyRecord(
        **settings,
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        max_ms=float(pooled_ms.max()),
        runs=len(pooled_ms),
        kind="emulated" if emulated() else "measured",
        conditions={
            **conditions,
            "p50_interval_ms": [low_ms, high_ms],
            "p50_by_process_ms": list(medians_ms),
            "on_device_p50_ms": _on_device_ms(samples, name),
            "stable": unsteady == 0,
            "unstable_processes": unsteady,
            "affinity": list(samples[0].affinity),
            # JSON of one name as text, as it has always been.
            "in_turns_with": (other[0] if len(other) == 1 else list(other)) if other else None,
        },
    )


def _what_ran(samples: Sequence[_Sample], name: str) -> dict[str, str]:
    """The runtime's version and the precision executed; one record cannot tell of processes that differ in them."""
    seen = sorted({(sample.runtime_version[name], sample.precision[name]) for sample in samples})
    if len(seen) > 1:
        told = ", ".join(f"runtime {version} in {precision}" for version, precision in seen)
        raise MeasurementError(f"{name}: its processes did not run the same: {told}")
    ((version, precision),) = seen
    return {"runtime_version": version, "precision": precision}


def _on_device_ms(samples: Sequence[_Sample], name: str) -> float | None:
    """The geometric mean of the processes' medians without transfers; None where the device is the host."""
    known = [milliseconds for sample in samples if (milliseconds := sample.on_device_ms[name]) is not None]
    return math.exp(fmean(map(math.log, known))) if known else None


def ratio_between(first: ModelLatency, second: ModelLatency) -> Ratio:
    """How many times faster ``second`` is than ``first``, of one measurement."""
    pairs = zip(first.samples_ns, second.samples_ns, strict=True)
    logs = [math.log(float(np.median(ours)) / float(np.median(theirs))) for ours, theirs in pairs]
    ratio, low, high = (math.exp(value) for value in t_interval(logs))
    return Ratio(ratio=ratio, low=low, high=high)


def _median_ns(sample: _Sample, name: str) -> float:
    return float(np.median(sample.samples_ns[name]))


def _write_samples(path: Path, samples: Sequence[_Sample]) -> None:
    arrays = {
        f"{name}.process{number}": times_ns
        for number, sample in enumerate(samples)
        for name, times_ns in sample.samples_ns.items()
    }
    try:
        # A file object, because numpy adds .npz to a name that does not end in it.
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise MeasurementError(f"{path}: the samples cannot be written: {error.strerror or error}") from error
    log.info("%d arrays of samples written to %s", len(arrays), os.fspath(path))
