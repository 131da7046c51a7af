"""Accuracy against what it costs, latency or MACs: a point a method and budget, intervals both ways, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolchain.compared import OURS
from toolchain.report.comparison.axes import log_axis, span
from toolchain.report.comparison.gathering import ORIGINAL, Kind
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.looks import Figure, escaped, faint, legend, look_of, shorter
from toolchain.report.comparison.spread import BASES, Spread
from toolchain.report.comparison.statistics import Entry
from toolchain.report.comparison.wording import (
    budget_in_words,
    counted,
    interval_of_shares,
    interval_significant,
    percent,
    range_of,
    several,
    significant,
)


class Cost(NamedTuple):
    """A cost with its interval, if it has one, and how it reads."""

    value: float
    low: float | None
    high: float | None
    text: str


def against_latency(entries: Sequence[Entry], setting: Setting, label: str) -> Figure | None:
    """Accuracy of all ``entries`` (the original among them) against their median latency in ``setting``.

    What was measured in two runs does not stand on one axis, for a machine is not as fast today as yesterday. So a latency is
    the original's median, one for all, over how many times as fast a model was than the original in its own run.
    """
    original_ms = _original_ms(entries, setting)

    def cost(entry: Entry) -> Cost | None:
        timing = entry.timings.get(setting)
        if timing is None:
            return None
        p50, times = timing.p50_ms, timing.times_as_fast
        text = (
            f"{significant(original_ms / times.mean)} ms: {significant(times.mean)} times as fast as the original "
            f"{interval_significant(times)} ({BASES[times.basis]})<br>"
            f"measured: {significant(p50.mean)} ms {interval_significant(p50)}"
        )
        return Cost(
            original_ms / times.mean,
            None if times.high is None else original_ms / times.high,
            None if times.low is None else original_ms / times.low,
            text if timing.stable else f"{text}, UNSTABLE",
        )

    title = f"median latency in ms: the original's over times as fast, {escaped(label)} (log scale)"
    return _tradeoff(entries, cost, title)


def against_macs(entries: Sequence[Entry]) -> Figure | None:
    """Accuracy of all ``entries`` against their MACs of one frame, counted; the bar is the range of the seeds."""

    def cost(entry: Entry) -> Cost | None:
        macs = entry.macs
        if macs is None:
            return None
        text = f"{counted(macs)} MACs (counted) {range_of(macs)}".rstrip()
        if macs.least == macs.most:
            return Cost(macs.mean, None, None, text)
        return Cost(macs.mean, macs.least, macs.most, text)

    return _tradeoff(entries, cost, "MACs of one frame, counted (log scale)", multiples=True)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the ``points`` (cost, gain) that no other beats, by ascending cost.

    One beats another that costs no less and gains no more, unless they are equal; of equal ones the first stays.
    """
    front: list[int] = []
    best = float("-inf")
    # Of equal costs the one that gains most comes first.
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if points[place][1] > best:
            front.append(place)
            best = points[place][1]
    return front


def _original_ms(entries: Sequence[Entry], setting: Setting) -> float:
    """The original's median latency; where it is not there, what it was by the models that were held against it."""
    timed = [(entry.method, entry.timings[setting]) for entry in entries if setting in entry.timings]
    for method, timing in timed:
        if method == ORIGINAL:
            return timing.p50_ms.mean
    logs = [math.log(timing.p50_ms.mean * timing.times_as_fast.mean) for _, timing in timed]
    return math.exp(math.fsum(logs) / len(logs)) if logs else 1.0


def _shares_shown(accuracies: Sequence[Spread]) -> list[float]:
    """From where to where accuracies are shown, in percent."""
    halves = [50 * (high - low) for low, high in filter(None, (spread.interval for spread in accuracies))]
    low, high = span([100 * spread.mean for spread in accuracies], halves, room=0.5)
    return [shorter(max(-2.0, low)), shorter(min(102.0, high))]


