"""What `data inspect` shows on the terminal: a summary, the frames in each cell, what looks wrong."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolchain.data.inspection import Inspection
from toolchain.data.snr_estimate import JUDGED_LABELS_DB, judged_cells

# A table of this many columns fits 120 characters; of more SNRs, the lowest and highest counts are told.
MOST_COLUMNS = 20
# Cells that differ by less need no table, unless some are empty.
TABLE_FROM_RATIO = 1.5


def show_inspection(console: Console, inspection: Inspection) -> None:
    """Write the whole inspection to ``console``: what it is, what looks wrong, and where cells differ their counts."""
    for name, text in summary(inspection):
        # Styles apart from the text: a file or a class may be named "[red]".
        console.print(Text.assemble((f"{name:<11} ", "bold"), text), soft_wrap=True)
    console.print()
    if not inspection.warnings:
        console.print(Text("No warnings."))
    for warning in inspection.warnings:
        console.print(Text.assemble(("warning ", "bold yellow"), warning), soft_wrap=True)
    table = cells_table(inspection)
    if table is not None:
        console.print()
        console.print(table)


def summary(inspection: Inspection) -> list[tuple[str, str]]:
    """What the set is, in lines of a name and a text."""
    samples = f"{inspection.length:,} {'sample' if inspection.length == 1 else 'samples'}"
    return [
        ("set", f"{inspection.source}, format {inspection.format}"),
        (
            "frame" if inspection.frames == 1 else "frames",
            f"{inspection.frames:,} of {samples}, {_rate(inspection.sample_rate_hz)}",
        ),
        (
            "class" if len(inspection.classes) == 1 else "classes",
            f"{len(inspection.classes)}: {', '.join(inspection.classes)}",
        ),
        ("SNR" if len(inspection.snr_db) == 1 else "SNRs", _snrs(inspection.snr_db)),
        ("cells", _cells(inspection)),
        ("scale", _scale(inspection)),
        ("measured", _measured(inspection)),
        ("fingerprint", inspection.fingerprint),
    ]


def cells_table(inspection: Inspection) -> Table | None:
    """Frames by class and SNR; None where one line says it: cells much alike, or too many SNRs for a terminal."""
    alike = inspection.per_cell_max <= TABLE_FROM_RATIO * inspection.per_cell_min
    if alike or not inspection.counts.size or len(inspection.snr_db) > MOST_COLUMNS:
        return None
    table = Table(show_edge=False, pad_edge=False, box=None)
    table.add_column("frames at dB")
    for snr in inspection.snr_db:
        table.add_column(f"{snr:g}", justify="right")
    for name, counts in zip(inspection.classes, inspection.counts, strict=True):
        table.add_row(Text(name), *(Text(str(count), "" if count else "yellow") for count in counts))
    return table


def _rate(rate_hz: float | None) -> str:
    if rate_hz is None:
        return "sample rate unknown"
    for unit, name in ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz")):
        if rate_hz >= unit:
            return f"{rate_hz / unit:.10g} {name}"
    return f"{rate_hz:.10g} Hz"


def _snrs(snr_db: tuple[float, ...]) -> str:
    if len(snr_db) < 2:
        return ", ".join(f"{snr:g} dB" for snr in snr_db) or "none"
    steps = np.unique(np.round(np.diff(snr_db), 4))
    if steps.size == 1:
        return f"{len(snr_db)}: {snr_db[0]:g} to {snr_db[-1]:g} dB in steps of {steps[0]:g}"
    if len(snr_db) <= MOST_COLUMNS:
        return f"{len(snr_db)}: {', '.join(f'{snr:g}' for snr in snr_db)} dB"
    return f"{len(snr_db)}: {snr_db[0]:g} to {snr_db[-1]:g} dB"


def _cells(inspection: Inspection) -> str:
    rows, columns = inspection.counts.shape
    least, most = inspection.per_cell_min, inspection.per_cell_max
    count = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    where = "1 cell" if rows == columns == 1 else f"each of {rows} x {columns} cells"
    empty = int(np.count_nonzero(inspection.counts == 0))
    told = f", {empty:,} empty" if empty and most else ""
    return f"{count} {'frame' if most == 1 else 'frames'} in {where} (class x SNR){told}"


def _scale(inspection: Inspection) -> str:
    scaling = inspection.scaling
    if scaling.rms_median is None:
        return scaling.convention
    ends = (scaling.rms_min, scaling.rms_max)
    low, high = ("beyond float32" if end is None else f"{end:.4g}" for end in ends)
    return f"{scaling.convention}; RMS of a frame {low} to {high}, median {scaling.rms_median:.4g}"


def _measured(inspection: Inspection) -> str:
    snr = inspection.measured_snr
    if not np.isfinite(snr.measured_db).any():
        return "not measured: no cell shows a floor of noise beside a signal"
    low_db, high_db = JUDGED_LABELS_DB
    # The very cells that a warning is about, so that both give the same number.
    judged = judged_cells(snr)
    if not judged.any():
        return (
            f"not compared: noise shows beside a signal only in cells with labels outside {low_db:g} to {high_db:g} dB"
        )
    in_range = (snr.labels_db >= low_db) & (snr.labels_db <= high_db)
    cells = int(np.count_nonzero(inspection.counts[:, in_range]))
    off = (snr.measured_db - snr.labels_db)[judged]
    # + 0.0: no "-0.0".
    return (
        f"{round(float(np.median(off)), 1) + 0.0:+.1f} dB from the label: median of {off.size} of {cells} "
        f"{'cell' if cells == 1 else 'cells'} with labels from {low_db:g} to {high_db:g} dB "
        f"(90% within {np.quantile(np.abs(off), 0.9):.1f} dB)"
    )
