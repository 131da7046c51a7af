"""What is known of each method under each budget: figures over seeds, and differences between pairs of the same seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.compared import Judged
from toolchain.report.comparison.gathering import Gathered, Kind, Result
from toolchain.report.comparison.latency import Setting, Timing, timings
from toolchain.report.comparison.spread import Spread, over_seeds


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
    are from 0 to 1. ``not_crossed`` counts the seeds that have no sensitivity, or whose original has none; ``confusion``
    counts over the seeds, rows the true class, as ``original_confusion`` does for the originals of the same seeds.
    """

    method: str
    kind: Kind
    data: str
    model: str
    budget: str
    results: tuple[Result, ...]
    counted: tuple[Result, ...]
    within: bool
    classes: tuple[str, ...]
    accuracy: Spread | None
    untuned_accuracy: Spread | None
    by_snr: Mapping[float, Spread]
    worst: WorstClass | None
    sensitivity_lost_db: Spread | None
    not_crossed: int
    macs: Counted | None
    params: Counted | None
    confusion: NDArray[np.int64] | None
    original_confusion: NDArray[np.int64] | None
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
    def whole(self) -> bool:
        """Whether the method is compared: no seed failed, and none missed the budget."""
        return bool(self.counted) and self.within and not self.failed and not self.not_within


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """All methods of one model on one data set under one budget, in the order in which they were compared."""

    data: str
    model: str
    budget: str
    entries: tuple[Entry, ...]

    def entry(self, method: str) -> Entry | None:
        """The method's, if the row has it."""
        return next((entry for entry in self.entries if entry.method == method), None)


def rows_of(found: Gathered, settings: Sequence[Setting]) -> tuple[Row, ...]:
    """All rows, in the order in which they were compared; the originals' own have the budget "none" and one entry."""
    groups: dict[tuple[str, str, str], dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in found.results:
        methods = groups[result.data, result.model, result.budget]
        # An original that two comparisons hold is one model: the first that was timed stands for it.
        twins = [other for other in methods[result.method] if other.seed == result.seed]
        if not twins:
            methods[result.method].append(result)
        elif result.latency and not twins[0].latency:
            methods[result.method][methods[result.method].index(twins[0])] = result
    return tuple(
        Row(
            data=data,
            model=model,
            budget=budget,
            entries=tuple(_entry(results, settings) for results in methods.values()),
        )
        for (data, model, budget), methods in groups.items()
    )


def _entry(results: Sequence[Result], settings: Sequence[Setting]) -> Entry:
    ordered = sorted(results, key=lambda result: result.seed)
    finished = [result for result in ordered if result.judged is not None and result.failed is None]
    within = [result for result in finished if result.within]
    counted = within or finished
    judged = {result.seed: result.judged for result in counted if result.judged is not None}
    first = ordered[0]
    classes = next((result.classes for result in counted), ())
    lost = _sensitivity_lost(counted)
    return Entry(
        method=first.method,
        kind=first.kind,
        data=first.data,
        model=first.model,
        budget=first.budget,
        results=tuple(ordered),
        counted=tuple(counted),
        within=bool(within) or not finished,
        classes=classes,
        accuracy=_share({seed: one.accuracy for seed, one in judged.items()}),
        untuned_accuracy=_share(
            {result.seed: result.untuned_accuracy for result in counted if result.untuned_accuracy is not None}
        ),
        by_snr=_by_snr(judged),
        worst=_worst(judged, classes),
        sensitivity_lost_db=over_seeds(lost),
        not_crossed=len(counted) - len(lost),
        macs=_counted(one.macs for one in judged.values()),
        params=_counted(one.params for one in judged.values()),
        confusion=_confusion(judged.values()),
        original_confusion=_confusion(
            result.original.judged for result in counted if result.original and result.original.judged
        ),
        timings=timings(counted, settings),
    )


def _share(by_seed: Mapping[int, float]) -> Spread | None:
    return over_seeds(by_seed, least=0.0, most=1.0)


def _by_snr(judged: Mapping[int, Judged]) -> dict[float, Spread]:
    """Mean accuracy by SNR in dB, ascending."""
    by_snr: dict[float, dict[int, float]] = defaultdict(dict)
    for seed, one in judged.items():
        for snr_db, share in one.accuracy_by_snr.items():
            by_snr[float(snr_db)][seed] = share
    spreads = {snr_db: _share(by_seed) for snr_db, by_seed in sorted(by_snr.items())}
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
    recall = _share(recalls[worst])
    assert recall is not None  # it has a seed
    return WorstClass(name=classes[worst] if worst < len(classes) else f"class {worst}", recall=recall)


def _sensitivity_lost(counted: Sequence[Result]) -> dict[int, float]:
    """By seed, how many dB more the model needs than the original of its seed, where both cross the level."""
    lost = {}
    for result in counted:
        before = result.original.judged if result.original else None
        if result.judged is None or before is None:
            continue
        if result.judged.sensitivity_db is not None and before.sensitivity_db is not None:
            lost[result.seed] = result.judged.sensitivity_db - before.sensitivity_db
    return lost


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
