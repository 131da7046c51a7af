"""A model in a precision for its latency alone: what a run takes does not hang on how well it answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.names import Precision
from deploy.noise import noise_frames
from toolchain.errors import ExportError
from toolchain.export.half import to_half
from toolchain.export.int8 import quantisable, quantise

FRAMES = 64


def write_for_timing(fp32: Path, precision: Precision, length: int) -> Path:
    """The fp32 model at ``fp32`` in ``precision``, written beside it; with int8 all layers that can be are quantised.

    ``length`` is that of its frames. Raises ExportError for what cannot be written in the precision.
    """
    if precision == "fp32":
        return fp32
    path = fp32.with_name(f"{fp32.stem}.{precision}.onnx")
    frames = noise_frames(FRAMES, length, np.random.default_rng(0))
    if precision == "fp16":
        to_half(fp32, path, frames)
        return path
    names = quantisable(fp32)
    if not names:
        raise ExportError(f"{fp32.name}: has no layer that int8 is written for")
    quantise(fp32, path, frames, names)
    return path
