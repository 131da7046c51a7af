"""Pictures of what an inspection found: how many frames each cell has, and the measured SNRs against their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from toolchain.data.inspection import Inspection
from toolchain.data.snr_estimate import JUDGED_LABELS_DB, WRONG_BY_DB
from toolchain.report.drawing import COLOURS, counted, filled, in_db, readable, say, sheet, tick_snrs

# Above, the counts would not be legible in their cells.
COUNTED_CELLS = 24 * 26
# Of more classes those that are furthest off.
MOST_PANELS = 64
SNR_COLUMNS = 4


def frames_per_cell(inspection: Inspection) -> Figure:
    """How many frames each class has at each SNR."""
    counts = inspection.counts
    rows, columns = counts.shape
    figure = sheet(max(5.0, min(2.5 + 0.42 * columns, 16.0)), max(2.6, min(1.6 + 0.27 * rows, 40.0)))
    axes = figure.add_subplot()
    total = counted(inspection.frames, "frame")
    axes.set_title(f"{total} by class and SNR", fontsize=10)
    if counts.size == 0:
        say(axes, "no frames")
        return figure
    most = int(counts.max())
    even = bool(counts.min() == most)
    # An even set would be one dark plate, and a scale of colours beside it would say nothing.
    darkest = 5 * most if even else most
    image = axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, darkest), aspect="auto", interpolation="nearest")
    if even:
        axes.set_title(f"{counted(most, 'frame')} of every class at every SNR; {total} in all", fontsize=10)
    else:
        figure.colorbar(image, ax=axes, label="frames", ticks=MaxNLocator(integer=True), fraction=0.06, pad=0.02)
    if counts.size <= COUNTED_CELLS and columns <= 32:
        for row, column in np.ndindex(rows, columns):
            count = int(counts[row, column])
            colour = "w" if count > 0.55 * darkest else "k"
            axes.text(column, row, _short(count), ha="center", va="center", fontsize=6.5, color=colour)
    _class_ticks(axes, inspection.classes)
    every = -(-columns // 32)
    axes.set_xticks(range(0, columns, every), [in_db(snr, "") for snr in inspection.snr_db[::every]], fontsize=8)
    axes.set_xlabel("SNR label in dB")
    return figure


def measured_snrs(inspection: Inspection) -> Figure:
    """What is measured less the SNR label, by label, a panel a class: on top of each other they would be one line."""
    snr = inspection.measured_snr
    off_db = snr.measured_db - snr.labels_db
    measured = np.flatnonzero(np.isfinite(off_db).any(axis=1))
    furthest = np.argsort(-np.nanmax(np.abs(off_db[measured]), axis=1), kind="stable")[:MOST_PANELS]
    drawn = measured[np.sort(furthest)]
    columns = min(SNR_COLUMNS, drawn.size)
    rows = -(-drawn.size // columns)
    width = max(5.6, 2.3 * columns + 0.6)
    figure = sheet(width, max(3.6, 1.55 * rows + 1.6))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    ends = (float(snr.labels_db.min()) - 1, float(snr.labels_db.max()) + 1)
    low, high = np.clip(JUDGED_LABELS_DB, *ends)
    # Never so near that errors of measuring look large.
    reach = 1.1 * max(WRONG_BY_DB + 1, float(np.nanmax(np.abs(off_db[drawn]))))
    for axes, label in zip(panels.flat, drawn, strict=False):
        axes.add_patch(Rectangle((low, -WRONG_BY_DB), high - low, 2 * WRONG_BY_DB, color="0.93", linewidth=0))
        axes.axhline(0, color="0.5", linewidth=0.8)
        axes.plot(snr.labels_db, off_db[label], marker="o", markersize=3, linewidth=1.2, color=COLOURS["original"])
        axes.set_title(readable(inspection.classes[label]), fontsize=9, parse_math=False)
        axes.set(xlim=ends, ylim=(-reach, reach))
        tick_snrs(axes, snr.labels_db, most=7)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    for axes in panels.flat[drawn.size :]:
        axes.remove()
    for axes in panels.flat[max(0, drawn.size - columns) : drawn.size]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("SNR label in dB", fontsize=10)
    figure.supylabel("measured SNR\nless the label, in dB", fontsize=10)
    more = (
        f", of the {drawn.size} of {measured.size} classes that are furthest off" if drawn.size < measured.size else ""
    )
    judged = " to ".join(in_db(end, "") for end in JUDGED_LABELS_DB)
    lines = [
        f"How far the measured SNR is from its label{more}",
        f"grey: less than {WRONG_BY_DB:g} dB off, as it should be for labels from {judged} dB",
    ]
    if np.isnan(off_db).any():
        lines.append(
            "what is missing has no estimate: noise hides the signal, the signal fills the band, or frames are few"
        )
    figure.suptitle(filled("\n".join(lines), width, 10), fontsize=10)
    return figure


def _class_ticks(axes: Axes, classes: Sequence[str]) -> None:
    every = -(-len(classes) // 140)
    names = [readable(name) for name in classes[::every]]
    axes.set_yticks(range(0, len(classes), every), names, fontsize=8, parse_math=False)


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"
