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
from toolchain.report.drawing import COLOURS, in_db, readable, save, sheet, tick_snrs
from toolchain.report.plan_figure import plan_figure

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
    save(confusions(confusion, classes, _snrs(results["models"])), folder / "confusion.png")


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
    models = {name: values}
    save(accuracy_by_snr(models, evaluation.level, part), folder / "accuracy.png")
    title = f"{readable(name, TITLE_LETTERS)}\naccuracy {evaluation.accuracy:.1%} on {part}"
    confusion = {title: evaluation.confusion.tolist()}
    save(confusions(confusion, evaluation.classes, _snrs(models)), folder / "confusion.png")


def accuracy_by_snr(models: Mapping[str, Any], level: float, part: str = "the test split") -> Figure:
    """Accuracy on ``part`` against SNR, a line a model, with the sensitivity of each where its line crosses."""
    figure = sheet(7, 4.6)
    axes = figure.add_subplot()
    for name, model in models.items():
        points = sorted((float(snr), share) for snr, share in model["accuracy_by_snr"].items())
        label = f"{readable(name, TITLE_LETTERS)}, {model['accuracy']:.1%} over all SNRs"
        colour = COLOURS.get(name, COLOURS["original"])
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=label)
        if model["sensitivity_db"] is not None:
            axes.plot([model["sensitivity_db"]] * 2, [0, level], color=colour, linewidth=1, linestyle=":")
    axes.axhline(level, color="0.4", linewidth=1, linestyle=":", label=f"sensitivity: the SNR that gives {level:.0%}")
    # A point at either end is whole.
    axes.set(xlabel="SNR in dB", ylabel=f"accuracy on {part}", ylim=(-0.02, 1.02))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    tick_snrs(axes, _snrs(models))
    axes.grid(alpha=0.25)
    # Above: inside the panel, there is a curve for which any place is wrong.
    legend: Any = figure.legend(loc="outside upper center", frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _snrs(models: Mapping[str, Any]) -> list[float]:
    return sorted({float(snr) for model in models.values() for snr in model["accuracy_by_snr"]})


def confusions(
    confusion: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str], snrs_db: Sequence[float]
) -> Figure:
    """The confusion matrix of each model, side by side under its title: shares of the true class, in percent.

    Beside a class the number of its frames, which are of all ``snrs_db`` (ascending) together.
    """
    # However few the classes, the title and the axis's name have room.
    width = max(4.8 * len(confusion), 1.8 + 0.475 * len(classes) * len(confusion))
    figure = sheet(width, max(3.6, 1.8 + 0.46 * len(classes)))
    columns = figure.subplots(1, len(confusion), sharey=True, squeeze=False)[0]
    for axes, (name, counts) in zip(columns, confusion.items(), strict=True):
        _confusion(axes, np.asarray(counts, dtype=float), classes)
        axes.set_title(name, fontsize=10, parse_math=False)
    frames = np.sum(next(iter(confusion.values())), axis=1)
    names = [f"{readable(name)} ({count:,})" for name, count in zip(classes, frames, strict=True)]
    columns[0].set_yticks(range(len(classes)), names, fontsize=8, parse_math=False)
    columns[0].set_ylabel("true modulation (its frames)")
    ends = " to ".join(dict.fromkeys(in_db(snr, "") for snr in (snrs_db[0], snrs_db[-1])))
    which = f"{len(snrs_db)} SNRs mixed, {ends} dB" if len(snrs_db) > 1 else f"at {ends} dB"
    figure.supxlabel(f"named, in percent of the true modulation's frames\n{which}", fontsize=10)
    return figure


def _confusion(axes: Axes, counts: NDArray[np.float64], classes: Sequence[str]) -> None:
    percent = 100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    names = [readable(name) for name in classes]
    axes.set_xticks(
        range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8, parse_math=False
    )
    for row, column in np.argwhere(percent >= 0.5):
        value = percent[row, column]
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if value > 55 else "k")
