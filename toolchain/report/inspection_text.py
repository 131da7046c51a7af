"""What `data inspect` shows on the terminal: a summary, the frames in each cell, what looks wrong."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolchain.data.inspection import Inspection

# A table of this many columns fits 120 characters; of more SNRs, the lowest and highest counts are told.
MOST_COLUMNS = 20


def show_inspection(console: Console, inspection: Inspection) -> None:
    """Write the whole inspection to ``console``."""
    for name, text in summary(inspection):
        # Styles apart from the text: a file or a class may be named "[red]".
        console.print(Text.assemble((f"{name:<11} ", "bold"), text), soft_wrap=True)
    table = cells_table(inspection)
    if table is not None:
        console.print()
        console.print(table)
    console.print()
    if not inspection.warnings:
        console.print(Text("No warnings."))
    for warning in inspection.warnings:
        console.print(Text.assemble(("warning ", "bold yellow"), warning), soft_wrap=True)


def summary(inspection: Inspection) -> list[tuple[str, str]]:
    """What the set is, in lines of a name and a text."""
    rate_hz = inspection.sample_rate_hz
    rate = "sample rate unknown" if rate_hz is None else f"{rate_hz / 1e3:g} kHz"
    return [
        ("set", f"{inspection.source}, format {inspection.format}"),
        ("frames", f"{inspection.frames:,} of {inspection.length:,} samples, {rate}"),
        ("classes", f"{len(inspection.classes)}: {', '.join(inspection.classes)}"),
        ("SNRs", _snrs(inspection.snr_db)),
        ("cells", _cells(inspection)),
        ("scale", _scale(inspection)),
        ("SNR", _measured(inspection)),
        ("fingerprint", inspection.fingerprint),
    ]


def cells_table(inspection: Inspection) -> Table | None:
    """Frames by class and SNR; None where one line says it: all cells alike, or too many SNRs for a terminal."""
    if inspection.per_cell_min == inspection.per_cell_max or len(inspection.snr_db) > MOST_COLUMNS:
        return None
    table = Table(show_edge=False, pad_edge=False, box=None)
    table.add_column("frames at dB")
    for snr in inspection.snr_db:
        table.add_column(f"{snr:g}", justify="right")
    for name, counts in zip(inspection.classes, inspection.counts, strict=True):
        table.add_row(Text(name), *(Text(str(count), "" if count else "yellow") for count in counts))
    return table


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
    if least == most:
        return f"{most:,} frames in each of {rows} x {columns} cells (class x SNR)"
    empty = int(np.count_nonzero(inspection.counts == 0))
    return f"{least:,} to {most:,} frames in each of {rows} x {columns} cells (class x SNR), {empty:,} empty"


def _scale(inspection: Inspection) -> str:
    scaling = inspection.scaling
    if scaling.rms_median is None:
        return scaling.convention
    ends = (scaling.rms_min, scaling.rms_max)
    low, high = ("beyond float32" if end is None else f"{end:.4g}" for end in ends)
    return f"{scaling.convention}; RMS of a frame {low} to {high}, median {scaling.rms_median:.4g}"


def _measured(inspection: Inspection) -> str:
    snr = inspection.measured_snr
    seen = np.isfinite(snr.measured_db)
    if not seen.any():
        return "not measured: no cell shows a floor of noise beside a signal"
    off = (snr.measured_db - snr.labels_db)[seen]
    return (
        f"measured in {off.size} of {seen.size} cells, {np.median(off):+.1f} dB from the label "
        f"(median; 90 % within {np.quantile(np.abs(off), 0.9):.1f} dB)"
    )
