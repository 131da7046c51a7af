"""Measuring models, of a bundle or in a plain ONNX file, on the target that this machine is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, JsonValue, PositiveFloat, PositiveInt

from deploy.bundle import Bundle, Layer, open_bundle
from deploy.bundle_check import check_bundle
from deploy.errors import BundleError, MeasurementError, RuntimeNotFoundError, RuntimeRefusedError
from deploy.host import describe_host
from deploy.latency import Measurement, Model, ModelLatency, ask_for, check_arguments, measure
from deploy.layer_profile import LayerProfile, ToldLayers, profile_layers
from deploy.memory import check_memory
from deploy.names import PRECISIONS, Precision
from deploy.noise import noise_frames
from deploy.parity import MOST_POINTS_LOST
from deploy.progress import Progress, silent
from deploy.reference import reference_frames
from deploy.regular_file import FILE, FOLDER, kind_of
from deploy.results import LatencyRecord, Ratio
from deploy.runtimes import version_here
from deploy.runtimes.base import Float32
from deploy.strict_reading import Strict, read_strictly
from deploy.target_profile import Target
from deploy.targets import check_is_here

# Names in the measurement, the samples and the JSON. The ratio is against / bundle: how much faster the bundle is.
AGAINST, BUNDLE = "against", "bundle"
BEST = "best"

# Enough different frames that no processor learns them by heart, few enough to stay in its cache.
BATCHES_FED = 8
# I and Q, float32.
BYTES_A_SAMPLE = 8
# Of a look at each runtime and precision, to choose one.
LOOK_PROCESSES, LOOK_S = 3, 0.5


@dataclass(frozen=True)
class Subject:
    """What is profiled: a bundle, or a plain ONNX file, of which nothing is known but the ``length`` of its frames."""

    path: Path
    length: int
    bundle: Bundle | None = None

    @property
    def sample_rate_hz(self) -> float | None:
        """The rate that its frames were taken at, None where that is not known."""
        return None if self.bundle is None else self.bundle.manifest.input.sample_rate_hz

    def file(self, precision: Precision) -> Path:
        """The file in ``precision``; raises BundleError where the bundle has none."""
        return self.path if self.bundle is None else self.bundle.path_of(precision)

    def model(self, precision: Precision, runtime: str, *, named: bool = True) -> Model:
        """What is measured; of a plain file the ``precision`` is known where the user ``named`` it."""
        known = self.bundle is not None or named
        return Model(path=self.file(precision), runtime=runtime, precision=precision if known else None)

    def layers(self, precision: Precision) -> Sequence[Layer]:
        """What is known of its layers."""
        return () if self.bundle is None else self.bundle.manifest.precisions[precision].layers


@dataclass(frozen=True, kw_only=True)
class Look:
    """A runtime and a precision that were looked at to find the best; ``problem`` says why it is none, None if it could be."""

    runtime: str
    precision: Precision
    p50_ms: float | None
    accuracy: float | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What was measured, in which ``runtime`` and ``precision``, on which ``host``.

    ``looks`` are those that runtime and precision were chosen from. The frames have ``length`` samples, taken at
    ``sample_rate_hz`` where that is known.
    """

    measurement: Measurement
    runtime: str
    precision: Precision
    host: dict[str, JsonValue]
    length: int
    sample_rate_hz: float | None
    looks: tuple[Look, ...] = ()
    layers: LayerProfile | None = None

    def to_json(self) -> dict[str, Any]:
        """The rows of ``latency`` are as in results.json, the one that was asked about first."""
        models = self.measurement.models
        return {
            "latency": [models[name].record.to_json() for name in (BUNDLE, AGAINST) if name in models],
            "runtime": self.runtime,
            "precision": self.precision,
            "length": self.length,
            "sample_rate_hz": self.sample_rate_hz,
            "speed_up": self.measurement.ratio.to_json() if self.measurement.ratio else None,
            "looks": [vars(look) for look in self.looks],
            "layers": None if self.layers is None else self.layers.to_json(),
            "host": self.host,
        }

    @classmethod
    def from_json(cls, data: object, *, where: str) -> Profile:
        """Read what :meth:`to_json` gave, on another machine perhaps; the samples are not in it.

        Raises MeasurementError with every problem, naming ``where``.
        """
        told = read_strictly(_Told, data, where=where, error=MeasurementError)
        models = {
            name: ModelLatency(record=record, samples_ns=())
            for name, record in zip((BUNDLE, AGAINST), told.latency, strict=False)
        }
        return cls(
            measurement=Measurement(models=models, ratio=told.speed_up),
            runtime=told.runtime,
            precision=told.precision,
            host=told.host,
            length=told.length,
            sample_rate_hz=told.sample_rate_hz,
            looks=told.looks,
            layers=None if told.layers is None else LayerProfile.from_json(told.layers),
        )


