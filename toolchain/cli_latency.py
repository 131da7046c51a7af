"""The options with which ``thinwave prune`` prunes to a latency, and what they mean."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deploy.cli_options import FOLDER
from deploy.names import PRECISIONS, RUNTIME_NAMES, TRTEXEC, Precision
from deploy.suggestion import none_named
from toolchain.errors import ToolchainError

if TYPE_CHECKING:
    from deploy.profiling import Profile, Subject
    from deploy.progress import Progress
    from deploy.target_profile import Target
    from toolchain.latency_budget import Meter
    from toolchain.latency_budget.meters import Effort, Measure
    from toolchain.pruning_job import Within

log = logging.getLogger(__name__)

ALLOTMENTS = ("auto", "flow", "shares")

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Positive(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A finite number over a bound."""

    def __init__(self, over: float, name: str) -> None:
        self.over, self.name = over, name

    def convert(self, value: str | float, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """Read a number; NaN and infinity are none."""
        try:
            number = float(value)
        except ValueError:
            number = self.over
        if not self.over < number < float("inf"):
            self.fail(f"{value!r} is no number over {self.over:g}", parameter, context)
        return number


def latency_options(command: Decorated) -> Decorated:
    """Give a command the options that say how fast a model is to be, and where."""
    options = (
        click.option("--latency-ms", type=Positive(0, "MS"), help="Most milliseconds that the pruned model takes."),
        click.option("--speedup", type=Positive(1, "F"), help="Least times as fast as MODEL that it is."),
        click.option(
            "--target",
            metavar="NAME|FILE",
            help="Where: a target profile, which also has a default for --speedup. Latencies are measured where that is this "
            "machine or the one at --device, and estimated where not. [default: this machine's]",
        ),
        click.option(
            "--runtime", metavar="NAME", help=f"{', '.join(RUNTIME_NAMES)}. [default: the target's]"
        ),
        click.option(
            "--precision", type=click.Choice(PRECISIONS), help="What the measured files compute in. [default: the target's]"
        ),
        click.option("--power-mode", metavar="NAME", help="Of a Jetson: measured or estimated in this one."),
        click.option("--device", metavar="ssh://[USER@]HOST[:PORT][/DIR]", help="Measure there, as `profile` does."),
        click.option("--wheels", metavar="DIR", type=FOLDER, help="Wheels for a device that has no network."),
        click.option("--estimated", is_flag=True, help="Estimate, also where it could be measured: seconds, not minutes."),
        click.option(
            "--allot",
            type=click.Choice(ALLOTMENTS),
            help="What these milliseconds are given to: `flow`, the units with the most flow in the whole network, of "
            "whichever block; `shares`, each block to its share of the units that stay, as where MACs are cut; `auto`, to the "
            f"flow where that of every unit is known. [default: {ALLOTMENTS[0]}]",
        ),
        click.option(
            "--unit-latencies",
            "unit_latencies_path",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="A latency.json of this model from before: what its units take is not measured again.",
        ),
    )  # fmt: skip
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


def within_of(
    *,
    other_budget: bool,
    latency_ms: float | None,
    speedup: float | None,
    target: str | None,
    runtime: str | None,
    precision: Precision | None,
    power_mode: str | None,
    device: str | None,
    wheels: Path | None,
    estimated: bool,
    allot: str | None,
    unit_latencies_path: Path | None,
) -> Within | None:
    """What the options ask for; None where none of them does. Raises ToolchainError for what cannot be meant."""
    named = {
        "--target": target, "--runtime": runtime, "--precision": precision, "--power-mode": power_mode,
        "--device": device, "--wheels": wheels, "--estimated": estimated, "--allot": allot,
        "--unit-latencies": unit_latencies_path,
    }  # fmt: skip
    given = [name for name, value in named.items() if value]
    if latency_ms is None and speedup is None and (other_budget or target is None):
        if given:
            raise ToolchainError(f"{given[0]} is for --latency-ms or --speedup, which say how fast the model is to be")
        return None
    if wheels and not device:
        raise ToolchainError("--wheels is for what --device names")
    if estimated and device:
        raise ToolchainError("--estimated needs no --device, and --device measures; give one")
    if device and target is None:
        raise ToolchainError("--device needs --target: the profile of what is there")
    from deploy.targets import load_target, this_machine
    from toolchain.latency_budget import Limit
    from toolchain.pruning_job import Within

    profile = load_target(target) if target else this_machine()
    if latency_ms is None and speedup is None:
        speedup = profile.budget.speedup
        log.warning("no budget is named: pruned to be %g times as fast, the default of %s", speedup, profile.name)
    return Within(
        limit=Limit(latency_ms=latency_ms, speedup=speedup),
        meter=_meter(profile, runtime, precision, power_mode, device, wheels, estimated=estimated),
        unit_latencies=unit_latencies_path,
    )


def _meter(
    target: Target,
    runtime: str | None,
    precision: Precision | None,
    power_mode: str | None,
    device: str | None,
    wheels: Path | None,
    *,
    estimated: bool,
) -> Meter:
    from deploy.targets import is_here
    from toolchain.estimates import Settings, check_runtime
    from toolchain.latency_budget import EstimatedMeter, MeasuredMeter

    chosen_precision = precision or target.measuring.precision
    chosen_runtime = runtime or target.measuring.runtime
    if device is None and (estimated or not is_here(target)):
        check_runtime(target, chosen_runtime)
        if not estimated:
            log.warning("%s is not this machine: latencies are estimated; measure with --device", target.name)
        settings = Settings(runtime=runtime, power_mode=power_mode)
        return EstimatedMeter(target=target, precision=chosen_precision, settings=settings)
    if device is None:
        from deploy.runtimes import version_here

        # Before any work.
        version_here(chosen_runtime)
        measure = _here(target, chosen_runtime, chosen_precision, power_mode)
    else:
        measure = _there(target, chosen_runtime, chosen_precision, power_mode, device, wheels)
    return MeasuredMeter(
        measure=measure,
        target=target,
        runtime=chosen_runtime,
        precision=chosen_precision,
        power_mode=power_mode,
        device=device,
    )


def _here(target: Target, runtime: str, precision: Precision, power_mode: str | None) -> Measure:
    from deploy.power_mode import in_power_mode
    from deploy.profiling import profile

    def measure(subject: Subject, against: Subject, effort: Effort, progress: Progress) -> Profile:
        with in_power_mode(power_mode):
            return profile(
                subject, against, target=target, runtime=runtime, precision=precision, processes=effort.processes,
                seconds=effort.seconds, footprints=effort.footprints, progress=progress,
            )  # fmt: skip

    return measure


def _there(
    target: Target, runtime: str, precision: Precision, power_mode: str | None, device: str, wheels: Path | None
) -> Measure:
    from deploy.remote.address import parse_device
    from deploy.remote.brought import require_folder
    from deploy.remote.connection import Connection
    from deploy.remote.device_side import Settings
    from deploy.remote.measuring import profile_there
    from deploy.remote.setting_up import extras_for

    connection = Connection(parse_device(device))
    # Before any work.
    if runtime not in (*RUNTIME_NAMES, TRTEXEC):
        raise ToolchainError(none_named("runtime", runtime, RUNTIME_NAMES))
    extras_for(device, runtime, target)
    if wheels is not None:
        require_folder(wheels)

    def measure(subject: Subject, against: Subject, effort: Effort, progress: Progress) -> Profile:
        settings = Settings(
            precision=precision,
            runtime=runtime,
            processes=effort.processes,
            seconds=effort.seconds,
            power_mode=power_mode,
        )
        # The original is beside every one of the others, each of which is read once.
        return profile_there(
            connection, subject, against, settings, target=target, wheels=wheels, keep_subject=False, progress=progress
        )

    return measure
