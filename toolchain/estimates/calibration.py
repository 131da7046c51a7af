"""What a calibration leaves: the constants of a target and a runtime, and how far they were off on other networks."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from deploy.errors import RuntimeNotFoundError
from deploy.host import processor_facts
from deploy.machine_state import machine_state
from deploy.names import Precision, RuntimeName
from deploy.regular_file import read_whole
from deploy.runtimes import version_here
from deploy.strict_reading import Strict, read_strictly
from deploy.target_profile import Count, Target
from deploy.targets import is_here
from toolchain.errors import EstimateError
from toolchain.estimates.roofline import Above0, Constants

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
# The share of networks not used for fitting that lie within the interval.
LEVEL = 0.9


class Compared(Strict):
    """A network that was measured and estimated."""

    name: str
    measured_ms: Above0
    estimated_ms: Above0

    @property
    def error(self) -> float:
        """By how much the estimate is too large, as a part of what was measured."""
        return self.estimated_ms / self.measured_ms - 1.0


class Calibration(Strict):
    """The constants, under what they hold, and the networks of which ``family`` was used for fitting and ``held_out`` not."""

    kind: Literal["calibration"] = "calibration"
    target: str
    runtime: RuntimeName
    runtime_version: str
    precision: Precision
    threads: Count
    batch: Count
    power_mode: str | None
    cpu_model: str | None
    date: str
    thinwave_version: str | None
    commit: str | None
    constants: Constants
    family: tuple[Compared, ...] = Field(min_length=1)
    held_out: tuple[Compared, ...] = Field(min_length=1)

    @property
    def factor(self) -> float:
        """Estimates divided and multiplied by it hold 90 % of the networks that were not used for fitting.

        The share is a promise for further ones of the kind: Papadopoulos et al., "Inductive confidence machines for
        regression" (2002); with fewer than nine networks the furthest of them has to do.
        """
        off = sorted(abs(math.log(each.estimated_ms / each.measured_ms)) for each in self.held_out)
        return math.exp(off[min(len(off), math.ceil(LEVEL * (len(off) + 1))) - 1])


def calibration_path(
    target: str, runtime: str, precision: Precision, threads: int, power_mode: str | None = None
) -> Path:
    """Where the calibration of this account is kept. XDG_DATA_HOME is heeded as its specification says: where absolute."""
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    folder = (data if data.is_absolute() else Path.home() / ".local" / "share") / "thinwave" / "calibrations"
    return folder / f"{'-'.join(filter(None, (target, runtime, precision, str(threads), power_mode)))}.json"


def power_mode_here() -> str | None:
    """The power mode that this machine is in, None where it has none or does not say."""
    told = machine_state()["power_mode"]
    return told if isinstance(told, str) else None


def check_writable(path: Path) -> None:
    """Raise EstimateError for a place where no calibration can be written: before minutes of measuring."""
    place = next((folder for folder in path.absolute().parents if folder.exists()), path)
    if path.is_dir() or not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise EstimateError(f"{path}: no calibration can be written there; name another place with --calibration")


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write it whole or not at all; raises EstimateError where it cannot be."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(calibration.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise EstimateError(
            f"{path}: the calibration cannot be written: {error.strerror}; name another place with --calibration"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def read_calibration(path: Path) -> Calibration:
    """Raises EstimateError for a file that cannot be read, or is none."""
    try:
        data = json.loads(read_whole(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EstimateError(
            f"{path}: the calibration cannot be read: {reason}; calibrate again with `thinwave estimate --calibrate`"
        ) from error
    return read_strictly(Calibration, data, where=str(path), error=EstimateError)


def calibration_here(
    target: Target, runtime: str, precision: Precision, threads: int, power_mode: str | None = None
) -> Calibration | None:
    """The one that this account took on this machine; None where it took none, or the machine is not the target.

    One of another version of the runtime, or that cannot be read, is none, which is told as a warning.
    """
    path = calibration_path(target.name, runtime, precision, threads, power_mode)
    if not is_here(target) or not path.exists():
        return None
    try:
        found = read_calibration(path)
    except EstimateError as error:
        log.warning("%s", error)
        return None
    if found.cpu_model is None:
        log.warning("%s: does not say which processor was calibrated, which might be another's; it is left out", path)
        return None
    if found.cpu_model != processor_facts()["cpu_model"]:
        # A home that several machines share.
        return None
    try:
        version = version_here(runtime)
    except RuntimeNotFoundError:
        return found
    if version != found.runtime_version:
        log.warning(
            "%s %s is not the %s that was calibrated: calibrate again with `thinwave estimate --calibrate`",
            runtime, version, found.runtime_version,
        )  # fmt: skip
        return None
    return found
