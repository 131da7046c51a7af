"""The pictures of a report, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from toolchain.evaluation import Evaluation
from toolchain.pruning import Plan

# Two colours that stay apart for colour-blind readers and in grey (Okabe and Ito).
COLOURS = {"original": "#0072B2", "pruned": "#D55E00"}
DOTS_PER_INCH = 120
# RML2018.01A's: each then has a tick.
MOST_TICKS = 26
TITLE_LETTERS = 44


def write_figures(
    folder: Path,
    results: Mapping[str, Any],
    plan: Plan,
    similarity: NDArray[np.float64],
    confusion: Mapping[str, Sequence[Sequence[int]]],
) -> None:
    """Draw accuracy by SNR, the plan, the loss of its blocks, and the confusion of both models into ``folder``.

    ``similarity`` is (units, units); ``confusion`` holds counts by model, rows the true class.
    """
    folder.mkdir()
    classes = results["dataset"]["classes"]
    _save(
        accuracy_by_snr(results["models"], results["settings"]["export"]["sensitivity_level"]), folder / "accuracy.png"
    )
    _save(plan_on_similarity(plan, similarity), folder / "plan.png")
    _save(loss_of_blocks(plan), folder / "blocks.png")
    _save(confusions(confusion, classes), folder / "confusion.png")


def write_evaluation_figures(folder: Path, evaluation: Evaluation, *, name: str) -> None:
    """Draw accuracy by SNR and the confusion matrix of one model, called ``name``, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "accuracy": evaluation.accuracy,
        "accuracy_by_snr": evaluation.by_snr,
        "sensitivity_db": evaluation.sensitivity_db,
    }
    part = {"all": "all frames", "own test": "the file's own test part"}.get(
        evaluation.part, f"the {evaluation.part} split"
    )
    _save(accuracy_by_snr({name: values}, evaluation.level, part), folder / "accuracy.png")
    title = f"{name[:TITLE_LETTERS]}\naccuracy {evaluation.accuracy:.1%} on {part}"
    _save(confusions({title: evaluation.confusion.tolist()}, evaluation.classes), folder / "confusion.png")


def accuracy_by_snr(models: Mapping[str, Any], level: float, part: str = "the test split") -> Figure:
    """Accuracy on ``part`` against SNR, a line a model, with the sensitivity of each where its line crosses."""
    figure = Figure(figsize=(7, 4.2), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    for name, model in models.items():
        points = sorted((float(snr), share) for snr, share in model["accuracy_by_snr"].items())
        label = f"{name}, {model['accuracy']:.1%} over all"
        colour = COLOURS.get(name, COLOURS["original"])
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=label)
        if model["sensitivity_db"] is not None:
            axes.plot([model["sensitivity_db"]] * 2, [0, level], color=colour, linewidth=0.8, linestyle=":")
    axes.axhline(level, color="0.5", linewidth=0.8, linestyle=":")
    axes.annotate(
        f"sensitivity: {level:.0%}", (1, level), xycoords=("axes fraction", "data"), xytext=(-4, 3),
        textcoords="offset points", ha="right", fontsize=8, color="0.35",
    )  # fmt: skip
    axes.set(xlabel="SNR in dB", ylabel=f"accuracy on {part}", ylim=(0, 1))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    snrs = sorted({float(snr) for model in models.values() for snr in model["accuracy_by_snr"]})
    if len(snrs) <= MOST_TICKS:
        names = [f"{snr:g}".replace("-", "\N{MINUS SIGN}") for snr in snrs]
        axes.set_xticks(snrs, names, fontsize=9 if len(snrs) <= 20 else 7)
    axes.grid(alpha=0.25)
    legend: Any = axes.legend(frameon=False, loc="lower right")
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def plan_on_similarity(plan: Plan, similarity: NDArray[np.float64]) -> Figure:
    """The similarity matrix with the block cuts; below it, which units stay."""
    n = len(plan.units)
    figure = Figure(figsize=(7, 7.4), dpi=DOTS_PER_INCH, layout="constrained")
    axes, strip = figure.subplots(2, 1, height_ratios=(12, 1), sharex=True)
    image = axes.imshow(similarity, cmap="viridis", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    figure.colorbar(image, ax=axes, label="similarity of the units' outputs", shrink=0.8)
    for block in plan.blocks:
        corner, size = block[0] - 0.5, len(block)
        axes.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor="white", linewidth=2.5))
        axes.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor=COLOURS["pruned"], linewidth=1.2))
    names = [f"{index}  {unit.name}" for index, unit in enumerate(plan.units)]
    axes.set_yticks(range(n), names, fontsize=max(3, min(7, 190 / n)))
    axes.set_title(f"{len(plan.kept)} of {n} units kept, in {len(plan.boundaries)} blocks")
    for index in plan.kept:
        axes.get_yticklabels()[index].set_color(COLOURS["pruned"])
        axes.get_yticklabels()[index].set_fontweight("bold")

    for index, unit in enumerate(plan.units):
        kept = index in plan.kept
        face = COLOURS["pruned"] if kept else ("0.8" if unit.kind == "reducible" else "white")
        strip.add_patch(Rectangle((index - 0.5, 0), 1, 1, facecolor=face, edgecolor="0.4", linewidth=0.6))
    for start in plan.boundaries[1:]:
        strip.axvline(start - 0.5, color="black", linewidth=1.6)
    strip.set(ylim=(0, 1), yticks=[], xlabel="unit: orange is kept, grey leaves its shortcut, white leaves nothing")
    return figure


