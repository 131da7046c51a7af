"""Pictures of the frames themselves, so that a radio engineer sees whether signals are what their labels say."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data.inspection import Inspection
from toolchain.data.snr_estimate import usable_frames
from toolchain.data.symbols import SYMBOLS_FROM_DB, find_samples_per_symbol, phase_power, received_symbols
from toolchain.errors import ToolchainError
from toolchain.report import drawing
from toolchain.report.drawing import counted, filled, in_db, readable, say, sheet
from toolchain.report.inspection_figures import frames_per_cell, measured_snrs
from toolchain.report.panels import (
    SAMPLES_DRAWN,
    draw_plane,
    draw_spectra,
    draw_symbols,
    draw_time,
)

log = logging.getLogger(__name__)

# Of one cell; enough that a spectrum's floor is smooth to a third of a decibel.
FRAMES_DRAWN = 200
# Of long frames fewer, so that memory holds 32 MiB of them; at least one.
SAMPLES_OF_CELL = 1 << 22
# Beside the highest SNR, the ones nearest to these are drawn: noise shows by comparison.
SNRS_DRAWN_DB = (10.0, 0.0, -10.0)
FILE_NAME_LIMIT = 40
OVERVIEW_CLASSES = 64
OVERVIEW_COLUMNS = 4


def write_frames_figures(
    folder: Path, dataset: Dataset, inspection: Inspection, *, progress: Progress = silent
) -> list[Path]:
    """Draw a set into ``folder``, which is made where it is missing; return the PNG files, the summaries first.

    ``overview.png`` has the first 64 classes at their highest SNR; ``cells.png`` how many frames each cell has;
    ``snr.png`` the measured SNRs, where any could be measured; then a file a class with frames,
    ``class-NN-NAME.png``, NAME being what a file system can take of the class's name. The same set gives the same
    pictures. Progress counts files. Pictures of another set that are in the folder stay there; a log line names them.
    ToolchainError where ``folder`` is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ToolchainError(
            f"{folder}: is a file, or a link to nothing; pictures need a folder, an empty one or none yet"
        ) from error
    present = np.flatnonzero(inspection.counts.sum(axis=1))
    pictures: list[tuple[Path, Callable[[], Figure]]] = [(folder / "cells.png", lambda: frames_per_cell(inspection))]
    if np.isfinite(inspection.measured_snr.measured_db).any():
        pictures.append((folder / "snr.png", lambda: measured_snrs(inspection)))
    total = present.size + len(pictures) + bool(present.size)
    written: list[Path] = []

    def save(figure: Figure, path: Path) -> None:
        drawing.save(figure, path)
        written.append(path)
        progress(len(written), total, path.name)

    sps = find_samples_per_symbol(_linear_modulations(dataset, inspection))
    if present.size:
        save(overview(dataset, inspection, sps), folder / "overview.png")
    for path, draw in pictures:
        save(draw(), path)
    for label in present:
        save(class_figure(dataset, inspection, int(label), sps), folder / class_file_name(dataset.classes, int(label)))
    _name_older(folder, written)
    return written


def _name_older(folder: Path, written: Sequence[Path]) -> None:
    # Not removed: they are the user's, and may be of classes left out this time.
    ours = re.compile(r"(overview|cells|snr|class-\d+(-.*)?)\.png")
    older = sorted(
        {path.name for path in folder.iterdir() if ours.fullmatch(path.name)} - {path.name for path in written}
    )
    if older:
        more = f" and {len(older) - 3} more" if len(older) > 3 else ""
        log.warning(
            "%s: pictures of another set were there before and are left as they were: %s%s",
            folder, ", ".join(older[:3]), more,
        )  # fmt: skip


def class_file_name(classes: Sequence[str], label: int) -> str:
    """Name a class's picture: its number makes it unlike any other, on every file system."""
    digits = len(str(len(classes) - 1))
    safe = re.sub(r"[^A-Za-z0-9.+-]+", "_", classes[label])[:FILE_NAME_LIMIT].strip("._")
    return f"class-{label:0{digits}}{f'-{safe}' if safe else ''}.png"


def class_figure(dataset: Dataset, inspection: Inspection, label: int, samples_per_symbol: float | None) -> Figure:
    """One class at its highest SNR: samples in the I/Q plane, averaged spectra of several SNRs, one frame in time.

    With ``samples_per_symbol``, and for PSK, QAM and ASK, the symbols beside the samples, see :func:`recover_symbols`.
    """
    name = readable(dataset.classes[label])
    snrs = _snrs_of(inspection, label)
    frames = _frames(dataset, label, snrs[0])
    symbols = received_symbols(dataset.classes[label], snrs[0], frames, samples_per_symbol)
    widths = (1, 1.2, 1.4) if symbols is None else (1, 1, 1.2, 1.4)
    figure = sheet(3.2 * sum(widths) + 0.6 * len(widths), 4.5)
    panels = figure.subplots(1, len(widths), width_ratios=widths)
    for axes, width in zip(panels, widths, strict=True):
        axes.set_box_aspect(1 / width)  # all of one height
    plane, *constellation, spectrum, time = panels
    figure.suptitle(f"{name} at {in_db(snrs[0])}, its highest SNR", parse_math=False)
    if len(frames) == 0:
        for axes in (plane, spectrum, time):
            say(axes, "every frame is silent\nor not finite")
        return figure
    # Each title has two lines, so that they stand at one height.
    draw_plane(plane, frames)
    plane.set(xlabel="I, in RMS of the frame", ylabel="Q, in RMS of the frame")
    plane.set_title(f"all samples of {counted(len(frames), 'frame')}\norange: the beginning of frame 1", fontsize=9)
    if symbols is not None:
        draw_symbols(constellation[0], symbols)
        constellation[0].set(xlabel="I, in RMS of the symbols", ylabel="Q, in RMS of the symbols")
        constellation[0].set_title(
            f"{counted(symbols.size, 'symbol')}, {samples_per_symbol:.3g} samples each\n"
            "recovered blindly, which blurs them",
            fontsize=9,
        )
    others = [(snr, _frames(dataset, label, snr)) for snr in snrs[1:]]
    draw_spectra(spectrum, [(snrs[0], frames), *others], dataset.sample_rate_hz)
    spectrum.set_title(
        f"spectra by SNR label\nmean of up to {counted(_most_frames(dataset.length), 'frame')} each", fontsize=9
    )
    draw_time(time, frames[0], dataset.sample_rate_hz)
    shown = min(SAMPLES_DRAWN, dataset.length)
    part = "all" if shown == dataset.length else f"the first {shown}"
    time.set_title(f"frame 1 in time\n{part} of its {counted(dataset.length, 'sample')}", fontsize=9)
    return figure


