"""A picture of the comparison: what each method keeps of the accuracy, by MACs and by speed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, geometric_mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolchain.compared import OURS
from toolchain.report.comparison.looks import look_of
from toolchain.report.drawing import sheet

# A colour for a family (Okabe and Ito), and by that order who is drawn above.
FAMILIES = {"scratch": "#7F7F7F", "channels": "#D55E00", "layers": "#0072B2"}
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
# Plotly's symbols, by which methods are told apart in the report, as matplotlib draws them.
MARKERS = {
    "circle": "o", "star-diamond": "*", "octagon": "8", "hexagram": "H", "cross": "P", "square": "s", "diamond": "D",
    "triangle-up": "^", "triangle-down": "v", "pentagon": "p", "hexagon": "h", "triangle-left": "<",
    "triangle-right": ">", "hourglass": "d", "x": "X",
}  # fmt: skip
# Points below the original's accuracy: what has nearly none left would press all others together, and is told in words.
SHOWN, ABOVE = 16.0, 1.5
Point = tuple[float, float]
Line = tuple[str, str, list[Point]]


def draw(rows: Sequence[dict[str, Any]], model: str) -> Figure | None:
    """Mean accuracy over seeds of ``model``, in %, against MACs left and against times as fast in each runtime.

    None where there is no original yet.
    """
    mine = [row for row in rows if row["model"] == model and row["accuracy"] is not None]
    originals = {row["seed"]: row for row in mine if row["method"] == "original"}
    if not originals:
        return None
    whole = 100 * fmean(row["accuracy"] for row in originals.values())
    cells = [row for row in mine if row["method"] != "original"]
    runtimes = list(dict.fromkeys(name for row in mine for name in row["latency"]))
    figure = sheet(4.3 * (1 + len(runtimes)), 4.6)
    first, *others = figure.subplots(1, 1 + len(runtimes), sharey=True, squeeze=False)[0]
    first.set_ylim(whole - SHOWN, whole + ABOVE)
    # A budget of latency is not one of MACs: equal MACs are compared where MACs were asked for.
    by_macs = [row for row in cells if row["budget"].startswith("macs_cut")]
    _panel(first, _lines(by_macs, lambda row: 100 * row["macs"] / originals[row["seed"]]["macs"]), whole - SHOWN)
    first.set(title="Budgets of MACs", xlabel="MACs left, %", ylabel="accuracy, %, mean over seeds")
    first.invert_xaxis()
    for axes, runtime in zip(others, runtimes, strict=True):
        timed = [row for row in cells if runtime in row["latency"]]
        axes.set_xscale("log")
        _panel(axes, _lines(timed, lambda row, name=runtime: row["latency"][name]["times_as_fast"]), whole - SHOWN)
        axes.set(title=f"All budgets, in {NAMES.get(runtime, runtime)}", xlabel="times as fast as the original")
        axes.set_xticks(ticks := [1, 1.5, 2, 3, 4, 6], [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    for axes in (first, *others):
        axes.axhline(whole, color="black", linewidth=1, linestyle=":")
        axes.grid(alpha=0.25)
    first.annotate("original", (0.02, whole), xycoords=("axes fraction", "data"), xytext=(0, 3),
                   textcoords="offset points", fontsize=8)  # fmt: skip
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    return figure


def _lines(cells: Sequence[dict[str, Any]], x: Callable[[dict[str, Any]], float]) -> Iterator[Line]:
    """Kind, method and points of each, geometric means over seeds for x; ours last, so that it lies on top.

    A budget that a seed does not reach has no point.
    """
    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in cells:
        found[row["kind"], row["method"]][row["budget"]].append(row)
    for kind, method in sorted(found, key=lambda of: (of[1] == OURS, list(FAMILIES).index(of[0]))):
        points = [
            (geometric_mean(map(x, of)), fmean(100 * row["accuracy"] for row in of))
            for of in found[kind, method].values()
            if all(row["within"] for row in of)
        ]
        yield kind, method, sorted(points)


def _panel(axes: Axes, lines: Iterator[Line], lowest: float) -> None:
    """A line each of the points that are not below the ``lowest`` accuracy; between it and what is, nothing was measured."""
    below: dict[str, list[Point]] = {}
    for kind, method, points in lines:
        ours, look = method == OURS, look_of(method, kind)
        if gone := [point for point in points if point[1] < lowest]:
            below[method] = gone
        axes.plot(
            [at for at, share in points if share >= lowest], [share for _, share in points if share >= lowest],
            marker=MARKERS.get(look.symbol, "o"), markersize=8 if ours else 6, color=FAMILIES[kind],
            linewidth=2.6 if ours else 0.8, alpha=1.0 if ours else 0.65, label=method,
        )  # fmt: skip
    if below:
        at, shares = zip(*(point for gone in below.values() for point in gone), strict=True)
        text = f"{len(below)} below: {min(shares):.0f} to {max(shares):.0f} %\n\N{BLACK DOWN-POINTING TRIANGLE}"
        axes.text(
            geometric_mean(at), lowest + 0.2, text, ha="center", va="bottom", fontsize=8, color=FAMILIES["channels"]
        )