def loss_of_blocks(plan: Plan) -> Figure:
    """Fisher's loss against the number of blocks, in percent of that of one block, and the number that was taken."""
    figure = Figure(figsize=(7, 3), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    whole, taken = plan.losses[0] or 1.0, len(plan.boundaries)
    blocks = range(1, len(plan.losses) + 1)
    axes.plot(blocks, [100 * loss / whole for loss in plan.losses], marker="o", markersize=4, color=COLOURS["original"])
    axes.plot(taken, 100 * plan.losses[taken - 1] / whole, marker="o", markersize=9, color=COLOURS["pruned"])
    axes.annotate(
        f"{taken} taken", (taken, 100 * plan.losses[taken - 1] / whole), xytext=(8, 8), textcoords="offset points",
        color=COLOURS["pruned"],
    )  # fmt: skip
    axes.set(xlabel="blocks", ylabel="scatter within the blocks\n(one block: 100)", ylim=(-4, 104))
    axes.grid(alpha=0.25)
    return figure


def confusions(confusion: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str]) -> Figure:
    """The confusion matrix of each model, side by side under its title: shares of the true class, in percent."""
    # However few the classes, the title and the axis's name have room.
    size = (max(4.4 * len(confusion), 2 + 0.475 * len(classes) * len(confusion)), 1.2 + 0.46 * len(classes))
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    columns = figure.subplots(1, len(confusion), sharey=True, squeeze=False)[0]
    for axes, (name, counts) in zip(columns, confusion.items(), strict=True):
        _confusion(axes, np.asarray(counts, dtype=float), classes)
        axes.set_title(name, fontsize=10, parse_math=False)
        axes.set_xlabel("named, percent of the true modulation's frames")
    figure.axes[0].set_ylabel("true modulation")
    return figure


def _confusion(axes: Axes, counts: NDArray[np.float64], classes: Sequence[str]) -> None:
    percent = 100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(ticks, classes, fontsize=8)
    for row, column in np.argwhere(percent >= 0.5):
        value = percent[row, column]
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if value > 55 else "k")


def _save(figure: Figure, path: Path) -> None:
    # Without pyplot: no global state, and no window system is looked for.
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})  # type: ignore[no-untyped-call]