def overview(dataset: Dataset, inspection: Inspection, samples_per_symbol: float | None) -> Figure:
    """The first 64 classes that have frames, each at its highest SNR: I/Q plane and averaged spectrum, small.

    The plane shows symbols where :func:`recover_symbols` is meant for the class, and else samples.
    """
    present = np.flatnonzero(inspection.counts.sum(axis=1))
    drawn = present[:OVERVIEW_CLASSES]
    columns = min(OVERVIEW_COLUMNS, drawn.size)
    rows = -(-drawn.size // columns)
    unit = "kHz" if dataset.sample_rate_hz else "cycles per sample"
    # In one class alone: more than one title's width.
    width = max(5.0, 3.9 * columns)
    figure = sheet(width, 2.05 * rows + (1.0 if columns > 1 else 1.8))
    grid = figure.subfigures(rows, columns, squeeze=False)
    spectra: list[Axes] = []
    blind = False
    for cell, label in zip(grid.flat, drawn, strict=False):
        snr = _snrs_of(inspection, int(label))[0]
        frames = _frames(dataset, int(label), snr)
        cell.suptitle(f"{readable(dataset.classes[label])}, {in_db(snr)}", fontsize=9, parse_math=False)
        plane, spectrum = cell.subplots(1, 2, width_ratios=(1, 1.15))
        if len(frames) == 0:
            for axes in (plane, spectrum):
                say(axes, "silent or\nnot finite")
            continue
        symbols = received_symbols(dataset.classes[label], snr, frames, samples_per_symbol)
        if symbols is None:
            draw_plane(plane, frames, trajectory=False)
        else:
            draw_symbols(plane, symbols)
            blind = True
        plane.set(xticks=[], yticks=[])
        plane.set_xlabel("I of samples" if symbols is None else "I of symbols", fontsize=7, labelpad=3)
        plane.set_ylabel("Q", fontsize=7, labelpad=2)
        draw_spectra(spectrum, [(snr, frames)], dataset.sample_rate_hz)
        spectrum.set_xlabel(unit, fontsize=7, labelpad=1)
        spectrum.set_ylabel("dB", fontsize=7, labelpad=1)
        spectrum.tick_params(labelsize=7)
        spectrum.get_legend().remove()
        spectra.append(spectrum)
    # One range, so that floors compare.
    ends = np.array([spectrum.get_ylim() for spectrum in spectra]).reshape(-1, 2)
    for spectrum in spectra:
        spectrum.set_ylim(ends[:, 0].min(), ends[:, 1].max())
    more = f"; the first {drawn.size} of {present.size} classes" if drawn.size < present.size else ""
    lines = [
        f"Each class at its highest SNR{more}: left in the I/Q plane, right its mean spectrum, where "
        "0 dB is white noise of the frames' power",
        "samples: as in the file, oversampled",
    ]
    if blind:
        lines[1] += (
            "; symbols: recovered blindly, carrier and clock estimated from each frame by itself, which blurs them, "
            "QAM of many levels most"
        )
    figure.suptitle(filled("\n".join(lines), width, 10), fontsize=10)
    return figure


def _snrs_of(inspection: Inspection, label: int) -> list[float]:
    """The class's highest SNR, then those of its others that are nearest to the ones worth comparing, downwards."""
    own = [snr for snr, count in zip(inspection.snr_db, inspection.counts[label], strict=True) if count]
    chosen = {own[-1]}
    for wanted in SNRS_DRAWN_DB:
        nearest = min(own, key=lambda snr: (abs(snr - wanted), snr))
        # One that is 5 dB away shows nothing that the others do not.
        if abs(nearest - wanted) <= 5 and all(abs(nearest - snr) >= 4 for snr in chosen):
            chosen.add(nearest)
    return sorted(chosen, reverse=True)


def _linear_modulations(dataset: Dataset, inspection: Inspection) -> Iterator[NDArray[np.float32]]:
    """Frames of each class whose name is that of a linear modulation, at its highest SNR if that is high enough."""
    for label, name in enumerate(dataset.classes):
        if phase_power(name) and inspection.counts[label].any():
            snr = _snrs_of(inspection, label)[0]
            if snr >= SYMBOLS_FROM_DB and len(frames := _frames(dataset, label, snr)):
                yield frames


def _frames(dataset: Dataset, label: int, snr_db: float) -> NDArray[np.float32]:
    members = np.flatnonzero((dataset.labels == label) & (dataset.snr_db == np.float32(snr_db)))
    return usable_frames(dataset, members, _most_frames(dataset.length))


def _most_frames(length: int) -> int:
    return max(1, min(FRAMES_DRAWN, SAMPLES_OF_CELL // length))
