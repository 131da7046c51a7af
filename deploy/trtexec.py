"""Times that NVIDIA's ``trtexec`` measured where thinwave cannot run, JetPack 4 and 5, read into the same record.

A bundle's ``trtexec.sh`` builds an engine there and runs ``trtexec`` in fresh processes; each leaves what ``--exportTimes``
writes: a JSON array of runs, with ``latencyMs``, the GPU's work and the transfers to and from it, and ``computeMs``, the work
alone. Both are the GPU's own clock: what the host takes to call it is in neither, and the record says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from deploy.bundle import Bundle
from deploy.errors import MeasurementError
from deploy.host import package_version
from deploy.interval import t_interval
from deploy.names import PRECISIONS, TRTEXEC, Executed, Precision
from deploy.regular_file import read_whole
from deploy.results import LatencyRecord
from deploy.strict_reading import Strict, read_strictly
from deploy.target_profile import Target
from deploy.targets import check_is

INFORMATION = "about.json"
TIMES = "times-*.json"
# A minute of runs of a tenth of a millisecond, a line each.
MOST_BYTES = 1 << 30
# In milliseconds. What is outside of these is no time of a network.
LEAST_MS, MOST_MS = 1e-6, 1e9
# What a measured record says and these times do not.
UNSAID = (
    "cpu_model", "cpu_quota_cores", "governor", "clocks_mhz", "temperature_c", "load_average", "thermal_throttle_events",
    "quota_throttled_periods", "affinity", "stable", "unstable_processes", "in_turns_with", "memory_bytes",
    "energy_joules_per_run", "file_precision", "commit",
)  # fmt: skip
Times = npt.NDArray[np.float64]


class About(Strict):
    """What ``trtexec.sh`` says of the times beside it: which file of the bundle ran, what was asked for, and where.

    ``device`` is the board's name, ``machine`` its architecture, ``device_tree`` the names under which its kernel knows it, a
    space between two; ``power_mode`` is None where it does not tell.
    """

    model_sha256: str
    precision: Precision
    batch: PositiveInt
    tensorrt: str
    device: str
    machine: str
    device_tree: str
    power_mode: str | None


def records_of(
    path: Path, bundle: Bundle, *, target: Target, precision: Precision | None = None, batch: int | None = None
) -> list[LatencyRecord]:
    """Read ``path``: one file of times, or the folder that ``trtexec.sh`` left, of all precisions or the one named.

    A single file says neither its ``precision`` nor its ``batch``, 1 where it is None, nor which model ran, nor where. Raises
    MeasurementError for what cannot be read, for times of another bundle, and for a ``target`` that has no trtexec;
    TargetError for times of another device.
    """
    if TRTEXEC not in target.runtimes:
        raise MeasurementError(
            f"target {target.name}: trtexec is none of its runtimes ({', '.join(target.runtimes)}); name the device that the "
            "times were taken on"
        )
    if path.is_file():
        if precision is None:
            raise MeasurementError(f"{path}: a file of times does not say what ran: name it with --precision")
        return [record([read_times(path)], target=target.name, precision=precision, batch=batch or 1)]
    if batch is not None:
        raise MeasurementError(f"{path}: says itself how many frames ran at a time; leave --batch out")
    wanted = PRECISIONS if precision is None else (precision,)
    folders = [each for each in (path, *(path / name for name in wanted)) if (each / INFORMATION).is_file()]
    if not folders and (others := [name for name in PRECISIONS if (path / name / INFORMATION).is_file()]):
        raise MeasurementError(f"{path}: holds times of {', '.join(others)}, and --precision says {precision}")
    if not folders:
        raise MeasurementError(
            f"{path}: neither a file of times nor a folder that a bundle's trtexec.sh left: there is no {INFORMATION} in it"
        )
    found = []
    for folder in folders:
        about = read_strictly(
            About, _json(folder / INFORMATION), where=str(folder / INFORMATION), error=MeasurementError
        )
        if precision not in (None, about.precision):
            raise MeasurementError(f"{folder}: holds times of {about.precision}, and --precision says {precision}")
        if about.model_sha256 not in {entry.sha256 for entry in bundle.manifest.trtexec}:
            raise MeasurementError(f"{folder}: these times are of another model than the bundle {bundle.folder} holds")
        check_is(
            target,
            about.machine,
            about.device_tree.replace(" ", "\0"),
            whose=f"the device of {folder}",
            way_out="name that one with --target"
            if about.device_tree
            else "take them on the device itself, not in a container",
        )
        files = sorted(folder.glob(TIMES))
        if not files:
            raise MeasurementError(f"{folder}: holds no times ({TIMES})")
        found.append(
            record(
                [read_times(each) for each in files],
                target=target.name,
                precision=about.precision,
                batch=about.batch,
                about=about,
            )
        )
    return found


def read_times(path: Path) -> tuple[Times, Times]:
    """Read one file of ``--exportTimes``: with transfers, and of the GPU's work alone, both in ms (runs,)."""
    runs = _json(path)
    if not isinstance(runs, list) or not runs:
        raise MeasurementError(f"{path}: holds no runs; expected the array that trtexec --exportTimes writes")
    try:
        latency, compute = (np.array([float(run[key]) for run in runs]) for key in ("latencyMs", "computeMs"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MeasurementError(
            f"{path}: is not what trtexec --exportTimes writes: each run has latencyMs and computeMs ({error!r})"
        ) from error
    # NaN is within nothing.
    if not all(((times >= LEAST_MS) & (times <= MOST_MS)).all() for times in (latency, compute)):
        raise MeasurementError(f"{path}: holds times that are no times: not within {LEAST_MS:g} and {MOST_MS:g} ms")
    return latency, compute


def record(
    processes: Sequence[tuple[Times, Times]],
    *,
    target: str,
    precision: Executed,
    batch: int,
    about: About | None = None,
) -> LatencyRecord:
    """Make the record of what each process gave, by the rules of :mod:`deploy.latency`; of one alone there is no interval.

    ``about`` is None where nobody wrote down what ran, and where.
    """
    medians = [float(np.median(latency)) for latency, _ in processes]
    pooled = np.concatenate([latency for latency, _ in processes])
    p90, p95, p99 = (float(value) for value in np.percentile(pooled, [90, 95, 99]))
    interval: list[float] | None = None
    if len(medians) > 1:
        _, low, high = (math.exp(value) for value in t_interval([math.log(median) for median in medians]))
        interval = [low, high]
    return LatencyRecord(
        target=target,
        runtime=TRTEXEC,
        runtime_version="unknown" if about is None else about.tensorrt,
        precision=precision,
        batch=batch,
        threads=1,
        p50_ms=math.exp(fmean(map(math.log, medians))),
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=float(pooled.max()),
        runs=len(pooled),
        conditions={
            **dict.fromkeys(UNSAID),
            "thinwave_version": package_version("thinwave"),
            "model_sha256": None if about is None else about.model_sha256,
            "power_mode": None if about is None else about.power_mode,
            "processes": len(medians),
            "p50_interval_ms": list(interval) if interval else None,
            "p50_by_process_ms": list(medians),
            "on_device_p50_ms": math.exp(fmean(math.log(float(np.median(compute))) for _, compute in processes)),
            "device": None if about is None else about.device,
            # trtexec is asked for a precision and chooses by layer; what it chose is not in its times.
            "precision_is": "as asked for",
            "latency_is": "transfers and work by the GPU's clock, without the host's call",
        },
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(read_whole(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MeasurementError(f"{path}: cannot be read: {reason}") from error
