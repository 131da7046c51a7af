"""What a plan may keep: a number of units, a fraction of them, or what a cut in MACs or parameters leaves room for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real

from toolchain.cost import Cost
from toolchain.errors import PlanError
from toolchain.pruning.units import Unit


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One of three: ``keep`` units (a float is a fraction of them), or at least a fraction of MACs or parameters removed.

    numpy's numbers become Python's. Raises PlanError unless exactly one is given, a number within its range.
    """

    keep: int | float | None = None
    macs_cut: float | None = None
    params_cut: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            got = ", ".join(f"{name} = {value}" for name, value in given.items()) or "none"
            raise PlanError(f"a budget is one of keep, macs_cut, params_cut; got {got}")
        for name, value in given.items():
            number = number_of(value)
            if name != "keep" and (number is None or not 0.0 < number < 1.0):
                raise PlanError(f"{name} = {value!r}: expected a fraction over 0 and under 1")
            if number is None or (isinstance(number, float) and not 0.0 < number <= 1.0):
                raise PlanError(
                    f"{name} = {value!r}: expected a fraction over 0 and up to 1, or a whole number of units"
                )
            object.__setattr__(self, name, number)

    @property
    def cut(self) -> tuple[str, float] | None:
        """Which sum is cut, "macs" or "params", and by what fraction; None where units are counted."""
        if self.macs_cut is not None:
            return "macs", self.macs_cut
        return None if self.params_cut is None else ("params", self.params_cut)


