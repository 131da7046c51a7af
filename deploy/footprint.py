"""What running a model takes of this process and machine besides time: memory, and energy where a counter can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from deploy.kernel_files import ROOT, read_int, read_text


def resident_bytes(root: Path = ROOT) -> int | None:
    """The resident set of this process now; None where the kernel does not say."""
    return _status(root, "VmRSS")


def peak_resident_bytes(root: Path = ROOT) -> int | None:
    """The largest resident set of this process since :func:`forget_peak`, or since its start."""
    return _status(root, "VmHWM")


def forget_peak(root: Path = ROOT) -> bool:
    """Let the peak be counted from here on; say whether the kernel let us."""
    try:
        (root / "proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def energy_joules(root: Path = ROOT) -> float | None:
    """The energy that the processor's packages have taken so far, by their counters (RAPL); None where none can be read.

    The whole package counts, with all that runs on it; counters wrap around after some minutes to hours.
    """
    counts = [read_int(folder / "energy_uj") for folder in _packages(root)]
    known = [count for count in counts if count is not None]
    return sum(known) / 1e6 if known else None


def _packages(root: Path) -> Iterator[Path]:
    folders = sorted((root / "sys/class/powercap").glob("*rapl*:*"))
    # Cores and memory are parts of their package, "intel-rapl:0:1" of "intel-rapl:0".
    yield from (folder for folder in folders if (read_text(folder / "name") or "").startswith("package"))


def power_watts(root: Path = ROOT) -> float | None:
    """What a Jetson's board draws at this moment, by the monitor (INA3221) on its supply; None on other machines."""
    for label in sorted((root / "sys/class/hwmon").glob("hwmon*/in*_label")):
        if read_text(label) in ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0"):
            number = re.sub(r"\D", "", label.name)
            millivolts = read_int(label.with_name(f"in{number}_input"))
            milliamperes = read_int(label.with_name(f"curr{number}_input"))
            if millivolts is not None and milliamperes is not None:
                return millivolts * milliamperes / 1e6
    return None


def _status(root: Path, name: str) -> int | None:
    found = re.search(rf"^{name}:\s*(\d+) kB$", read_text(root / "proc/self/status") or "", flags=re.MULTILINE)
    return None if found is None else int(found.group(1)) * 1024
