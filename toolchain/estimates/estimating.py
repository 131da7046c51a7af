"""A model's latency on a target, estimated: layer by layer, in sum, and with an interval that says where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deploy.bundle import Layer
from deploy.names import Precision
from deploy.suggestion import did_you_mean
from deploy.target_profile import PowerMode, Target
from deploy.targets import is_here
from toolchain.errors import EstimateError
from toolchain.estimates.assumed import assumed_constants
from toolchain.estimates.calibration import LEVEL, Calibration, calibration_here
from toolchain.estimates.roofline import Bound, times_us, total_ms, work_of


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer's time in microseconds, and what most of it is."""

    name: str
    op: str
    estimated_us: float
    bound: Bound


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run of a model is estimated to take: ``estimated_ms``, between ``low_ms`` and ``high_ms``.

    ``interval`` says where those come from: ``"calibrated"``, from networks that were measured on the machine and not used
    for fitting, or ``"assumed"``, for a device that nobody measured; ``basis`` says it in words. ``call_us`` is the part that
    no layer takes.
    """

    target: str
    runtime: str
    precision: Precision
    power_mode: str | None
    threads: int
    batch: int
    estimated_ms: float
    low_ms: float
    high_ms: float
    interval: Literal["calibrated", "assumed"]
    basis: str
    call_us: float
    layers: tuple[LayerEstimate, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; no time in it has the name that a measured record's has."""
        return {**self.summary(), "layers": [vars(layer) for layer in self.layers]}

    def summary(self) -> dict[str, Any]:
        """As :meth:`to_json`, without the layers."""
        return {"kind": "estimated", **{name: value for name, value in vars(self).items() if name != "layers"}}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Under what a latency is estimated; what is None is taken from the target's profile.

    ``calibration`` is one to estimate by, where it is not this account's own of the target.
    """

    runtime: str | None = None
    power_mode: str | None = None
    calibration: Calibration | None = None


def modes_of(target: Target) -> list[str | None]:
    """The power modes of which the profile says enough to estimate in; None alone where it has none."""
    modes = target.power_modes
    return [mode.name for mode in modes if mode is modes[0] or mode.gpu_mhz or mode.cpu_mhz] or [None]


def basis_of(target: Target, precision: Precision, settings: Settings) -> str:
    """Where the constants come from: the date of a calibration, or that they are assumed."""
    calibration = _calibration(target, precision, settings, _mode(target, settings.power_mode))
    return "assumed" if calibration is None else f"calibrated {calibration.date}"


def estimate(
    layers: Sequence[Layer], target: Target, precision: Precision, settings: Settings = Settings()
) -> Estimate:
    """Estimate a model of ``layers``, those of its file in ``precision``, on ``target``.

    Without a power mode it is in the profile's first. Raises EstimateError for layers of which nothing is known, a runtime
    that is none of the target's, and a target whose profile does not say enough.
    """
    runtime = settings.runtime or target.measuring.runtime
    threads, batch = target.measuring.threads, target.measuring.batch
    check_runtime(target, runtime)
    mode = _mode(target, settings.power_mode)
    calibration = _calibration(target, precision, settings, mode)
    if calibration is not None:
        constants, factor = calibration.constants, calibration.factor
        where = calibration.cpu_model or "a processor that does not say which"
        basis = (
            f"calibrated {calibration.date} on {where}: {LEVEL:.0%} of {len(calibration.held_out)} models not used for "
            "fitting lay within"
        )
    else:
        constants, factor = assumed_constants(target, runtime, precision, threads=threads, power_mode=mode)
        calibrate = "; measure with `thinwave estimate --calibrate`" if is_here(target) else ""
        basis = f"assumed: nobody measured this, the truth is believed to lie within {factor:g} times{calibrate}"
    works = [work_of(layer, precision, batch) for layer in layers]
    times = times_us(works, constants)
    milliseconds = total_ms(works, constants)
    return Estimate(
        target=target.name,
        runtime=runtime,
        precision=precision,
        power_mode=None if mode is None else mode.name,
        threads=threads,
        batch=batch,
        estimated_ms=milliseconds,
        low_ms=milliseconds / factor,
        high_ms=milliseconds * factor,
        interval="assumed" if calibration is None else "calibrated",
        basis=basis,
        call_us=constants.call_us,
        layers=tuple(
            LayerEstimate(name=layer.name, op=layer.op, estimated_us=us, bound=bound)
            for layer, (us, bound) in zip(layers, times, strict=True)
        ),
    )


def check_runtime(target: Target, runtime: str) -> None:
    """Raise EstimateError for a runtime that is none of the target's."""
    if runtime not in target.runtimes:
        raise EstimateError(
            f'target {target.name}: "{runtime}" is none of its runtimes{did_you_mean(runtime, target.runtimes)}; they are: '
            f"{', '.join(target.runtimes)}"
        )


def _mode(target: Target, name: str | None) -> PowerMode | None:
    if name is None:
        return target.power_modes[0] if target.power_modes else None
    found = next((mode for mode in target.power_modes if mode.name == name), None)
    if found is None:
        there = ", ".join(mode.name for mode in target.power_modes) or "none"
        raise EstimateError(f'target {target.name}: has no power mode "{name}"; there are: {there}')
    if found.name not in modes_of(target):
        raise EstimateError(
            f"target {target.name}: what its power mode {name} caps is not known; there is an estimate in "
            f"{', '.join(filter(None, modes_of(target)))}"
        )
    return found


def _calibration(
    target: Target, precision: Precision, settings: Settings, mode: PowerMode | None
) -> Calibration | None:
    wanted = {
        "target": target.name,
        "runtime": settings.runtime or target.measuring.runtime,
        "precision": precision,
        "threads": target.measuring.threads,
        "batch": target.measuring.batch,
        "power_mode": None if mode is None else mode.name,
    }
    found = settings.calibration
    if found is None:
        name = wanted["power_mode"]
        found = calibration_here(
            target, str(wanted["runtime"]), precision, target.measuring.threads, None if name is None else str(name)
        )
        return found if found is not None and found.batch == wanted["batch"] else None
    for what, expected in wanted.items():
        if (got := getattr(found, what)) != expected:
            raise EstimateError(
                f"the calibration is for {what} {got}, and the estimate for {expected}; name what it is for, or calibrate "
                "again with `thinwave estimate --calibrate`"
            )
    return found
