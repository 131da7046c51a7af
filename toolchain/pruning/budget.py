"""What a plan may keep: a number of units, a fraction of them, or what a cut in MACs or parameters leaves room for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from toolchain.cost import Cost
from toolchain.errors import NoRoomError, PlanError
from toolchain.pruning.units import Unit


@dataclass(frozen=True, kw_only=True)
class Latency:
    """At most ``limit_ms``, of a model that takes ``whole_ms``, and ``saved_ms`` less where each unit alone goes.

    Raises PlanError for times that are none, and for a limit that is none.
    """

    limit_ms: float
    whole_ms: float
    saved_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        times = (self.limit_ms, self.whole_ms, *self.saved_ms)
        if any(number_of(time) is None for time in times) or min(self.saved_ms, default=0.0) < 0:
            raise PlanError(f"latency: got times {', '.join(map(str, times[:8]))} ms, expected finite numbers from 0")
        if not 0 < self.limit_ms < self.whole_ms:
            raise PlanError(
                f"a limit of {self.limit_ms:.4g} ms, of a model of {self.whole_ms:.4g} ms: expected more than 0 and less than "
                "the model"
            )
        object.__setattr__(self, "limit_ms", float(self.limit_ms))
        object.__setattr__(self, "whole_ms", float(self.whole_ms))
        object.__setattr__(self, "saved_ms", tuple(map(float, self.saved_ms)))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One of four: ``keep`` units (a float is a fraction of them), a least fraction of MACs or parameters removed, a latency.

    numpy's numbers become Python's. Raises PlanError unless exactly one is given, a number within its range.
    """

    keep: int | float | None = None
    macs_cut: float | None = None
    params_cut: float | None = None
    latency: Latency | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            got = ", ".join(f"{name} = {value}" for name, value in given.items()) or "none"
            raise PlanError(f"a budget is one of keep, macs_cut, params_cut, latency; got {got}")
        for name, value in given.items():
            if name == "latency":
                continue
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
        """Which sum is cut, "macs", "params" or "latency", and by what fraction; None where units are counted."""
        if self.macs_cut is not None:
            return "macs", self.macs_cut
        if self.latency is not None:
            return "latency", 1.0 - self.latency.limit_ms / self.latency.whole_ms
        return None if self.params_cut is None else ("params", self.params_cut)

    @property
    def asked(self) -> str:
        """What is asked for, in words, of a cut."""
        if self.latency is not None:
            return f"a limit of {self.latency.limit_ms:.4g} ms"
        assert self.cut is not None
        return f"{self.cut[0]}_cut = {self.cut[1]:g}"


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


# A cut asked for as 0.7 is met by 0.7 less what adding floats up loses.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Room:
    """What units may cost together that stay: MACs, parameters, or milliseconds.

    ``each`` is what is saved when a unit goes, 0 for fixed ones; ``whole`` is the model's sum, and ``cut`` the least
    fraction of it that is to go.
    """

    whole: float
    each: tuple[float, ...]
    cut: float

    def left(self, kept: Iterable[int]) -> float:
        """What may be spent beside ``kept``; below 0 where these alone cost too much."""
        return (self.removed(kept) - self.cut + ROUNDING) * self.whole

    def fits(self, kept: Iterable[int]) -> bool:
        """Whether enough goes when only ``kept`` stay of the units."""
        return self.left(kept) >= 0

    def removed(self, kept: Iterable[int]) -> float:
        """The fraction that goes when only ``kept`` stay of the units."""
        return (sum(self.each) - sum(self.each[index] for index in kept)) / self.whole

    def cheapest(self, among: Iterable[int], count: int) -> list[int]:
        """The ``count`` units that cost least, the earlier ones where they cost the same."""
        return sorted(among, key=lambda index: (self.each[index], index))[:count]


def room_within(budget: Budget, units: Sequence[Unit], whole: Cost) -> Room:
    """The room that a budget of MACs, parameters or latency leaves to ``units`` of a model that costs ``whole``."""
    assert budget.cut is not None
    what, cut = budget.cut
    total: float
    if budget.latency is not None:
        total, saved = budget.latency.whole_ms, budget.latency.saved_ms
        if len(saved) != len(units):
            raise PlanError(f"latency: got {len(saved)} times, expected one for each of {len(units)} units")
    elif what == "macs":
        total, saved = whole.macs, tuple(float(unit.macs - unit.shortcut_macs) for unit in units)
    else:
        total, saved = whole.params, tuple(float(unit.params - unit.shortcut_params) for unit in units)
    each = tuple(0.0 if unit.kind == "fixed" else price for unit, price in zip(units, saved, strict=True))
    return Room(total, each, cut)


def no_room(budget: Budget, kept: int, units: int, removed: float) -> NoRoomError:
    """The error for a cut that no plan meets, with the nearest that there is."""
    nearest = f"the nearest keeps {kept} of {units} units"
    if budget.latency is not None:
        reached_ms = (1.0 - removed) * budget.latency.whole_ms
        return NoRoomError(
            f"{budget.asked}: no plan makes this model that fast; {nearest} and is foreseen to take {reached_ms:.4g} ms: "
            "allow more, or take a smaller model"
        )
    what = "MACs" if budget.macs_cut is not None else "parameters"
    name, _, _ = budget.asked.partition(" ")
    return NoRoomError(
        f"{budget.asked}: no plan removes that much of this model's {what}; {nearest} and removes {removed:.2%}: "
        f"{ask_for_less(name, removed)}prune channels as well, as Torch-Pruning does",
        most=_askable(removed),
    )


def ask_for_less(what: str, most: float) -> str:
    """The way out where ``most`` is the largest fraction that can be had: rounded down, so that asking for it works."""
    rounded = _askable(most)
    return f"ask for at most {what} = {rounded:g}, or " if rounded > 0 else ""


def _askable(most: float) -> float:
    return math.floor(most * 1e4) / 1e4
