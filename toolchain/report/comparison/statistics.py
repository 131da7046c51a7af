"""What is known of each method under each budget: figures over seeds, and differences between pairs of the same seed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.interval import resolution
from toolchain.compared import Judged, Missing
from toolchain.report.comparison.gathering import Gathered, Kind, Result
from toolchain.report.comparison.latency import Setting, Timing, timings
from toolchain.report.comparison.sensitivity import Uncrossed, sensitivity_lost_db, uncrossed_because
from toolchain.report.comparison.spread import Spread, over_seeds

Place = tuple[str, str, str]
"""A data set, a model and a budget, by their names."""


@dataclass(frozen=True, kw_only=True)
class WorstClass:
    """The class with the lowest mean ``recall`` over the seeds."""

    name: str
    recall: Spread


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A whole number that was counted, not measured: its mean over the seeds, from ``least`` to ``most`` of them."""

    mean: float
    least: int
    most: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One method under one budget. Its figures are of the results ``counted``: finished and within the budget.

    Where none is within, they are of all that are finished, ``within`` is False, and the method is compared with none. Shares
    are from 0 to 1. ``unfinished`` are seeds that were asked for and have neither a model nor a reason why there is none.

    ``sensitivity_lost_db`` is known where all seeds and their originals cross the level; ``uncrossed`` counts those that do
    not, by why: the accuracy ends "below" the level, is "above" it at every SNR, or the "original" does not cross it.
    ``confusion`` counts over the seeds, rows the true class, as ``original_confusion`` does for the originals of the same
    seeds; ``test_frames`` is the least number of frames that one was judged on.
    """

    method: str
    kind: Kind
    data: str
    model: str
    budget: str
    results: tuple[Result, ...]
    counted: tuple[Result, ...]
    unfinished: tuple[int, ...]
    within: bool
    classes: tuple[str, ...]
    accuracy: Spread | None
    untuned_accuracy: Spread | None
    by_snr: Mapping[float, Spread]
    worst: WorstClass | None
    sensitivity_lost_db: Spread | None
    uncrossed: Mapping[Uncrossed, int]
    macs: Counted | None
    params: Counted | None
    confusion: NDArray[np.int64] | None
    original_confusion: NDArray[np.int64] | None
    test_frames: int | None
    timings: Mapping[Setting, Timing]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that the figures are of."""
        return tuple(result.seed for result in self.counted)

    @property
    def failed(self) -> dict[int, str]:
        """Why there is no model, by the seeds that failed."""
        return {result.seed: result.failed for result in self.results if result.failed is not None}

    @property
    def not_within(self) -> tuple[int, ...]:
        """The seeds whose model is finished and not within the budget."""
        return tuple(result.seed for result in self.results if result.judged and not result.within)

    @property
    def inner(self) -> bool:
        """Whether only channels inside of blocks could go."""
        return any(result.inner for result in self.counted)

    @property
    def unmeasured(self) -> dict[int, str]:
        """Why a latency is missing, by the seeds of which one is."""
        return {result.seed: result.unmeasured for result in self.results if result.unmeasured is not None}

    @property
    def sound(self) -> bool:
        """Whether the method may be best: no seed failed, and none missed the budget."""
        return bool(self.counted) and self.within and not self.failed and not self.not_within


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """All methods of one model on one data set under one budget, in the order in which they were compared.

    ``unfinished`` are methods that were asked for, also those without an entry, by how many of their seeds are not done.
    """

    data: str
    model: str
    budget: str
    entries: tuple[Entry, ...]
    unfinished: Mapping[str, int]

    def entry(self, method: str) -> Entry | None:
        """The method's, if the row has it."""
        return next((entry for entry in self.entries if entry.method == method), None)


