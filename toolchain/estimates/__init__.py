"""Latency of a model on a target that is not there, one idea a file: the roofline, its constants, how they are found."""

from toolchain.estimates.calibrating import calibrate
from toolchain.estimates.calibration import Calibration, calibration_path, read_calibration, write_calibration
from toolchain.estimates.estimating import Estimate, LayerEstimate, Settings, estimate

__all__ = [
    "Calibration",
    "Estimate",
    "LayerEstimate",
    "Settings",
    "calibrate",
    "calibration_path",
    "estimate",
    "read_calibration",
    "write_calibration",
]