class _Told(Strict):
    """The form of a profile's JSON."""

    latency: tuple[LatencyRecord, ...] = Field(min_length=1, max_length=2)
    runtime: str
    precision: Precision
    length: PositiveInt
    sample_rate_hz: PositiveFloat | None
    speed_up: Ratio | None
    looks: tuple[Look, ...]
    layers: ToldLayers | None
    host: dict[str, JsonValue]


def open_subject(path: Path) -> Subject:
    """Open what is to be profiled: a bundle's folder, held to its hashes, or an ONNX file.

    Raises BundleError for a folder that is none, MeasurementError for a file that is no model from frames to logits, and
    RuntimeRefusedError for one that takes frames of any length.
    """
    if path.suffix != ".onnx" or kind_of(path) == FOLDER:
        bundle = open_bundle(path)
        return Subject(path, bundle.manifest.input.shape[1], bundle)
    if (kind := kind_of(path)) != FILE:
        # A pipe would be waited for.
        there = "there is no such file" if kind is None else f"is {kind}"
        raise MeasurementError(f"{path}: {there}, expected an ONNX file or a bundle's folder")
    # In a process of its own: nobody vouches for the file, and there are some that end the process.
    length = ask_for("frames", Model(path=path))["length"]
    if length is None:
        raise RuntimeRefusedError(f"{path}: takes frames of any length; expected one, export it with a fixed length")
    return Subject(path, length)


