"""A pruning plan in one picture: what is alike, where it is cut, what stays, and what else could have stayed."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from toolchain.pruning import Plan
from toolchain.pruning.planning import SIGNATURES, SIMILARITY_ROUNDING
from toolchain.pruning.segmentation import choose_blocks
from toolchain.report.drawing import COLOURS, counted, say, sheet

# What becomes of a unit, in the list of names and in the strip alike: the more of it is left, the stronger.
FATES = {"kept": COLOURS["pruned"], "leaves its shortcut": "black", "dropped": "0.7"}
# Grey letters need to be darker than a grey cell.
DROPPED_NAME = "0.4"
# Of more units only those that leave something have a name; and of those as many as lie apart.
MOST_NAMES, MOST_ROWS = 32, 54
NAME_LETTERS = 24
MOST_BLOCKS_NAMED = 12


def plan_figure(plan: Plan, similarity: NDArray[np.float64]) -> Figure:
    """The similarity matrix (n, n) with the blocks, the units that stay, Fisher's loss, and the candidates' log-flow."""
    figure = sheet(12.5, 7.6)
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(7, 5.5)))
    matrix, strip = left.subplots(2, 1, height_ratios=(14, 1), sharex=True)
    _similarity(left, matrix, plan, similarity)
    _names(matrix, plan)
    _strip(strip, plan)
    _legend(left, plan)
    above, below = right.subplots(2, 1)
    _loss(above, plan, similarity)
    _flows(below, plan)
    return figure


def _similarity(figure: FigureBase, axes: Axes, plan: Plan, similarity: NDArray[np.float64]) -> None:
    # To a hundredth where all are much alike: from 0 on, the matrix would be one plate.
    lowest = float(similarity.min())
    steps = 10 if lowest < 0.9 else 100
    lowest = min(np.floor(lowest * steps) / steps, 1 - 1 / steps)
    image = axes.imshow(similarity, cmap="viridis", vmin=lowest, vmax=1, interpolation="nearest", aspect="auto")
    kind = plan.settings.get("similarity", "similarity")
    label = f"similarity of the units' outputs ({kind}), from {lowest:g} to 1"
    figure.colorbar(image, ax=axes, label=label.replace("-", "\N{MINUS SIGN}"), fraction=0.05, pad=0.02)
    # White with a dark edge: one of the two shows on any colour.
    for colour, width in (("black", 4), ("white", 1.8)):
        for block in plan.blocks:
            corner, size = block[0] - 0.5, len(block)
            axes.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor=colour, linewidth=width))
    axes.set_title(
        f"{len(plan.kept)} of {counted(len(plan.units), 'unit')} kept, in {counted(len(plan.boundaries), 'block')}\n"
        f"{1 - plan.macs_left / max(1, plan.macs):.1%} of the MACs and "
        f"{1 - plan.params_left / max(1, plan.params):.1%} of the parameters go",
        fontsize=10,
    )


def _fate(plan: Plan, index: int) -> str:
    if index in plan.kept:
        return "kept"
    return "leaves its shortcut" if plan.units[index].kind == "reducible" else "dropped"


def _names(axes: Axes, plan: Plan) -> None:
    """The units' names, in the colours of their fates; of many units those of the ones that leave something."""
    n = len(plan.units)
    shown: list[int] = []
    for index in range(n):
        apart = not shown or index - shown[-1] >= n / MOST_ROWS
        if apart and (n <= MOST_NAMES or _fate(plan, index) != "dropped"):
            shown.append(index)
    axes.set_yticks(shown, [f"{index}  {_tail(plan.units[index].name)}" for index in shown], fontsize=7.5)
    for index, label in zip(shown, axes.get_yticklabels(), strict=True):
        fate = _fate(plan, index)
        label.set(color=DROPPED_NAME if fate == "dropped" else FATES[fate], parse_math=False)
        if fate == "kept":
            label.set_fontweight("bold")


def _tail(name: str) -> str:
    """Of a long module path the end, which tells it from its neighbours."""
    return name if len(name) <= NAME_LETTERS else f"\N{HORIZONTAL ELLIPSIS}{name[1 - NAME_LETTERS :]}"