def number_of(value: object) -> int | float | None:
    """``value`` as Python's own int or finite float, also where it is numpy's; None for what is neither: True, "3", NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    number = int(value) if isinstance(value, Integral) else float(value)
    return number if isinstance(number, int) or math.isfinite(number) else None


def whole_number(value: object) -> int | None:
    """As :func:`number_of`, for whole numbers alone: 2.0 is none."""
    number = number_of(value)
    return number if isinstance(number, int) else None


def units_to_keep(keep: int | float, units: int) -> int:
    """``keep`` as a number of units: 7 is 7, 0.25 of 27 is 7.

    Raises PlanError outside 1..units, or a fraction outside 0..1.
    """
    asked = Budget(keep=keep).keep
    count = round(asked * units) if isinstance(asked, float) else asked
    if count is None or not 1 <= count <= units:
        raise PlanError(f"keep = {keep} asks for {count} units of {units}: expected 1 to {units}")
    return count


def count_to_keep(keep: int | float | None, units: int, fixed: int, least: int, blocks: int | str = 1) -> int:
    """As :func:`units_to_keep`; PlanError where these are fewer than ``least``, with the reason: ``fixed`` units or blocks."""
    assert keep is not None  # it is no budget of MACs or parameters
    count = units_to_keep(keep, units)
    if count < least:
        why = f"{fixed} are fixed and always kept"
        if least > fixed:
            why = f"each of {blocks} blocks keeps one at least" + (f", and {why}" if fixed else "")
        raise PlanError(f"keep = {keep} keeps {count} of {units} units, but {why}; expected {least} to {units}")
    return count


# The blocks of a plan, and how many units each keeps.
Share = Sequence[tuple[range, int]]


@dataclass(frozen=True)
class Savings:
    """What dropping each unit saves, and the whole that it is a part of: MACs, parameters, or later milliseconds.

    ``droppable``: indices of the units that are not fixed.
    """

    whole: float
    each: tuple[float, ...]
    droppable: tuple[int, ...]

    def of(self, block: range, kept: Sequence[int]) -> float:
        """The fraction of the whole that is gone when of ``block`` the units ``kept`` stay."""
        stay = frozenset(kept)
        return sum(self.each[index] for index in self.droppable if index in block and index not in stay) / self.whole

    def most(self, block: range, quota: int) -> float:
        """A bound: no choice of ``quota`` units of ``block`` saves a larger fraction."""
        largest = sorted((self.each[index] for index in self.droppable if index in block), reverse=True)
        return sum(largest[: len(block) - quota]) / self.whole


def savings_of(what: str, units: Sequence[Unit], whole: Cost) -> Savings:
    """What dropping ``units`` saves of the "macs" or the "params" of the ``whole`` model."""
    each = tuple(
        float(unit.macs - unit.shortcut_macs if what == "macs" else unit.params - unit.shortcut_params)
        for unit in units
    )
    droppable = tuple(index for index, unit in enumerate(units) if unit.kind != "fixed")
    return Savings(whole.macs if what == "macs" else whole.params, each, droppable)


# A cut asked for as 0.7 is met by 0.7 less what adding floats up loses.
ROUNDING = 1e-12


def most_kept(
    savings: Savings,
    cut: float,
    least: int,
    shares: Callable[[int], Iterable[Share]],
    kept_in: Callable[[range, int], Sequence[int]],
    *,
    what: str,
    or_else: str = "prune channels as well",
) -> Share:
    """How units are shared out in the largest plan that saves at least ``cut``.

    For a number of units ``shares`` gives the ways to share them out, the first choice first, at no cost; ``kept_in`` says
    which units of a block stay, which takes time: a way is left as soon as it cannot save enough any more. Units cost more
    in one block than in another, so of the largest number that is shared out by the blocks' sizes something is often left
    over: it is spent on further units, each for the block furthest below its share of those that can have one.

    Raises PlanError where no plan saves as much, with the nearest that there is, and what can be done ``or_else``.
    """
    enough = cut - ROUNDING
    for keep in range(len(savings.each) - 1, least - 1, -1):
        for share in shares(keep):
            if _saved(savings, share, kept_in, enough) >= enough:
                return _filled(savings, share, kept_in, enough)
    nearest = (0.0, len(savings.each))
    for keep in range(len(savings.each) - 1, least - 1, -1):
        for share in shares(keep):
            nearest = max(nearest, (_saved(savings, share, kept_in, nearest[0]), keep))
    raise PlanError(
        f"{what} = {cut:g}: no plan removes that much; the nearest keeps {nearest[1]} of {len(savings.each)} units and "
        f"removes {nearest[0]:.2%}: {ask_for_less(what, nearest[0])}{or_else}"
    )


def _saved(savings: Savings, share: Share, kept_in: Callable[[range, int], Sequence[int]], enough: float) -> float:
    """What a way to share units out saves; 0 where that is less than ``enough``, found out as early as can be."""
    bounds = [savings.most(block, quota) for block, quota in share]
    saved = sum(bounds)
    for (block, quota), bound in zip(share, bounds, strict=True):
        if saved < enough:
            return 0.0
        saved += savings.of(block, kept_in(block, quota)) - bound
    return saved if saved >= enough else 0.0


def _filled(savings: Savings, share: Share, kept_in: Callable[[range, int], Sequence[int]], enough: float) -> Share:
    """``share`` with as many units more as still leave ``enough`` saved."""
    keep = sum(quota for _, quota in share) + 1

    def short(at: int) -> Fraction:
        block, quota = share[at]
        return Fraction(keep * len(block), len(savings.each)) - quota

    growing = [at for at, (block, quota) in enumerate(share) if quota < len(block)]
    for at in sorted(growing, key=short, reverse=True):
        block, quota = share[at]
        more = [*share[:at], (block, quota + 1), *share[at + 1 :]]
        if _saved(savings, more, kept_in, enough) >= enough:
            return _filled(savings, more, kept_in, enough)
    return share


def ask_for_less(what: str, most: float) -> str:
    """The way out where ``most`` is the largest fraction that can be had: rounded down, so that asking for it works."""
    rounded = math.floor(most * 1e4) / 1e4
    return f"ask for at most {what} = {rounded:g}, or " if rounded > 0 else ""
