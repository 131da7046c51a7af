"""What is here to run models with, why something is not, and what to install."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from deploy.errors import RuntimeNotFoundError, TargetError
from deploy.footprint import energy_joules, power_watts
from deploy.gpu import first_gpu
from deploy.host import describe_host
from deploy.runtimes import RUNTIMES, version_here
from deploy.targets import this_machine


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked for: what is there, or ``problem``: why it is not, and the way out."""

    what: str
    found: str | None
    problem: str | None = None


def runtimes_here() -> list[Finding]:
    """Every runtime with its version, or why it does not run here."""
    return [_runtime(name) for name in RUNTIMES]


def measuring_here() -> list[Finding]:
    """What a measurement can read on this machine beside time."""
    host = describe_host()
    governor, clocks, heat = host["governor"], host["clocks_mhz"], host["temperature_c"]
    steady = governor in (None, "performance")
    gpu = first_gpu()
    watched = [name for name, value in (("processor", energy_joules()), ("board", power_watts())) if value is not None]
    return [
        _target(),
        Finding(
            what="GPU",
            found=None if isinstance(gpu, str) else f"{gpu.name}, CUDA {gpu.cuda_version}",
            problem=gpu if isinstance(gpu, str) else None,
        ),
        Finding(
            what="clock governor",
            found=None if governor is None else str(governor),
            problem=None
            if steady and governor
            else "the kernel does not say it (a virtual machine?)"
            if governor is None
            else "clocks change while measuring; as root: cpupower frequency-set -g performance (on a Jetson: jetson_clocks)",
        ),
        Finding(
            what="clocks", found=_numbers(clocks, "MHz"), problem=None if clocks else "the kernel does not say them"
        ),
        Finding(what="temperature", found=_numbers(heat, "°C"), problem=None if heat else "no sensor can be read"),
        Finding(
            what="energy",
            found=", ".join(watched) or None,
            problem=None
            if watched
            else "no counter can be read (RAPL needs root; Jetsons have a monitor on the board)",
        ),
        Finding(what="processor quota", found=_quota(host["cpu_quota_cores"])),
    ]


def _runtime(name: str) -> Finding:
    try:
        return Finding(what=name, found=version_here(name))
    except RuntimeNotFoundError as error:
        return Finding(what=name, found=None, problem=str(error))


def _target() -> Finding:
    try:
        target = this_machine()
    except TargetError as error:
        return Finding(what="target", found=None, problem=str(error))
    return Finding(what="target", found=f"{target.name}: {target.description}")


def _numbers(values: JsonValue, unit: str) -> str | None:
    numbers = [value for value in values.values() if isinstance(value, float)] if isinstance(values, dict) else []
    if not numbers:
        return None
    low, high = f"{min(numbers):.0f}", f"{max(numbers):.0f}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _quota(cores: JsonValue) -> str | None:
    return f"{cores:g} cores" if isinstance(cores, float) else None if cores is None else str(cores)
