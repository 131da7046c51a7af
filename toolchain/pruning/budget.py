"""What a plan may keep: a number of units, a fraction of them, or what a cut in MACs or parameters leaves room for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from toolchain.errors import PlanError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One of three: ``keep`` units (a float is a fraction of them), or at least a fraction of MACs or parameters removed.

    Raises PlanError unless exactly one is given, within its range.
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
            if name != "keep" and not 0.0 < value < 1.0:
                raise PlanError(f"{name} = {value}: expected a fraction over 0 and under 1")
        if isinstance(self.keep, float) and not 0.0 < self.keep <= 1.0:
            raise PlanError(f"keep = {self.keep}: expected a fraction over 0 and up to 1, or a whole number of units")

    @property
    def cut(self) -> tuple[str, float] | None:
        """Which sum is cut, "macs" or "params", and by what fraction; None where units are counted."""
        if self.macs_cut is not None:
            return "macs", self.macs_cut
        return None if self.params_cut is None else ("params", self.params_cut)


def units_to_keep(keep: int | float, units: int) -> int:
    """``keep`` as a number of units: 7 is 7, 0.25 of 27 is 7.

    Raises PlanError outside 1..units, or a fraction outside 0..1.
    """
    Budget(keep=keep)
    count = round(keep * units) if isinstance(keep, float) else keep
    if not 1 <= count <= units:
        raise PlanError(f"keep = {keep} asks for {count} units of {units}: expected 1 to {units}")
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

    def of(self, kept: Sequence[int]) -> float:
        """The fraction that is gone when the units ``kept`` stay."""
        stay = frozenset(kept)
        return sum(self.each[index] for index in self.droppable if index not in stay) / self.whole

    def most(self, share: Share) -> float:
        """A bound: no plan that keeps so many units of these blocks saves a larger fraction."""
        saved = 0.0
        for block, quota in share:
            largest = sorted((self.each[index] for index in self.droppable if index in block), reverse=True)
            saved += sum(largest[: len(block) - quota])
        return saved / self.whole


# A cut asked for as 0.7 is met by 0.7 less what adding floats up loses.
ROUNDING = 1e-12


def most_kept(
    savings: Savings,
    cut: float,
    least: int,
    shares: Callable[[int], Iterable[Share]],
    kept_of: Callable[[Share], Sequence[int]],
    *,
    what: str,
) -> Share:
    """How units are shared out in the largest plan that saves at least ``cut``.

    For a number of units ``shares`` gives the ways to share them out, the first choice first, at no cost; ``kept_of`` plans.

    Raises PlanError where no plan saves as much, with the nearest that there is.
    """
    nearest = (0.0, len(savings.each))
    for keep in range(len(savings.each) - 1, least - 1, -1):
        for share in shares(keep):
            if savings.most(share) < cut - ROUNDING and keep > least:
                continue  # no plan of this kind can save enough
            saved = savings.of(kept_of(share))
            if saved >= cut - ROUNDING:
                return share
            nearest = max(nearest, (saved, keep))
    raise PlanError(
        f"{what} = {cut:g}: no plan removes that much; the nearest keeps {nearest[1]} of {len(savings.each)} units and "
        f"removes {nearest[0]:.2%}: ask for at most {what} = {int(nearest[0] * 1e4) / 1e4:g}, or prune channels as well"
    )
