"""What says how long a model takes on a target: a measurement, here or over ssh, or an estimate; labelled either way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import onnx
from torch import nn

from deploy.errors import MeasurementError
from deploy.names import Precision
from deploy.profiling import AGAINST, BUNDLE, Profile, Subject
from deploy.progress import Progress, silent
from deploy.target_profile import Target
from toolchain.estimates import Settings, basis_of, estimate
from toolchain.export.for_timing import write_for_timing
from toolchain.export.layers import layers_of
from toolchain.export.onnx_file import export_onnx
from toolchain.models import ModelCard

Kind = Literal["measured", "estimated"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model takes in milliseconds, and how many times as fast it is as the one beside it, which takes ``against_ms``.

    ``at_most_ms`` and ``at_least_times`` are the ends of 95 % intervals of what was measured. An estimate is held to the limit
    as it is: how far off it may be is in ``records``, which holds what is known of both models, as JSON values.
    """

    ms: float
    at_most_ms: float
    against_ms: float
    times_as_fast: float
    at_least_times: float
    records: dict[str, Any]


class Meter(Protocol):
    """Something that reads latencies: ``kind`` and ``under`` say how, and under what, for records and for people."""

    @property
    def kind(self) -> Kind:
        """Whether the readings are measured or estimated."""

    @property
    def under(self) -> dict[str, Any]:
        """Target, runtime, precision, as JSON values."""

    def write(self, model: nn.Module, card: ModelCard, folder: Path, name: str) -> Path:
        """Write a model as what is read: an ONNX file called ``name`` in ``folder``."""

    def read(self, path: Path, against: Path, length: int, *, thorough: bool, progress: Progress = silent) -> Reading:
        """Read the model at ``path`` beside the one ``against`` it, on frames of ``length``.

        A ``thorough`` reading has a good interval; another is quicker, and its interval need not be good.
        """


def write_model(model: nn.Module, card: ModelCard, folder: Path, name: str, precision: Precision) -> Path:
    """Export ``model`` for its latency alone; raises ExportError for what cannot be written in the precision."""
    path = folder / f"{name}.onnx"
    export_onnx(model, path, classes=card.classes, length=card.length)
    return write_for_timing(path, precision, card.length)


@dataclass(frozen=True)
class Effort:
    """How a reading is taken: in so many ``processes``, of so many timed ``seconds`` each, which both models share.

    With ``footprints`` memory and energy are read too, where what measures can leave them out.
    """

    processes: int
    seconds: float
    footprints: bool = False


# A subject, what it stands against, and how thoroughly: what measures, here or elsewhere.
Measure = Callable[[Subject, Subject, Effort, Progress], Profile]
THOROUGH, BRIEF = Effort(10, 2.0, footprints=True), Effort(5, 1.5)


@dataclass(frozen=True, kw_only=True)
class MeasuredMeter:
    """Readings by the protocol of :mod:`deploy.latency`, both models in turns in fresh processes.

    ``thorough`` and ``brief`` are the efforts of both kinds of readings, None for :data:`THOROUGH` and :data:`BRIEF`.
    """

    measure: Measure
    target: Target
    runtime: str
    precision: Precision
    power_mode: str | None = None
    device: str | None = None
    thorough: Effort | None = None
    brief: Effort | None = None
    kind: Kind = "measured"

    @property
    def under(self) -> dict[str, Any]:
        """As :class:`Meter` says."""
        return {
            "target": self.target.name,
            "runtime": self.runtime,
            "precision": self.precision,
            "power_mode": self.power_mode,
            "threads": self.target.measuring.threads,
            "batch": self.target.measuring.batch,
            "device": self.device,
        }

    def write(self, model: nn.Module, card: ModelCard, folder: Path, name: str) -> Path:
        """As :class:`Meter` says."""
        return write_model(model, card, folder, name, self.precision)

    def read(self, path: Path, against: Path, length: int, *, thorough: bool, progress: Progress = silent) -> Reading:
        """As :class:`Meter` says. Raises DeployError as measuring does, and where an emulator ran it."""
        effort = (self.thorough or THOROUGH) if thorough else (self.brief or BRIEF)
        found = self.measure(Subject(path, length), Subject(against, length), effort, progress).measurement
        assert found.ratio is not None  # two models have one
        records = {name: model.record for name, model in found.models.items()}
        if records[BUNDLE].kind != "measured":
            raise MeasurementError(
                f"{self.target.name}: an emulator ran it, whose times are no device's; name a device with --device, or "
                "estimate with --estimated"
            )
        _, high_ms = cast(list[float], records[BUNDLE].conditions["p50_interval_ms"])
        return Reading(
            ms=records[BUNDLE].p50_ms,
            at_most_ms=high_ms,
            against_ms=records[AGAINST].p50_ms,
            times_as_fast=found.ratio.ratio,
            at_least_times=found.ratio.low,
            records={"pruned": records[BUNDLE].to_json(), "original": records[AGAINST].to_json()},
        )


@dataclass(frozen=True, kw_only=True)
class EstimatedMeter:
    """Readings by :mod:`toolchain.estimates`."""

    target: Target
    precision: Precision
    settings: Settings
    kind: Kind = "estimated"

    @property
    def under(self) -> dict[str, Any]:
        """As :class:`Meter` says."""
        return {
            "target": self.target.name,
            "runtime": self.settings.runtime or self.target.measuring.runtime,
            "precision": self.precision,
            "power_mode": self.settings.power_mode,
            "threads": self.target.measuring.threads,
            "batch": self.target.measuring.batch,
            "basis": basis_of(self.target, self.precision, self.settings),
        }

    def write(self, model: nn.Module, card: ModelCard, folder: Path, name: str) -> Path:
        """As :class:`Meter` says."""
        return write_model(model, card, folder, name, self.precision)

    def read(self, path: Path, against: Path, length: int, *, thorough: bool, progress: Progress = silent) -> Reading:
        """As :class:`Meter` says. Raises EstimateError where there is no estimate."""
        pruned, original = (
            estimate(layers_of(onnx.load(each)), self.target, self.precision, self.settings) for each in (path, against)
        )
        times = original.estimated_ms / pruned.estimated_ms
        return Reading(
            ms=pruned.estimated_ms,
            at_most_ms=pruned.estimated_ms,
            against_ms=original.estimated_ms,
            times_as_fast=times,
            at_least_times=times,
            records={"pruned": pruned.summary(), "original": original.summary()},
        )
