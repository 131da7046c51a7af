"""Which of two methods is better, and whether one is better than all: said only where an interval says so."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from deploy.interval import resolution
from toolchain.report.comparison.latency import Setting, Timing
from toolchain.report.comparison.spread import Spread, over_seeds, ratio_over_seeds
from toolchain.report.comparison.statistics import Entry, Row

Verdict = Literal["better", "worse", "no difference shown", "one seed"]
SpeedVerdict = Literal[
    "faster",
    "slower",
    "no difference shown",
    "faster in its one run",
    "slower in its one run",
    "no difference shown in its one run",
]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How many ``points`` of test accuracy a method has more than another, over the seeds that both have."""

    points: Spread
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class SpeedRatio:
    """How many ``times`` as fast as another a method is, over the seeds that both have; of one, over its run's processes."""

    times: Spread
    verdict: SpeedVerdict


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a row's figures say of its methods.

    ``best`` has the highest mean ``accuracy`` of the ``eligible`` (no seed failed, none missed the budget), over the ``seeds``
    that all of them have, or where there is none its own; ``winner`` is it where all that was asked for is done and it is
    better than every other by the interval of their paired difference, else None. ``like_best`` are the others that are not
    shown to be worse, ``left_out`` those that are not eligible.
    """

    winner: str | None
    best: str | None
    accuracy: float | None
    seeds: tuple[int, ...]
    eligible: tuple[str, ...]
    like_best: tuple[str, ...]
    left_out: tuple[str, ...]


def difference(one: Entry, other: Entry) -> Difference | None:
    """The accuracy of ``one`` less that of ``other``, paired by seed; None where no seed has both within the budget."""
    if one.accuracy is None or other.accuracy is None or not (one.within and other.within):
        return None
    theirs = other.accuracy.by_seed
    points = over_seeds(
        {seed: 100 * (share - theirs[seed]) for seed, share in one.accuracy.by_seed.items() if seed in theirs},
        least=-100.0,
        most=100.0,
        floor=_floor_of_points(one, other),
    )
    if points is None:
        return None
    if points.low is None or points.high is None:
        return Difference(points=points, verdict="no difference shown" if points.basis == "equal" else "one seed")
    verdict: Verdict = "better" if points.low > 0 else "worse" if points.high < 0 else "no difference shown"
    return Difference(points=points, verdict=verdict)


def speed_ratio(one: Entry, other: Entry, setting: Setting) -> SpeedRatio | None:
    """How many times as fast as ``other`` ``one`` is, paired by seed; None where no seed has both.

    Each is first held against the original in the same processes: what a machine does between two runs falls out.
    """
    if not (one.within and other.within) or setting not in one.timings or setting not in other.timings:
        return None
    theirs = other.timings[setting].times_as_fast.by_seed
    ours = one.timings[setting].times_as_fast.by_seed
    ratios = {seed: ratio / theirs[seed] for seed, ratio in ours.items() if seed in theirs}
    if not ratios:
        return None
    if len(ratios) == 1:
        ((seed, ratio),) = ratios.items()
        factor = _factor_of_processes(one.timings[setting], other.timings[setting], seed)
        times = ratio_over_seeds(ratios, of_run=(ratio / factor, ratio * factor))
    else:
        times = ratio_over_seeds(ratios)
    assert times is not None  # there is a seed
    verdict: SpeedVerdict = "no difference shown"
    if times.low is not None and times.low > 1:
        verdict = "faster"
    elif times.high is not None and times.high < 1:
        verdict = "slower"
    return SpeedRatio(times=times, verdict=_IN_ONE_RUN[verdict] if times.basis == "processes" else verdict)


_IN_ONE_RUN: dict[SpeedVerdict, SpeedVerdict] = {
    "faster": "faster in its one run",
    "slower": "slower in its one run",
    "no difference shown": "no difference shown in its one run",
}


def _floor_of_points(one: Entry, other: Entry) -> float | None:
    """The least standard deviation of a difference of two accuracies, in points, both of whole frames."""
    if one.test_frames is None or other.test_frames is None:
        return None
    return 100 * resolution(min(one.test_frames, other.test_frames), shares=2)


def _factor_of_processes(one: Timing, other: Timing, seed: int) -> float:
    """By what a ratio of two models' speeds in one seed may be off: both have an interval over processes, as a factor.

    They are taken as independent. The original that both are held against is the same, so they are rather less far apart.
    """
    halves = [math.log(high / low) / 2 for low, high in (each.by_seed[seed].times_interval for each in (one, other))]
    return math.exp(math.hypot(*halves))


def choose(row: Row) -> Choice:
    """Find the row's best method, and say whether it is shown to be one."""
    eligible = [entry for entry in row.entries if entry.sound]
    left_out = tuple(entry.method for entry in row.entries if entry not in eligible)
    if not eligible:
        return Choice(winner=None, best=None, accuracy=None, seeds=(), eligible=(), like_best=(), left_out=left_out)
    common = set.intersection(*(set(entry.seeds) for entry in eligible))
    best = max(eligible, key=lambda entry: _mean_accuracy(entry, common or entry.seeds))
    seeds = tuple(seed for seed in best.seeds if seed in common) or best.seeds
    like_best = tuple(
        entry.method
        for entry in eligible
        if entry is not best and ((found := difference(best, entry)) is None or found.verdict != "better")
    )
    # The only one of its row has beaten none.
    wins = len(eligible) > 1 and not like_best and not row.unfinished
    return Choice(
        winner=best.method if wins else None,
        best=best.method,
        accuracy=_mean_accuracy(best, seeds),
        seeds=seeds,
        eligible=tuple(entry.method for entry in eligible),
        like_best=like_best,
        left_out=left_out,
    )


def _mean_accuracy(entry: Entry, seeds: Collection[int]) -> float:
    assert entry.accuracy is not None  # only those that have one are asked
    return math.fsum(entry.accuracy.by_seed[seed] for seed in seeds) / len(seeds)
