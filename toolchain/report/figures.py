"""The pictures of a report, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toolchain.evaluation import Evaluation
from toolchain.pruning import Plan
from toolchain.report.drawing import COLOURS, DOTS_PER_INCH, save
from toolchain.report.plan_figure import plan_figure

# Behind a label that may lie on a line.
BACKGROUND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
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
    """Draw accuracy by SNR, the plan, and the confusion of both models into ``folder``.

    ``similarity`` is (units, units); ``confusion`` holds counts by model, rows the true class.
    """
    folder.mkdir()
    classes = results["dataset"]["classes"]
    save(
        accuracy_by_snr(results["models"], results["settings"]["export"]["sensitivity_level"]), folder / "accuracy.png"
    )
    save(plan_figure(plan, similarity), folder / "plan.png")
    save(confusions(confusion, classes), folder / "confusion.png")


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
    save(accuracy_by_snr({name: values}, evaluation.level, part), folder / "accuracy.png")
    title = f"{name[:TITLE_LETTERS]}\naccuracy {evaluation.accuracy:.1%} on {part}"
    save(confusions({title: evaluation.confusion.tolist()}, evaluation.classes), folder / "confusion.png")


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
        textcoords="offset points", ha="right", fontsize=8, color="0.35", bbox=BACKGROUND,
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
