"""From measured networks to the constants under which the roofline comes nearest to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from toolchain.estimates.roofline import Constants, Work, total_ms

# Where each constant is looked for, and from where: microseconds, 1e9 a second, numbers of products and channels, megabytes.
RANGES: dict[str, tuple[float, float, float]] = {
    "call_us": (0.1, 5.0, 1000.0),
    "product_us": (0.01, 1.0, 1000.0),
    "pointwise_us": (0.001, 0.5, 1000.0),
    "other_us": (0.01, 1.0, 1000.0),
    "gmacs_per_s": (0.1, 50.0, 1e5),
    "gbytes_per_s": (0.1, 50.0, 1e5),
    "half_sum": (0.01, 8.0, 1000.0),
    "half_channels": (0.01, 8.0, 1000.0),
    "half_mbytes": (0.5, 16.0, 1000.0),
    "memory_gbytes_per_s": (0.1, 10.0, 1e5),
}
# Of numbers of channels that a runtime may compute at a time, the one that suits best is taken.
CHANNEL_BLOCKS = (1, 8, 16)
# Networks that are further off than this (log of the ratio) count for less: some layer has a way of its own.
FAR_OFF = 0.1


@dataclass(frozen=True)
class Measured:
    """A network that was measured: its name, the work of its layers, and the median of a run in milliseconds."""

    name: str
    works: tuple[Work, ...]
    p50_ms: float


def fit(measured: Sequence[Measured], **fixed: Any) -> Constants:
    """The constants with the least error over ``measured``; those outside of RANGES and the block are ``fixed``.

    Error is the logarithm of estimated over measured, so that small networks count as much as large ones.
    """
    tried = [_fit(measured, {**fixed, "channel_block": block}) for block in CHANNEL_BLOCKS]
    return min(tried, key=lambda found: found[0])[1]


def _fit(measured: Sequence[Measured], fixed: dict[str, Any]) -> tuple[float, Constants]:
    """The least error, and the constants that have it."""
    observed = np.log([each.p50_ms for each in measured])

    def errors(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        constants = _constants(logs, fixed)
        return np.array([math.log(total_ms(each.works, constants)) for each in measured]) - observed

    low, start, high = (np.log(column) for column in zip(*RANGES.values(), strict=True))
    found = least_squares(errors, start, bounds=(low, high), loss="soft_l1", f_scale=FAR_OFF)
    return float(found.cost), _constants(found.x, fixed)


def _constants(logs: NDArray[np.float64], fixed: dict[str, Any]) -> Constants:
    return Constants(**dict(zip(RANGES, np.exp(logs).tolist(), strict=True)), **fixed)
