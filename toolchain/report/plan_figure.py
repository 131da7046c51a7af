"""A pruning plan in one picture: what is alike, where it is cut, what stays, and what else could have stayed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from toolchain.pruning import Plan
from toolchain.report.drawing import COLOURS, DOTS_PER_INCH

# More names beside the matrix cannot be read.
MOST_NAMES = 32


def plan_figure(plan: Plan, similarity: NDArray[np.float64]) -> Figure:
    """The similarity matrix (n, n) with the blocks, the units that stay, Fisher's loss, and the candidates' log-flow."""
    figure = Figure(figsize=(12.5, 7.4), dpi=DOTS_PER_INCH, layout="constrained")
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(7, 5.5)))
    matrix, strip = left.subplots(2, 1, height_ratios=(12, 1), sharex=True)
    _similarity(left, matrix, plan, similarity)
    _kept(strip, plan)
    above, below = right.subplots(2, 1)
    _loss(above, plan)
    _flows(below, plan)
    return figure


def _similarity(figure: FigureBase, axes: Axes, plan: Plan, similarity: NDArray[np.float64]) -> None:
    n = len(plan.units)
    lowest = min(0.0, float(similarity.min()))
    image = axes.imshow(similarity, cmap="viridis", vmin=lowest, vmax=1, interpolation="nearest", aspect="auto")
    kind = plan.settings.get("similarity", "similarity")
    figure.colorbar(image, ax=axes, label=f"similarity of the units' outputs ({kind})", shrink=0.8)
    for block in plan.blocks:
        corner, size = block[0] - 0.5, len(block)
        axes.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor="white", linewidth=2.5))
        axes.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor=COLOURS["pruned"], linewidth=1.2))
    names = [f"{index}  {unit.name}" for index, unit in enumerate(plan.units)]
    # Where there are too many to read, those that stay and each third.
    shown = [index for index in range(n) if n <= MOST_NAMES or index in plan.kept or index % 3 == 0]
    axes.set_yticks(shown, [names[index] for index in shown], fontsize=7 if n <= MOST_NAMES else 5)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    blocks = "one block" if len(plan.boundaries) == 1 else f"{len(plan.boundaries)} blocks"
    axes.set_title(
        f"{len(plan.kept)} of {n} units kept, in {blocks}: {1 - plan.macs_left / max(1, plan.macs):.1%} of the MACs and "
        f"{1 - plan.params_left / max(1, plan.params):.1%} of the parameters go",
        fontsize=10,
    )
    for index, label in zip(shown, axes.get_yticklabels(), strict=True):
        if index in plan.kept:
            label.set(color=COLOURS["pruned"], fontweight="bold")


def _kept(axes: Axes, plan: Plan) -> None:
    """A cell a unit: orange stays, grey leaves its shortcut, white leaves nothing."""
    colours = {"reducible": "0.8", "removable": "white", "fixed": COLOURS["pruned"]}
    for index, unit in enumerate(plan.units):
        face = COLOURS["pruned"] if index in plan.kept else colours[unit.kind]
        axes.add_patch(Rectangle((index - 0.5, 0), 1, 1, facecolor=face, edgecolor="0.4", linewidth=0.6))
        if unit.kind == "fixed":
            axes.plot(index, 0.5, marker="s", color="white", markersize=3)
    for start in plan.boundaries[1:]:
        axes.axvline(start - 0.5, color="black", linewidth=1.6)
    fixed = ", a white point: it always is" if plan.fixed else ""
    axes.set(
        ylim=(0, 1), yticks=[],
        xlabel=f"unit: orange is kept{fixed}; grey leaves its shortcut, white leaves nothing",
    )  # fmt: skip


def _loss(axes: Axes, plan: Plan) -> None:
    """Fisher's loss against the number of blocks, in percent of that of one block, and the number that was taken."""
    if not plan.losses:
        axes.set_axis_off()  # nobody looked for blocks
        return
    whole, taken = plan.losses[0] or 1.0, len(plan.boundaries)
    blocks = range(1, len(plan.losses) + 1)
    axes.plot(blocks, [100 * loss / whole for loss in plan.losses], marker="o", markersize=4, color=COLOURS["original"])
    axes.plot(taken, 100 * plan.losses[taken - 1] / whole, marker="o", markersize=9, color=COLOURS["pruned"])
    axes.annotate(
        f"{taken} taken", (taken, 100 * plan.losses[taken - 1] / whole), xytext=(9, -4 if taken == 1 else 8),
        textcoords="offset points", color=COLOURS["pruned"],
    )  # fmt: skip
    axes.set(xlabel="blocks", ylabel="scatter within the blocks\n(one block: 100)", ylim=(-4, 104))
    axes.grid(alpha=0.25)


def _flows(axes: Axes, plan: Plan) -> None:
    """For each block the log-flow of its candidates, all other blocks whole, and of the one that was chosen."""
    for place, (flows, chosen, by) in enumerate(
        zip(plan.candidate_log_flows, plan.scores, plan.scored_by, strict=True), start=1
    ):
        spread = np.linspace(-0.3, 0.3, len(flows)) if len(flows) > 1 else np.zeros(len(flows))
        axes.plot(place + spread, flows, ".", markersize=3, color=COLOURS["original"])
        if chosen is not None:
            # Where it stands among the candidates.
            at = spread[int(np.abs(np.asarray(flows) - chosen).argmin())] if len(flows) else 0.0
            axes.plot(place + at, chosen, marker="D", markersize=6, color=COLOURS["pruned"], linestyle="none")
            if by != "synflow":
                axes.annotate(by, (place + at, chosen), xytext=(7, -3), textcoords="offset points", fontsize=8)
    if plan.log_flow_whole is not None:
        axes.axhline(plan.log_flow_whole, color="0.5", linewidth=0.8, linestyle=":")
        axes.annotate(
            "the whole network", (1, plan.log_flow_whole), xycoords=("axes fraction", "data"), xytext=(-4, 3),
            textcoords="offset points", ha="right", fontsize=8, color="0.35",
        )  # fmt: skip
    axes.set_xticks(range(1, len(plan.boundaries) + 1))
    searched = any(len(flows) > 1 for flows in plan.candidate_log_flows)
    axes.set(
        xlabel="block, its candidates from least to most flow; orange is kept" if searched else "block; what it keeps",
        ylabel="log-flow of the network\n(natural logarithm)", xlim=(0.4, len(plan.boundaries) + 0.6),
    )  # fmt: skip
    axes.margins(y=0.12)
    axes.grid(alpha=0.25, axis="y")