def _costs_shown(costs: Sequence[Cost]) -> list[float]:
    """From where to where costs are shown."""
    halves = [0.5 * math.log10(cost.high / cost.low) for cost in costs if cost.low and cost.high]
    return [10**end for end in span([math.log10(cost.value) for cost in costs], halves, room=0.04)]


def _tradeoff(
    entries: Sequence[Entry], cost_of: Callable[[Entry], Cost | None], title: str, *, multiples: bool = False
) -> Figure | None:
    drawn = [(entry, cost) for entry in entries if entry.accuracy is not None and (cost := cost_of(entry)) is not None]
    if not drawn:
        return None
    costs = _costs_shown([cost for _, cost in drawn])
    methods: dict[tuple[str, Kind], list[tuple[Entry, Cost]]] = {}
    for entry, cost in drawn:
        methods.setdefault((entry.method, entry.kind), []).append((entry, cost))
    # The original is a choice too: that of not pruning.
    able = [(cost.value, entry.accuracy.mean) for entry, cost in drawn if entry.within and entry.accuracy]
    front = [able[place] for place in pareto(able)]
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Pareto front of the means",
            "x": [shorter(cost) for cost, _ in front],
            "y": [shorter(100 * gain) for _, gain in front],
            "line": {"shape": "hv", "color": "#9AA3AE", "width": 1.5},
            "hoverinfo": "skip",
            "legendrank": 2000,
        }
    ]
    # The one that is looked for lies on top.
    ordered = sorted(methods.items(), key=lambda item: item[0][0] == OURS)
    traces += [_points(method, kind, points) for (method, kind), points in ordered]
    return {
        "data": traces,
        "layout": {
            "xaxis": {
                **log_axis(title, costs, multiples=multiples),
                "range": [shorter(math.log10(cost)) for cost in costs],
            },
            "yaxis": {
                "title": {"text": "accuracy on the test split, %"},
                "range": _shares_shown([entry.accuracy for entry, _ in drawn if entry.accuracy]),
            },
            "hovermode": "closest",
        },
    }


def _points(method: str, kind: Kind, points: Sequence[tuple[Entry, Cost]]) -> Figure:
    look = look_of(method, kind)
    size = 16 if method == ORIGINAL else 12 if method == OURS else 10
    bar = {"type": "data", "symmetric": False, "thickness": 1, "width": 2, "color": faint(look.colour, 0.45)}
    accuracies = [entry.accuracy for entry, _ in points if entry.accuracy]
    return {
        "type": "scatter",
        "mode": "markers",
        **legend(method, kind),
        "x": [shorter(cost.value) for _, cost in points],
        "y": [shorter(100 * spread.mean) for spread in accuracies],
        "error_x": {
            **bar,
            "array": [shorter((cost.high or cost.value) - cost.value) for _, cost in points],
            "arrayminus": [shorter(cost.value - (cost.low or cost.value)) for _, cost in points],
        },
        "error_y": {
            **bar,
            "array": [shorter(100 * ((spread.high or spread.mean) - spread.mean)) for spread in accuracies],
            "arrayminus": [
                shorter(100 * (spread.mean - (spread.mean if spread.low is None else spread.low)))
                for spread in accuracies
            ],
        },
        "marker": {
            "color": look.colour,
            "size": size,
            "symbol": [look.symbol if entry.within else f"{look.symbol}-open" for entry, _ in points],
            "line": {"width": 1, "color": "#FFFFFF" if all(entry.within for entry, _ in points) else look.colour},
        },
        "text": [_told(entry, cost) for entry, cost in points],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _told(entry: Entry, cost: Cost) -> str:
    assert entry.accuracy is not None  # only those are drawn
    lines = [
        f"<b>{escaped(entry.method)}</b>, {escaped(budget_in_words(entry.budget))}",
        f"accuracy {percent(entry.accuracy.mean)} {interval_of_shares(entry.accuracy)}, {several(len(entry.seeds), 'seed')}",
        cost.text,
    ]
    if not entry.within:
        lines.append("budget not reached: compared with none")
    return "<br>".join(lines)
