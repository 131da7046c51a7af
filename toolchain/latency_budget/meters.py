"""What says how long a model takes on a target: a measurement, here or over ssh, or an estimate; labelled either way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import onnx
from torch import nn

from deploy.names import Precision
from deploy.profiling import AGAINST, BUNDLE, Profile, Subject
from deploy.progress import Progress, silent
from deploy.target_profile import Target
from toolchain.estimates import Settings, estimate
from toolchain.export.for_timing import write_for_timing
from toolchain.export.layers import layers_of
from toolchain.export.onnx_file import export_onnx
from toolchain.models import ModelCard

Kind = Literal["measured", "estimated"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model takes, and what the one beside it took in the same run, in milliseconds, with 95 % intervals.

    ``times_as_fast`` is the ratio of both. An estimate has no interval of its own here: both ends are the value.
    """

    ms: float
    low_ms: float
    high_ms: float
    against_ms: float
    times_as_fast: float
    low_times: float
    high_times: float


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


# A subject, what it stands against, the processes and the seconds of each: what measures, here or elsewhere.
Measure = Callable[[Subject, Subject, int, float, Progress], Profile]
# Processes, and timed seconds in each, which both models share.
THOROUGH, BRIEF = (10, 2.0), (5, 1.5)


@dataclass(frozen=True, kw_only=True)
class MeasuredMeter:
    """Readings by the protocol of :mod:`deploy.latency`, both models in turns in fresh processes."""

    measure: Measure
    target: Target
    runtime: str
    precision: Precision
    device: str | None = None
    kind: Kind = "measured"

    @property
    def under(self) -> dict[str, Any]:
        """As :class:`Meter` says."""
        return {
            "target": self.target.name,
            "runtime": self.runtime,
            "precision": self.precision,
            "device": self.device,
            "threads": self.target.measuring.threads,
            "batch": self.target.measuring.batch,
        }

    def write(self, model: nn.Module, card: ModelCard, folder: Path, name: str) -> Path:
        """As :class:`Meter` says."""
        return write_model(model, card, folder, name, self.precision)

    def read(self, path: Path, against: Path, length: int, *, thorough: bool, progress: Progress = silent) -> Reading:
        """As :class:`Meter` says. Raises DeployError as measuring does."""
        processes, seconds = THOROUGH if thorough else BRIEF
        found = self.measure(Subject(path, length), Subject(against, length), processes, seconds, progress)
        measurement = found.measurement
        assert measurement.ratio is not None  # two models have one
        record = measurement.models[BUNDLE].record
        low_ms, high_ms = cast(list[float], record.conditions["p50_interval_ms"])
        return Reading(
            ms=record.p50_ms,
            low_ms=low_ms,
            high_ms=high_ms,
            against_ms=measurement.models[AGAINST].record.p50_ms,
            times_as_fast=measurement.ratio.ratio,
            low_times=measurement.ratio.low,
            high_times=measurement.ratio.high,
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
        }

    def write(self, model: nn.Module, card: ModelCard, folder: Path, name: str) -> Path:
        """As :class:`Meter` says."""
        return write_model(model, card, folder, name, self.precision)

    def read(self, path: Path, against: Path, length: int, *, thorough: bool, progress: Progress = silent) -> Reading:
        """As :class:`Meter` says. Raises EstimateError where there is no estimate."""
        ms, against_ms = (self._estimated_ms(each) for each in (path, against))
        times = against_ms / ms
        return Reading(
            ms=ms, low_ms=ms, high_ms=ms, against_ms=against_ms, times_as_fast=times, low_times=times, high_times=times
        )

    def _estimated_ms(self, path: Path) -> float:
        return estimate(layers_of(onnx.load(path)), self.target, self.precision, self.settings).estimated_ms
