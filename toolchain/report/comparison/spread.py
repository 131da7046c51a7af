"""A mean over seeds, how sure it is, and which seeds it is of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deploy.interval import t_interval

Basis = Literal["seeds", "ratios", "processes", "equal", "none"]
# What differs by less, relative to its size, differs by the arithmetic alone.
_EQUAL = 1e-9

BASES: Mapping[Basis, str] = {
    "seeds": "arithmetic mean; 95 % interval by Student's t over the seeds",
    "ratios": "geometric mean; 95 % interval by Student's t over the logarithms of the seeds",
    "processes": "one seed; 95 % interval over the processes of its one run, which says nothing of other seeds",
    "equal": "all seeds have the same value, no interval: how finely it was measured is not known",
    "none": "one seed, no interval",
}


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The ``mean`` of the values ``by_seed`` and its 95 % interval, ``low`` to ``high``: None where there is none.

    ``basis`` says over what the interval is taken, a key of BASES.
    """

    mean: float
    low: float | None
    high: float | None
    basis: Basis
    by_seed: Mapping[int, float]

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def over_seeds(
    by_seed: Mapping[int, float], *, least: float = -math.inf, most: float = math.inf, floor: float | None = None
) -> Spread | None:
    """The arithmetic mean with its t interval, cut to what is possible (``least`` to ``most``); None of no seed.

    ``floor`` is the least standard deviation that the values are taken to have, None where it is not known. Of one seed there
    is no interval, as it says nothing of its own spread; nor of equal ones without a floor, as none is exact.
    """
    values = list(by_seed.values())
    if not values:
        return None
    if len(values) == 1:
        return Spread(mean=values[0], low=None, high=None, basis="none", by_seed=dict(by_seed))
    if not floor and _equal(values):
        return Spread(mean=values[0], low=None, high=None, basis="equal", by_seed=dict(by_seed))
    mean, low, high = t_interval(values, floor=floor or 0.0)
    return Spread(mean=mean, low=max(low, least), high=min(high, most), basis="seeds", by_seed=dict(by_seed))


def ratio_over_seeds(by_seed: Mapping[int, float], *, of_run: tuple[float, float] | None = None) -> Spread | None:
    """The geometric mean of positive values with the t interval of their logarithms; None of no seed.

    Of one seed the interval is that ``of_run``, over the processes of its own run, where there is one; equal ones have none.
    """
    values = list(by_seed.values())
    if not values:
        return None
    if len(values) > 1 and _equal(values):
        return Spread(mean=values[0], low=None, high=None, basis="equal", by_seed=dict(by_seed))
    if len(values) > 1:
        mean, low, high = (math.exp(value) for value in t_interval([math.log(value) for value in values]))
        return Spread(mean=mean, low=low, high=high, basis="ratios", by_seed=dict(by_seed))
    low_high = of_run or (None, None)
    return Spread(
        mean=values[0],
        low=low_high[0],
        high=low_high[1],
        basis="processes" if of_run else "none",
        by_seed=dict(by_seed),
    )


def _equal(values: Sequence[float]) -> bool:
    return max(values) - min(values) <= _EQUAL * max(abs(value) for value in values)