def _strip(axes: Axes, plan: Plan) -> None:
    """A cell a unit, in the colour of its fate."""
    for index, unit in enumerate(plan.units):
        face = FATES[_fate(plan, index)]
        axes.add_patch(Rectangle((index - 0.5, 0), 1, 1, facecolor=face, edgecolor="white", linewidth=0.6))
        if unit.kind == "fixed":
            axes.plot(index, 0.5, marker="s", color="white", markersize=3)
    for start in plan.boundaries[1:]:
        # Beyond the cells, some of which are black too.
        axes.plot([start - 0.5] * 2, [0, 1.4], color="black", linewidth=1.6, clip_on=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(ylim=(0, 1), yticks=[], xlabel="unit; long lines part the blocks" if plan.boundaries[1:] else "unit")


def _legend(figure: FigureBase, plan: Plan) -> None:
    handles: list[Any] = [Patch(color=colour, label=fate) for fate, colour in FATES.items()]
    if plan.fixed:
        dot = Line2D([], [], marker="s", markersize=9, markeredgewidth=3, linestyle="none", label="always kept")
        dot.set(markerfacecolor="white", markeredgecolor=FATES["kept"])
        handles.insert(1, dot)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _loss(axes: Axes, plan: Plan, similarity: NDArray[np.float64]) -> None:
    """Fisher's loss against the number of blocks, in percent of that of one block, and the number that was taken."""
    if not plan.losses:
        say(axes, "no blocks were looked for")
        return
    whole, taken = plan.losses[0] or 1.0, len(plan.boundaries)
    blocks = range(1, len(plan.losses) + 1)
    axes.plot(blocks, [100 * loss / whole for loss in plan.losses], marker="o", markersize=4, color=COLOURS["original"])
    axes.plot(taken, 100 * plan.losses[taken - 1] / whole, marker="o", markersize=9, color=COLOURS["pruned"])
    # Above the panel: inside it, there is a curve for which any place is wrong.
    asked = _asked_by_curve(plan, similarity)
    why = f"; the curve asks for {asked}, too many for the budget" if asked > taken else ""
    axes.set_title(f"\N{BLACK CIRCLE} {counted(taken, 'block')} taken{why}", fontsize=9.5, color=COLOURS["pruned"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(
        xlabel="number of blocks", ylabel="scatter within the blocks\n(in percent of one block's)",
        xlim=(0.5, len(plan.losses) + 0.5), ylim=(-4, 104),
    )  # fmt: skip
    axes.grid(alpha=0.25)


def _asked_by_curve(plan: Plan, similarity: NDArray[np.float64]) -> int:
    """The number of blocks before the budget had a say, where that was automatic; else the plan's."""
    if plan.settings.get("blocks") != "auto":
        return len(plan.boundaries)
    signatures = SIGNATURES[plan.settings["signature"]](similarity)
    return choose_blocks(plan.losses, SIMILARITY_ROUNDING**2 * float((signatures**2).sum()))


def _flows(axes: Axes, plan: Plan) -> None:
    """For each block the log-flow of its candidates, all other blocks whole, and of the one that was chosen."""
    orange: dict[str, Any] = {"marker": "D", "color": COLOURS["pruned"], "linestyle": "none"}
    labels = []
    for place, (flows, chosen, by) in enumerate(
        zip(plan.candidate_log_flows, plan.scores, plan.scored_by, strict=True), start=1
    ):
        labels.append(str(place) if by == "synflow" else f"{place}\n{by}")
        spread = np.linspace(-0.3, 0.3, len(flows)) if len(flows) > 1 else np.zeros(len(flows))
        axes.plot(place + spread, flows, ".", markersize=3, color=COLOURS["original"])
        if chosen is not None:
            # Where it stands among the candidates.
            at = spread[int(np.abs(np.asarray(flows) - chosen).argmin())] if len(flows) else 0.0
            axes.plot(place + at, chosen, markersize=6, **orange)
    handles = [Line2D([], [], markersize=6, label="kept", **orange)]
    if any(len(flows) > 1 for flows in plan.candidate_log_flows):
        dots = Line2D([], [], marker=".", linestyle="none", color=COLOURS["original"])
        dots.set_label("candidates, least to most flow")
        handles.append(dots)
    if plan.log_flow_whole is not None:
        handles.append(
            axes.axhline(plan.log_flow_whole, color="0.4", linewidth=1, linestyle=":", label="whole network")
        )
    axes.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, fontsize=9,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
    if len(labels) <= MOST_BLOCKS_NAMED:
        axes.set_xticks(range(1, len(labels) + 1), labels)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(
        xlabel="block", ylabel="log-flow of the network\n(natural logarithm)", xlim=(0.4, len(plan.boundaries) + 0.6)
    )
    axes.margins(y=0.12)
    axes.grid(alpha=0.25, axis="y")
