"""A picture of the comparison: what each method keeps of the accuracy, by MACs and by speed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolchain.report.drawing import counted, sheet

OURS = "layers"
# A colour for a family (Okabe and Ito), and by that order who is drawn above.
FAMILIES = {"scratch": "#7F7F7F", "channels": "#D55E00", "layers": "#0072B2"}
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
MARKERS = {
    "layers": "o", "psr": "*", "random-layers": "8", "sr-init": "H", "lcp": "P", "l1": "s", "l2": "D", "fpgm": "^",
    "bn-scale": "v", "sfp": "p", "rfp": "h", "taylor": "<", "lamp": ">", "random-channels": "d", "scratch": "X",
}  # fmt: skip
# In %: what has nearly no accuracy left would press all others together, and is told in words at the edge.
LOWEST, DOWN = 44.0, "\N{BLACK DOWN-POINTING TRIANGLE}"
Point = tuple[float, float]


def draw(rows: Sequence[dict[str, Any]], model: str) -> Figure:
    """Mean accuracy over seeds of ``model``, in %, against MACs left and against times as fast in each runtime."""
    mine = [row for row in rows if row["model"] == model and row["accuracy"] is not None]
    originals = {row["seed"]: row for row in mine if row["method"] == "original"}
    cells = [row for row in mine if row["method"] != "original"]
    runtimes = list(dict.fromkeys(name for row in mine for name in row["latency"]))
    figure = sheet(4.3 * (1 + len(runtimes)), 4.6)
    first, *others = figure.subplots(1, 1 + len(runtimes), sharey=True, squeeze=False)[0]
    # A budget of latency is not one of MACs: equal MACs are compared where MACs were asked for.
    by_macs = [row for row in cells if row["budget"].startswith("macs_cut")]
    _panel(first, _lines(by_macs, lambda row: 100 * row["macs"] / originals[row["seed"]]["macs"]))
    first.set(title="Budgets of MACs", xlabel="MACs left, %", ylabel="accuracy, %, mean over seeds")
    first.invert_xaxis()
    for axes, runtime in zip(others, runtimes, strict=True):
        timed = [row for row in cells if runtime in row["latency"]]
        _panel(axes, _lines(timed, lambda row, name=runtime: row["latency"][name]["times_as_fast"]))
        axes.set(
            title=f"All budgets, in {NAMES.get(runtime, runtime)}", xscale="log", xlabel="times as fast as the original"
        )
        axes.set_xticks(ticks := [1, 1.5, 2, 3, 4, 6], [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    whole = 100 * fmean(row["accuracy"] for row in originals.values())
    for axes in (first, *others):
        axes.axhline(whole, color="black", linewidth=1, linestyle=":")
        axes.grid(alpha=0.25)
    first.annotate("original", (0.02, whole), xycoords=("axes fraction", "data"), xytext=(0, 3),
                   textcoords="offset points", fontsize=8)  # fmt: skip
    first.set_ylim(top=whole + 1.5)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    return figure


def _lines(cells: Sequence[dict[str, Any]], x: Any) -> Iterator[tuple[str, str, list[Point]]]:
    """Kind, method and points of each, geometric means over seeds for x; ours last, so that it lies on top.

    A budget that a seed does not reach has no point.
    """
    found: dict[tuple[str, str], dict[str, list[Point | None]]] = defaultdict(lambda: defaultdict(list))
    for row in cells:
        found[row["kind"], row["method"]][row["budget"]].append(
            (x(row), 100 * row["accuracy"]) if row["within"] else None
        )
    for kind, method in sorted(found, key=lambda of: (of[1] == OURS, list(FAMILIES).index(of[0]))):
        points = [
            (math.exp(fmean(math.log(at) for at, _ in of)), fmean(share for _, share in of))
            for of in found[kind, method].values()
            if None not in of
        ]
        if points:
            yield kind, method, sorted(points)


def _panel(axes: Axes, lines: Iterator[tuple[str, str, list[Point]]]) -> None:
    beyond: list[Point] = []
    for kind, method, points in lines:
        beyond += [point for point in points if point[1] < LOWEST]
        ours = method == OURS
        axes.plot(
            *zip(*points, strict=True), marker=MARKERS[method], markersize=8 if ours else 6, color=FAMILIES[kind],
            linewidth=2.6 if ours else 0.8, alpha=1.0 if ours else 0.65, label=method,
        )  # fmt: skip
    axes.set_ylim(bottom=LOWEST)
    if beyond:
        at, shares = [point[0] for point in beyond], [point[1] for point in beyond]
        text = f"{counted(len(beyond), 'method')} at\n{min(shares):.0f} to {max(shares):.0f} % here\n{DOWN}"
        axes.text(fmean(at), LOWEST + 0.2, text, ha="center", va="bottom", fontsize=8, color=FAMILIES["channels"])
