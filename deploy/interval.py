"""How sure a mean over a few processes is (Student's t interval), and a share of some frames (Wilson's).

A device has no scipy. The number of processes is whole, and for whole degrees of freedom the distribution has a closed
form, so a bisection on it gives the quantile to the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist


def student_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Return t with P(T <= t) = ``probability``, 0 < probability < 1, for whole ``degrees_of_freedom`` >= 1.

    Raises ValueError outside those. Source of the distribution: :func:`_within`.
    """
    if not 0.0 < probability < 1.0 or degrees_of_freedom < 1:
        raise ValueError(f"no t quantile at probability {probability}, {degrees_of_freedom} degrees of freedom")
    if probability < 0.5:
        return -student_t_quantile(1.0 - probability, degrees_of_freedom)
    inside = 2.0 * probability - 1.0
    low, high = 0.0, 1.0
    while _within(high, degrees_of_freedom) < inside:
        low, high = high, 2.0 * high
    while (middle := 0.5 * (low + high)) not in (low, high):
        if _within(middle, degrees_of_freedom) < inside:
            low = middle
        else:
            high = middle
    return middle


def t_interval(values: Sequence[float], level: float = 0.95, *, floor: float = 0.0) -> tuple[float, float, float]:
    """Return (mean, low, high): the mean of ``values`` and its two-sided t interval at ``level``.

    The values' standard deviation is taken to be ``floor`` at least: two that agree by chance are not known exactly.
    Raises ValueError for fewer than two values: one value says nothing of its own spread.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"an interval needs at least 2 values, got {count}")
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    deviation = max(math.sqrt(variance), floor)
    half = student_t_quantile(0.5 + 0.5 * level, count - 1) * deviation / math.sqrt(count)
    return mean, mean - half, mean + half


def share_interval(share: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return (low, high): the interval at ``level`` of a ``share`` seen in ``count`` independent cases.

    Raises ValueError for a share outside 0..1 or no cases. Source: Wilson, "Probable inference, the law of succession, and
    statistical inference" (1927).
    """
    if not 0.0 <= share <= 1.0 or count < 1:
        raise ValueError(f"no interval of a share of {share} in {count} cases")
    z = NormalDist().inv_cdf(0.5 + 0.5 * level)
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def resolution(count: int, *, shares: int = 1) -> float:
    """Return the standard deviation that a share of ``count`` cases has at the least: that of rounding it to 1 / ``count``.

    It is a floor of what shares vary by, 1 / (count * sqrt(12)); ``shares`` is how many are added or taken from each other, 2
    for the difference of two. Raises ValueError for no cases.
    """
    if count < 1:
        raise ValueError(f"no share is taken of {count} cases")
    return math.sqrt(shares / 12.0) / count


def _within(t: float, degrees_of_freedom: int) -> float:
    """Return P(|T| <= t): Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees_of_freedom))
    cosine_squared = math.cos(theta) ** 2
    odd = degrees_of_freedom % 2 == 1
    if degrees_of_freedom == 1:
        return 2.0 * theta / math.pi
    term = math.cos(theta) if odd else 1.0
    total = term
    for step in range(3 if odd else 2, degrees_of_freedom - 1, 2):
        term *= cosine_squared * (step - 1) / step
        total += term
    if odd:
        return 2.0 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total
