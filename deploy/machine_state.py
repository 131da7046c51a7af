"""What changes on a machine while it measures: power mode, clocks, temperature, throttling, load. Unknown is None."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import JsonValue

from deploy.cgroup import throttled_periods
from deploy.kernel_files import ROOT, read_int, read_text

CPUS = "sys/devices/system/cpu"


def machine_state(root: Path = ROOT) -> dict[str, JsonValue]:
    """Return power mode, governor, clocks in MHz by core, temperatures in °C by sensor, load, counts of throttling since boot.

    ``load_average`` is the number of runnable processes over the last minute: above 1 plus what is measured, others
    were at work too.
    """
    return {
        "power_mode": _power_mode(root),
        "governor": _governor(root),
        "clocks_mhz": _by_name(_clocks_mhz(root)),
        "temperature_c": _by_name(_temperatures_c(root)),
        "load_average": _load_average(root),
        "thermal_throttle_events": _thermal_throttle_events(root),
        "quota_throttled_periods": throttled_periods(root),
    }


def change_of_state(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the conditions between two :func:`machine_state`: gauges at both ends, counters as differences."""
    changed: dict[str, JsonValue] = {}
    for name, value in before.items():
        then = after[name]
        if name in ("thermal_throttle_events", "quota_throttled_periods"):
            changed[name] = then - value if isinstance(value, int) and isinstance(then, int) else None
        elif name in ("governor", "power_mode"):
            changed[name] = value if value == then else f"{value}, then {then}"
        else:
            changed[name] = {"before": value, "after": then}
    return changed


def power_modes(root: Path = ROOT) -> dict[str, int]:
    """Return the power modes that this machine has, name to number; empty where it is no Jetson."""
    rows = re.findall(
        r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>",
        read_text(root / "etc/nvpmodel.conf") or "",
        flags=re.MULTILINE,
    )
    return {name: int(number) for number, name in rows}


def _by_name(values: Mapping[str, float]) -> JsonValue:
    return dict(values) or None


def _cores(root: Path) -> list[Path]:
    folders = (folder for folder in (root / CPUS).glob("cpu[0-9]*") if folder.name[3:].isdigit())
    return sorted(folders, key=lambda folder: int(folder.name[3:]))


def _power_mode(root: Path) -> str | None:
    """What a Jetson may draw, by the name of the mode, because their numbers differ by board and release."""
    found = re.search(r"\bpmode:(\d+)", read_text(root / "var/lib/nvpmodel/status") or "")
    if found is None:
        return None
    number = int(found.group(1))
    return next((name for name, mode in power_modes(root).items() if mode == number), str(number))


def _governor(root: Path) -> str | None:
    names = [read_text(folder / "cpufreq/scaling_governor") for folder in _cores(root)]
    known = sorted({name for name in names if name})
    return ", ".join(known) or None


def _clocks_mhz(root: Path) -> dict[str, float]:
    khz = {folder.name[3:]: read_int(folder / "cpufreq/scaling_cur_freq") for folder in _cores(root)}
    clocks = {core: value / 1000.0 for core, value in khz.items() if value}
    if clocks:
        return clocks
    # Virtual machines have no cpufreq; x86 kernels say the clock in cpuinfo all the same.
    lines = re.findall(r"^cpu MHz\s*:\s*([0-9.]+)", read_text(root / "proc/cpuinfo") or "", flags=re.MULTILINE)
    return {str(core): float(mhz) for core, mhz in enumerate(lines)}


def _temperatures_c(root: Path) -> dict[str, float]:
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    readings = [(read_text(zone / "type") or zone.name, read_int(zone / "temp")) for zone in zones]
    for sensor in sorted((root / "sys/class/hwmon").glob("hwmon*/temp*_input")):
        chip = read_text(sensor.parent / "name") or sensor.parent.name
        label = read_text(sensor.with_name(sensor.name.replace("_input", "_label"))) or sensor.name.removesuffix(
            "_input"
        )
        readings.append((f"{chip} {label}", read_int(sensor)))
    return _numbered((name, value / 1000.0) for name, value in readings if value is not None)


def _numbered(readings: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Keep every reading where two sensors have one name: the second becomes ``name 2``."""
    named: dict[str, float] = {}
    for name, value in readings:
        again = sum(1 for known in named if known == name or known.startswith(f"{name} #"))
        named[name if not again else f"{name} #{again + 1}"] = value
    return named


def _load_average(root: Path) -> float | None:
    found = re.match(r"[0-9.]+", read_text(root / "proc/loadavg") or "")
    return float(found.group()) if found else None


def _thermal_throttle_events(root: Path) -> int | None:
    counts = [read_int(folder / "thermal_throttle/core_throttle_count") for folder in _cores(root)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
