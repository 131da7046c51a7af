"""Which of two methods is better, and whether one is better than all: said only where an interval says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.spread import Spread, over_seeds, ratio_over_seeds
from toolchain.report.comparison.statistics import Entry, Row

Verdict = Literal["better", "worse", "no difference shown", "one seed"]
SpeedVerdict = Literal["faster", "slower", "no difference shown", "one seed"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How many ``points`` of test accuracy a method has more than another, over the seeds that both have."""

    points: Spread
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class SpeedRatio:
    """How many ``times`` as fast as another a method is, over the seeds that both have."""

    times: Spread
    verdict: SpeedVerdict


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a row's figures say of its methods.

    ``best`` has the highest mean accuracy of the ``eligible`` (no seed failed, none missed the budget); ``winner`` is it where
    it is better than every other by the interval of their paired difference, else None. ``like_best`` are the others that
    are not shown to be worse, ``left_out`` those that are not eligible.
    """

    winner: str | None
    best: str | None
    eligible: tuple[str, ...]
    like_best: tuple[str, ...]
    left_out: tuple[str, ...]


def difference(one: Entry, other: Entry) -> Difference | None:
    """The accuracy of ``one`` less that of ``other``, paired by seed; None where no seed has both within the budget."""
    if one.accuracy is None or other.accuracy is None or not (one.within and other.within):
        return None
    theirs = other.accuracy.by_seed
    points = over_seeds(
        {seed: 100 * (share - theirs[seed]) for seed, share in one.accuracy.by_seed.items() if seed in theirs}
    )
    if points is None:
        return None
    if points.low is None or points.high is None:
        return Difference(points=points, verdict="one seed")
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
    times = ratio_over_seeds({seed: ratio / theirs[seed] for seed, ratio in ours.items() if seed in theirs})
    if times is None:
        return None
    if times.low is None or times.high is None:
        return SpeedRatio(times=times, verdict="one seed")
    verdict: SpeedVerdict = "faster" if times.low > 1 else "slower" if times.high < 1 else "no difference shown"
    return SpeedRatio(times=times, verdict=verdict)


def choose(row: Row) -> Choice:
    """Find the row's best method, and say whether it is shown to be one."""
    eligible = [entry for entry in row.entries if entry.whole and entry.accuracy is not None]
    left_out = tuple(entry.method for entry in row.entries if entry not in eligible)
    if not eligible:
        return Choice(winner=None, best=None, eligible=(), like_best=(), left_out=left_out)
    best = max(eligible, key=_mean_accuracy)
    like_best = tuple(
        entry.method
        for entry in eligible
        if entry is not best and ((found := difference(best, entry)) is None or found.verdict != "better")
    )
    # The only one of its row has beaten none.
    wins = len(eligible) > 1 and not like_best
    return Choice(
        winner=best.method if wins else None,
        best=best.method,
        eligible=tuple(entry.method for entry in eligible),
        like_best=like_best,
        left_out=left_out,
    )


def count_comparisons(rows: Sequence[Row], baseline: str) -> int:
    """How many paired differences to ``baseline`` have an interval: of a hundred, five exclude zero by chance alone."""
    count = 0
    for row in rows:
        base = row.entry(baseline)
        for entry in row.entries:
            found = difference(entry, base) if base is not None and entry is not base else None
            count += found is not None and found.points.interval is not None
    return count


def _mean_accuracy(entry: Entry) -> float:
    assert entry.accuracy is not None  # only those that have one are asked
    return entry.accuracy.mean
