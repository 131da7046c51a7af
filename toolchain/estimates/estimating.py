"""A model's latency on a target, estimated: layer by layer, in sum, and with an interval that says where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deploy.bundle import Layer
from deploy.names import Precision
from deploy.target_profile import PowerMode, Target
from toolchain.errors import EstimateError
from toolchain.estimates.assumed import assumed_constants
from toolchain.estimates.calibration import LEVEL, Calibration, calibration_here
from toolchain.estimates.roofline import Bound, time_us, work_of


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
        """The same as JSON values; no name in it is one of a measured record."""
        return {"kind": "estimated", **vars(self), "layers": [vars(layer) for layer in self.layers]}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Under what a latency is estimated; what is None is taken from the target's profile.

    ``calibration`` is one to estimate by, where it is not this account's own of the target.
    """

    runtime: str | None = None
    precision: Precision | None = None
    power_mode: str | None = None
    calibration: Calibration | None = None


def estimate(
    layers: Sequence[Layer], target: Target, precision: Precision, settings: Settings = Settings()
) -> Estimate:
    """Estimate a model of ``layers``, those of its file in ``precision``, on ``target``.

    Raises EstimateError for layers of which nothing is known, and for a target whose profile does not say enough.
    """
    runtime = settings.runtime or target.measuring.runtime
    threads, batch = target.measuring.threads, target.measuring.batch
    mode = None if settings.power_mode is None else _mode(target, settings.power_mode)
    calibration = settings.calibration or calibration_here(target, runtime, precision, threads)
    if calibration is not None:
        _check_fits(calibration, target, runtime, precision, threads)
        constants, factor = calibration.constants, calibration.factor
        basis = (
            f"calibrated {calibration.date} on {calibration.cpu_model or 'this machine'}: {LEVEL:.0%} of "
            f"{len(calibration.held_out)} models not used for fitting lay within"
        )
    else:
        constants, factor = assumed_constants(target, runtime, precision, threads=threads, power_mode=mode)
        basis = f"assumed: nobody measured this, the truth is believed to lie within {factor:g} times"
    works = [work_of(layer, precision, batch) for layer in layers]
    times = [time_us(work, constants) for work in works]
    total_ms = (constants.call_us + sum(us for us, _ in times)) / 1e3
    return Estimate(
        target=target.name,
        runtime=runtime,
        precision=precision,
        power_mode=mode.name if mode else (target.power_modes[0].name if target.power_modes else None),
        threads=threads,
        batch=batch,
        estimated_ms=total_ms,
        low_ms=total_ms / factor,
        high_ms=total_ms * factor,
        interval="assumed" if calibration is None else "calibrated",
        basis=basis,
        call_us=constants.call_us,
        layers=tuple(
            LayerEstimate(name=layer.name, op=layer.op, estimated_us=us, bound=bound)
            for layer, (us, bound) in zip(layers, times, strict=True)
        ),
    )


def _mode(target: Target, name: str) -> PowerMode:
    found = next((mode for mode in target.power_modes if mode.name == name), None)
    if found is None:
        there = ", ".join(mode.name for mode in target.power_modes) or "none"
        raise EstimateError(f'target {target.name}: has no power mode "{name}"; there are: {there}')
    return found


def _check_fits(calibration: Calibration, target: Target, runtime: str, precision: Precision, threads: int) -> None:
    wanted = {"target": target.name, "runtime": runtime, "precision": precision, "threads": threads}
    for name, expected in wanted.items():
        if (got := getattr(calibration, name)) != expected:
            raise EstimateError(
                f"the calibration is for {name} {got}, and the estimate for {expected}; name what it is for, or calibrate "
                "again with `thinwave estimate --calibrate`"
            )
