"""Accuracy against what it costs, latency or MACs: a point a method and budget, intervals both ways, the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolchain.report.comparison.axes import log_axis
from toolchain.report.comparison.gathering import ORIGINAL, Kind
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.looks import Figure, escaped, faint, legend, look_of, shorter
from toolchain.report.comparison.spread import BASES
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


def against_latency(entries: Sequence[Entry], setting: Setting, label: str) -> Figure:
    """Accuracy of all ``entries`` (the original among them) against their median latency in ``setting``."""

    def cost(entry: Entry) -> Cost | None:
        timing = entry.timings.get(setting)
        if timing is None:
            return None
        p50 = timing.p50_ms
        text = f"{significant(p50.mean)} ms {interval_significant(p50)} ({BASES[p50.basis]})"
        return Cost(p50.mean, p50.low, p50.high, text if timing.stable else f"{text}, UNSTABLE")

    return _tradeoff(entries, cost, f"median latency in ms, {escaped(label)} (log scale)")


def against_macs(entries: Sequence[Entry]) -> Figure:
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


def _reached(drawn: Sequence[tuple[Entry, Cost]]) -> list[float]:
    """How far the points and their bars go."""
    return [end for _, cost in drawn for end in (cost.low, cost.value, cost.high) if end is not None]


def _tradeoff(
    entries: Sequence[Entry], cost_of: Callable[[Entry], Cost | None], title: str, *, multiples: bool = False
) -> Figure:
    drawn = [(entry, cost) for entry in entries if entry.accuracy is not None and (cost := cost_of(entry)) is not None]
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
    ordered = sorted(methods.items(), key=lambda item: item[0][0] == "layers")
    traces += [_points(method, kind, points) for (method, kind), points in ordered]
    return {
        "data": traces,
        "layout": {
            "xaxis": log_axis(title, _reached(drawn), multiples=multiples),
            "yaxis": {"title": {"text": "accuracy on the test split, %"}},
            "hovermode": "closest",
        },
    }


def _points(method: str, kind: Kind, points: Sequence[tuple[Entry, Cost]]) -> Figure:
    look = look_of(method, kind)
    size = 16 if method == ORIGINAL else 12 if method == "layers" else 10
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
        escaped(cost.text),
    ]
    if not entry.within:
        lines.append("budget not reached: compared with none")
    return "<br>".join(lines)
