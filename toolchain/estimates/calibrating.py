"""Measuring the family here, and fitting the constants to it; models of the zoo, which are no part of it, say how well."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import onnx

from deploy.checkout import commit_of
from deploy.errors import MeasurementError
from deploy.host import package_version, processor_facts
from deploy.latency import Model, measure
from deploy.names import Precision, RuntimeName
from deploy.noise import noise_frames
from deploy.progress import Progress, silent
from deploy.runtimes import version_here
from deploy.target_profile import Target
from deploy.targets import check_is_here
from toolchain.errors import EstimateError
from toolchain.estimates.assumed import ON_THE_PROCESSOR
from toolchain.estimates.calibration import Calibration, Compared, power_mode_here
from toolchain.estimates.estimating import check_runtime, modes_of
from toolchain.estimates.family import CLASSES, family
from toolchain.estimates.fitting import Measured, fit
from toolchain.estimates.roofline import Constants, total_ms, work_of
from toolchain.export.for_timing import write_for_timing
from toolchain.export.layers import layers_of
from toolchain.export.onnx_file import export_onnx
from toolchain.models import create_model

# The zoo without what is recurrent, of which there is no estimate, and without SigNet, of which a run takes a second.
HELD_OUT = (
    "resnet1d20", "resnet1d56", "resnet1d110", "resnet56", "resnet110", "vgg16", "vgg1d16", "transformer", "cnn1d",
    "vt-cnn2", "cnn2",
)  # fmt: skip
HELD_OUT_LENGTHS = (128, 1024)
# Of each network: enough for its median to be known to a hundredth or so, and a process that was disturbed to be outvoted.
PROCESSES, SECONDS, LEAST_RUNS, WARMUP_S = 3, 0.2, 10, 0.1
FRAMES = 8


@dataclass(frozen=True)
class _Network:
    name: str
    path: Path
    length: int


def calibrate(
    target: Target,
    runtime: RuntimeName,
    precision: Precision = "fp32",
    *,
    threads: int = 1,
    progress: Progress = silent,
) -> Calibration:
    """Measure and fit ``runtime`` on this machine, which is the ``target``, on models in ``precision``.

    Raises TargetError where this machine is not the target, RuntimeNotFoundError where the runtime is not here,
    EstimateError where it is none of the target's or no estimate could go by it, and MeasurementError, also where an emulator
    runs it.
    """
    check_is_here(target)
    check_runtime(target, runtime)
    version, mode = version_here(runtime), power_mode_here()
    if mode not in modes_of(target):
        known = ", ".join(filter(None, modes_of(target)))
        raise EstimateError(
            f"target {target.name}: this machine is in power mode {mode or 'that it does not tell'}, of which its profile "
            f"does not say enough; {f'set one of {known}' if known else 'name the target of the board itself'}"
        )
    total = len(list(family())) + len(HELD_OUT) * len(HELD_OUT_LENGTHS)
    with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:

        def measured(networks: Iterator[_Network], done: int) -> list[Measured]:
            found = []
            for number, network in enumerate(networks, start=done):
                progress(number, total, network.name)
                found.append(_measured(network, runtime, precision, threads))
                progress(number + 1, total, network.name)
            return found

        family_measured = measured(_family(Path(scratch)), 0)
        held_out = measured(_held_out(Path(scratch)), len(family_measured))
    constants = fit(family_measured, skips_padding=runtime in ON_THE_PROCESSOR)
    return Calibration(
        target=target.name,
        runtime=runtime,
        runtime_version=version,
        precision=precision,
        threads=threads,
        batch=1,
        power_mode=mode,
        cpu_model=_cpu_model(),
        date=datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        thinwave_version=package_version("thinwave"),
        commit=commit_of(),
        constants=constants,
        family=_compared(family_measured, constants),
        held_out=_compared(held_out, constants),
    )


def _family(folder: Path) -> Iterator[_Network]:
    for member in family():
        yield _Network(member.name, member.write(folder), member.length)


def _held_out(folder: Path) -> Iterator[_Network]:
    classes = [str(number) for number in range(CLASSES)]
    for name in HELD_OUT:
        for length in HELD_OUT_LENGTHS:
            path = folder / f"{name}.{length}.onnx"
            export_onnx(create_model(name, classes=CLASSES, length=length), path, classes=classes, length=length)
            yield _Network(f"{name}, {length} samples", path, length)


def _measured(network: _Network, runtime: RuntimeName, precision: Precision, threads: int) -> Measured:
    path = write_for_timing(network.path, precision, network.length)
    found = measure(
        {"network": Model(path=path, runtime=runtime, precision=precision)},
        frames=noise_frames(FRAMES, network.length, np.random.default_rng(0)),
        threads=threads,
        processes=PROCESSES,
        seconds=SECONDS,
        least_runs=LEAST_RUNS,
        warmup_s=WARMUP_S,
    )
    record = found.models["network"].record
    if record.kind != "measured":
        raise MeasurementError("an emulator ran it, whose times are no device's: calibrate on the device itself")
    works = tuple(work_of(layer, precision) for layer in layers_of(onnx.load(path)))
    by_process = cast(list[float], record.conditions["p50_by_process_ms"])
    return Measured(network.name, works, median(by_process))


def _compared(measured: Sequence[Measured], constants: Constants) -> tuple[Compared, ...]:
    return tuple(
        Compared(name=each.name, measured_ms=each.p50_ms, estimated_ms=total_ms(each.works, constants))
        for each in measured
    )


def _cpu_model() -> str | None:
    told = processor_facts()["cpu_model"]
    return told if isinstance(told, str) else None
