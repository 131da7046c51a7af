"""Axes: how far they go, and logarithmic ones whose ticks say whole numbers (Plotly's say a digit here, a power there)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

# Of a decade: as many as have room.
FEW, SOME, MANY = (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
# Decades that the first and the second are enough for.
WIDE, NARROW = 1.5, 0.5


def log_axis(title: str, values: Sequence[float], *, multiples: bool = False) -> dict[str, Any]:
    """An axis for ``values`` over 0; with ``multiples`` 1,500 is 1.5k and 2,000,000 is 2M."""
    axis: dict[str, Any] = {"title": {"text": title}, "type": "log"}
    values = [value for value in values if value > 0]
    if not values:
        return axis
    ticks = log_ticks(min(values), max(values))
    texts = [_short(tick) if multiples else f"{tick:.6g}" for tick in ticks]
    return {**axis, "tickvals": ticks, "ticktext": texts}


def log_ticks(low: float, high: float) -> list[float]:
    """The ticks of an axis from ``low`` to ``high``, and one beyond either end."""
    decades = math.log10(high / low)
    steps = FEW if decades > WIDE else SOME if decades > NARROW else MANY
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    # As text and back: 7 * 10**-2 is 0.07, and not a hair more.
    every = [float(f"{step * 10.0**power:.6g}") for power in range(first, last + 1) for step in steps]
    inside = [number for number, tick in enumerate(every) if low <= tick <= high]
    if not inside:
        below = max(number for number, tick in enumerate(every) if tick <= low)
        return every[below : below + 2]
    return every[max(0, inside[0] - 1) : inside[-1] + 2]


def span(middles: Sequence[float], bars: Sequence[float], *, room: float) -> tuple[float, float]:
    """What an axis shows of points with ``bars`` to either side: all the points, and a bar of the median length beside each.

    The one bar of two seeds that is as long as the plot is cut off, or it would press all others together. ``room`` is the
    least that is left at either end.
    """
    low, high = min(middles), max(middles)
    beyond = (median(bars) if bars else 0.0) + max(0.04 * (high - low), room)
    return low - beyond, high + beyond


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.6g}"
