"""Latency of a model on a target that is not there, one idea a file: the roofline, its constants, how they are found."""

from toolchain.estimates.calibrating import calibrate
from toolchain.estimates.calibration import (
    Calibration,
    calibration_path,
    check_writable,
    power_mode_here,
    read_calibration,
    write_calibration,
)
from toolchain.estimates.estimating import (
    Estimate,
    LayerEstimate,
    Settings,
    basis_of,
    check_runtime,
    estimate,
    modes_of,
)

__all__ = [
    "Calibration",
    "Estimate",
    "LayerEstimate",
    "Settings",
    "basis_of",
    "calibrate",
    "calibration_path",
    "check_runtime",
    "check_writable",
    "estimate",
    "modes_of",
    "power_mode_here",
    "read_calibration",
    "write_calibration",
]