def rows_of(found: Gathered, settings: Sequence[Setting]) -> tuple[Row, ...]:
    """All rows, in the order in which they were compared; the originals' own have the budget "none" and one entry."""
    groups: dict[Place, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in found.results:
        methods = groups[result.data, result.model, result.budget]
        # An original that two comparisons hold is one model: the first that is finished and timed stands for it.
        twins = [other for other in methods[result.method] if other.seed == result.seed]
        if not twins:
            methods[result.method].append(result)
        elif (result.judged is not None, bool(result.latency)) > (twins[0].judged is not None, bool(twins[0].latency)):
            methods[result.method][methods[result.method].index(twins[0])] = result
    unfinished = _unfinished(found.missing, groups)
    return tuple(
        _row(place, methods, found.level, settings, unfinished.get(place, {})) for place, methods in groups.items()
    )


def _unfinished(
    missing: Sequence[Missing], groups: Mapping[Place, Mapping[str, Sequence[Result]]]
) -> dict[Place, dict[str, tuple[int, ...]]]:
    """The seeds that are not done, by place and method: cells that are missing, originals that are there and not judged."""
    not_done = [((cell.data, cell.model, cell.budget), cell.method, cell.seed) for cell in missing]
    not_done += [
        (place, method, one.seed)
        for place, methods in groups.items()
        for method, results in methods.items()
        for one in results
        if one.judged is None and one.failed is None
    ]
    seeds: dict[Place, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for place, method, seed in sorted(not_done, key=lambda each: each[2]):
        seeds[place][method] = (*seeds[place].get(method, ()), seed)
    return seeds


def _row(
    place: Place,
    methods: Mapping[str, Sequence[Result]],
    level: float,
    settings: Sequence[Setting],
    unfinished: Mapping[str, tuple[int, ...]],
) -> Row:
    data, model, budget = place
    return Row(
        data=data,
        model=model,
        budget=budget,
        entries=tuple(
            _entry(results, level, settings, unfinished.get(method, ())) for method, results in methods.items()
        ),
        unfinished={method: len(seeds) for method, seeds in unfinished.items()},
    )


def _entry(results: Sequence[Result], level: float, settings: Sequence[Setting], unfinished: tuple[int, ...]) -> Entry:
    ordered = sorted(results, key=lambda result: result.seed)
    finished = [result for result in ordered if result.judged is not None and result.failed is None]
    within = [result for result in finished if result.within]
    counted = within or finished
    judged = {result.seed: result.judged for result in counted if result.judged is not None}
    first = ordered[0]
    classes = next((result.classes for result in counted), ())
    uncrossed = Counter(why for result in counted if (why := uncrossed_because(result, level)) is not None)
    frames = _least(result.test_frames for result in counted)
    return Entry(
        method=first.method,
        kind=first.kind,
        data=first.data,
        model=first.model,
        budget=first.budget,
        results=tuple(ordered),
        counted=tuple(counted),
        unfinished=unfinished,
        within=bool(within) or not finished,
        classes=classes,
        accuracy=_share({seed: one.accuracy for seed, one in judged.items()}, frames),
        untuned_accuracy=_share(
            {result.seed: result.untuned_accuracy for result in counted if result.untuned_accuracy is not None},
            _least(result.validation_frames for result in counted),
        ),
        by_snr=_by_snr(judged, frames),
        worst=_worst(judged, classes),
        sensitivity_lost_db=None if uncrossed else over_seeds(sensitivity_lost_db(counted)),
        uncrossed=uncrossed,
        macs=_counted(one.macs for one in judged.values()),
        params=_counted(one.params for one in judged.values()),
        confusion=_confusion(judged.values()),
        original_confusion=_confusion(
            result.original.judged for result in counted if result.original and result.original.judged
        ),
        test_frames=frames,
        timings=timings(counted, settings),
    )


def _share(by_seed: Mapping[int, float], frames: int | None) -> Spread | None:
    """Over seeds, each of so many ``frames``, None where it is not known."""
    return over_seeds(by_seed, least=0.0, most=1.0, floor=resolution(frames) if frames else None)


def _least(counts: Iterable[int | None]) -> int | None:
    """The least of the counts that are known, None where one is not."""
    values = list(counts)
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def _by_snr(judged: Mapping[int, Judged], frames: int | None) -> dict[float, Spread]:
    """Mean accuracy by SNR in dB, ascending; all SNRs are taken to have as many of the ``frames``."""
    by_snr: dict[float, dict[int, float]] = defaultdict(dict)
    for seed, one in judged.items():
        for snr_db, share in one.accuracy_by_snr.items():
            by_snr[float(snr_db)][seed] = share
    each = max(1, frames // len(by_snr)) if frames and by_snr else None
    spreads = {snr_db: _share(by_seed, each) for snr_db, by_seed in sorted(by_snr.items())}
    return {snr_db: spread for snr_db, spread in spreads.items() if spread is not None}


def _worst(judged: Mapping[int, Judged], classes: Sequence[str]) -> WorstClass | None:
    recalls: dict[int, dict[int, float]] = defaultdict(dict)
    for seed, one in judged.items():
        for true, counts in enumerate(one.confusion):
            # A class without a frame in the test split has no recall.
            if sum(counts) > 0:
                recalls[true][seed] = counts[true] / sum(counts)
    if not recalls:
        return None
    worst = min(recalls, key=lambda true: math.fsum(recalls[true].values()) / len(recalls[true]))
    recall = _share(recalls[worst], min(sum(judged[seed].confusion[worst]) for seed in recalls[worst]))
    assert recall is not None  # it has a seed
    return WorstClass(name=classes[worst] if worst < len(classes) else f"class {worst}", recall=recall)


def _counted(numbers: Iterable[int]) -> Counted | None:
    values = list(numbers)
    if not values:
        return None
    return Counted(mean=math.fsum(values) / len(values), least=min(values), most=max(values))


def _confusion(judged: Iterable[Judged]) -> NDArray[np.int64] | None:
    matrices = [np.asarray(one.confusion, dtype=np.int64) for one in judged if one.confusion]
    # Of another data set's classes there is no sum.
    if not matrices or any(matrix.shape != matrices[0].shape for matrix in matrices):
        return None
    total: NDArray[np.int64] = np.sum(matrices, axis=0)
    return total
