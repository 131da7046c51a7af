"""Pictures of what an inspection found: how many frames each cell has, and the measured SNRs against their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from toolchain.data.inspection import Inspection
from toolchain.data.snr_estimate import JUDGED_LABELS_DB, WRONG_BY_DB
from toolchain.report.panels import in_db, readable, say

# Above, the counts would not be legible in their cells.
COUNTED_CELLS = 24 * 26
# With ten colours, lines of 70 classes differ; of more, the markers still do.
LINE_STYLES: tuple[Any, ...] = (
    "-", "--", ":", "-.", (0, (8, 2)), (0, (1, 3)), (0, (5, 1.5, 1, 1.5, 1, 1.5)),
)  # fmt: skip


def frames_per_cell(inspection: Inspection) -> Figure:
    """How many frames each class has at each SNR."""
    counts = inspection.counts
    rows, columns = counts.shape
    size = (max(5.0, min(2.5 + 0.42 * columns, 16.0)), max(2.6, min(1.6 + 0.27 * rows, 40.0)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(
        f"{inspection.frames:,} {'frame' if inspection.frames == 1 else 'frames'} by class and SNR", fontsize=10
    )
    if counts.size == 0:
        say(axes, "no frames")
        return figure
    image = axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, counts.max()), aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="frames", ticks=MaxNLocator(integer=True), fraction=0.06, pad=0.02)
    if counts.size <= COUNTED_CELLS and columns <= 32:
        for row, column in np.ndindex(rows, columns):
            count = int(counts[row, column])
            colour = "w" if count > 0.55 * counts.max() else "k"
            axes.text(column, row, _short(count), ha="center", va="center", fontsize=6.5, color=colour)
    _class_ticks(axes, inspection.classes)
    every = -(-columns // 32)
    axes.set_xticks(range(0, columns, every), [in_db(snr, "") for snr in inspection.snr_db[::every]], fontsize=8)
    axes.set_xlabel("SNR label in dB")
    return figure


def measured_snrs(inspection: Inspection) -> Figure:
    """What is measured less the SNR label, by label, a line a class; classes that agree would hide each other otherwise."""
    snr = inspection.measured_snr
    lines = [label for label in range(len(inspection.classes)) if np.isfinite(snr.measured_db[label]).any()]
    legend_columns = 1 + (len(lines) - 1) // 26
    figure = Figure(figsize=(6.6 + 1.6 * min(legend_columns, 4), 5.2), layout="constrained")
    axes = figure.add_subplot()
    ends = (float(snr.labels_db.min()) - 1, float(snr.labels_db.max()) + 1)
    low, high = np.clip(JUDGED_LABELS_DB, *ends)
    axes.add_patch(Rectangle((low, -WRONG_BY_DB), high - low, 2 * WRONG_BY_DB, color="0.94", linewidth=0))
    axes.axhline(0, color="k", linewidth=1.6, linestyle="-", label="measured = label")
    off_db = snr.measured_db - snr.labels_db
    for number, label in enumerate(lines):
        axes.plot(
            snr.labels_db, off_db[label], marker="osv^Dx"[number // 10 % 6], markersize=4, linewidth=1,
            color=f"C{number % 10}", linestyle=LINE_STYLES[number // 10 % len(LINE_STYLES)],
            label=readable(inspection.classes[label]),
        )  # fmt: skip
    # Never so near that errors of measuring look large.
    reach = 1.1 * max(WRONG_BY_DB + 1, float(np.nanmax(np.abs(off_db))))
    axes.set(xlim=ends, ylim=(-reach, reach), xlabel="SNR label in dB", ylabel="measured SNR less the label, in dB")
    axes.set_title(
        f"where noise shows beside the signal; grey: within {WRONG_BY_DB:g} dB, as labels should be", fontsize=9
    )
    axes.grid(alpha=0.25)
    legend: Any = figure.legend(loc="outside right upper", frameon=False, fontsize=8, ncols=min(legend_columns, 4))
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _class_ticks(axes: Axes, classes: Sequence[str]) -> None:
    every = -(-len(classes) // 140)
    names = [readable(name) for name in classes[::every]]
    axes.set_yticks(range(0, len(classes), every), names, fontsize=8, parse_math=False)


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"