def profile(
    subject: Subject,
    against: Subject | None = None,
    *,
    target: Target,
    precision: Precision | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    batch: int | None = None,
    processes: int = 10,
    seconds: float = 3.0,
    with_layers: bool = False,
    footprints: bool = True,
    samples_path: Path | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measure ``subject`` by the protocol of :mod:`deploy.latency`, in turns with what it stands ``against``.

    With ``footprints`` memory and energy are read too.

    What is None is taken from the target's profile. With the runtime ``"best"`` those of the target that are here are looked
    at, in each precision (or the one that is asked for), and the fastest is measured of those that answer here as they did at
    export and lose at most half a point of accuracy against the original, both on the reference frames.

    Raises TargetError where this machine is not the target, BundleError for a precision that a bundle does not hold or
    models whose frames differ, DatasetError for a batch beyond the memory, and MeasurementError.
    """
    check_is_here(target)
    if against is not None and against.length != subject.length:
        raise BundleError(
            f"{subject.path} takes frames of {subject.length} samples and {against.path} of {against.length}; only models of "
            "the same frames are measured against each other"
        )
    threads = target.measuring.threads if threads is None else threads
    batch = batch or target.measuring.batch
    check_memory(
        f"the frames to measure with, {BATCHES_FED} batches of {batch},",
        # Here, and in the process that measures.
        2 * BATCHES_FED * batch * subject.length * BYTES_A_SAMPLE,
        "Take a smaller batch",
    )
    frames = noise_frames(BATCHES_FED * batch, subject.length, np.random.default_rng(0))
    # Told before any look, not as the reason of each.
    check_arguments(
        1 if against is None else 2, frames, threads=threads, batch=batch, processes=processes, seconds=seconds
    )
    looks: tuple[Look, ...] = ()
    chosen_precision, chosen_runtime = precision or target.measuring.precision, runtime or target.measuring.runtime
    if runtime == BEST:
        wanted = PRECISIONS if precision is None else (precision,)
        looks = look_at_all(subject, target, frames, wanted, threads=threads, batch=batch, progress=progress)
        chosen_runtime, chosen_precision = best_of(looks)
    # Told here in a sentence of its own, not by the first of the processes.
    version_here(chosen_runtime)
    named = precision is not None
    models = {BUNDLE: subject.model(chosen_precision, chosen_runtime, named=named)}
    if against is not None:
        models = {AGAINST: against.model(chosen_precision, chosen_runtime, named=named), **models}
    measurement = measure(
        models,
        frames=frames,
        threads=threads,
        batch=batch,
        target=target.name,
        processes=processes,
        seconds=seconds,
        footprints=footprints,
        samples_path=samples_path,
        progress=progress,
    )
    layers = None
    if with_layers:
        layers = profile_layers(models[BUNDLE], subject.layers(chosen_precision), frames, threads=threads, batch=batch)
    return Profile(
        measurement=measurement,
        runtime=chosen_runtime,
        precision=chosen_precision,
        host=describe_host(),
        length=subject.length,
        sample_rate_hz=subject.sample_rate_hz,
        looks=looks,
        layers=layers,
    )


def look_at_all(
    subject: Subject,
    target: Target,
    frames: Float32,
    precisions: Sequence[Precision],
    *,
    threads: int,
    batch: int,
    progress: Progress,
) -> tuple[Look, ...]:
    """Check and briefly measure the subject in every runtime of the target and every precision that it is there in."""
    if subject.bundle is None:
        raise MeasurementError(
            f"{subject.path}: the best runtime is the fastest that is accurate, and a plain ONNX file has no frames to judge "
            "that by; export it as a bundle, or name a runtime"
        )
    for precision in precisions if len(precisions) == 1 else ():
        # Asked for by name: said where the bundle has none.
        subject.file(precision)
    # Missing ones are no one look's problem.
    reference_frames(subject.bundle)
    held = [precision for precision in precisions if precision in subject.bundle.manifest.precisions]
    pairs = [(runtime, precision) for runtime in target.runtimes for precision in held]
    looks = []
    for number, (runtime, precision) in enumerate(pairs):
        progress(number, len(pairs), f"looking at {runtime}, {precision}")
        p50_ms: float | None = None
        accuracy: float | None = None
        try:
            (check,) = check_bundle(subject.bundle, runtime, precisions=[precision], threads=threads)
            accuracy, problem = check.accuracy, "; ".join(check.problems) or lost_too_much(check.points_lost)
            if problem is None:
                seen = measure(
                    {BUNDLE: subject.model(precision, runtime)},
                    frames=frames,
                    threads=threads,
                    batch=batch,
                    processes=LOOK_PROCESSES,
                    seconds=LOOK_S,
                )
                p50_ms = seen.models[BUNDLE].record.p50_ms
        except (BundleError, RuntimeNotFoundError, MeasurementError) as error:
            problem = str(error)
        looks.append(Look(runtime=runtime, precision=precision, p50_ms=p50_ms, accuracy=accuracy, problem=problem))
    return tuple(looks)


def lost_too_much(points: float) -> str | None:
    """Say by how much a loss of accuracy, in hundredths, is more than the fastest may cost; None where it may."""
    # Shares of whole frames: what is over by rounding alone is not over.
    if round(points, 6) <= MOST_POINTS_LOST:
        return None
    return (
        f"it loses {points:.2f} points of accuracy against the original on the reference frames, at most "
        f"{MOST_POINTS_LOST} are accepted"
    )


def best_of(looks: Sequence[Look]) -> tuple[str, Precision]:
    """The runtime and precision of the fastest of ``looks``; raises MeasurementError where none could be measured."""
    good = [(look.p50_ms, look) for look in looks if look.p50_ms is not None]
    if not good:
        why = "\n".join(f"  {look.runtime}, {look.precision}: {look.problem}" for look in looks)
        raise MeasurementError(f"no runtime that is here is accurate:\n{why}")
    best = min(good, key=lambda pair: pair[0])[1]
    return best.runtime, best.precision
