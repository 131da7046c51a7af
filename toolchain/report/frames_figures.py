"""Pictures of the frames themselves, so that a radio engineer sees whether signals are what their labels say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data.inspection import Inspection
from toolchain.data.snr_estimate import JUDGED_LABELS_DB, frame_spectra, usable_frames

DOTS_PER_INCH = 120
# In-phase and quadrature: Okabe and Ito's blue and vermilion, apart for colour-blind readers and in grey.
COLOURS = {"I": "#0072B2", "Q": "#D55E00"}
# Of one cell; enough that a spectrum's floor is smooth to a third of a decibel.
FRAMES_DRAWN = 200
# Beside the highest SNR, the ones nearest to these are drawn: noise shows by comparison.
SNRS_DRAWN_DB = (10.0, 0.0, -10.0)
SAMPLES_DRAWN = 256
TRAJECTORY_SAMPLES = 128
# In units of a frame's RMS: 64QAM's corners reach 1.5, filters and fading somewhat more.
PLANE_LIMIT = 2.5
PLANE_BINS = 75
NAME_LIMIT = 28
FILE_NAME_LIMIT = 40
OVERVIEW_CLASSES = 64
OVERVIEW_COLUMNS = 4
COUNTED_CELLS = 24 * 26
# Symbols are recovered from this SNR label on, of modulations whose phase the power in the table tells, for the usual
# pulses; frames of 64 times 128 symbols are plenty to look at.
SYMBOLS_FROM_DB = 8.0
FRAMES_SYNCHRONISED = 64
SAMPLES_A_SYMBOL = (2.2, 32.0)
ROLL_OFF = 0.35
FILTER_SYMBOLS = 6
EDGE_SYMBOLS = 2
UPSAMPLING = 8
# Cycles a symbol; RML2016.10a's carriers are off by 0.02 at most.
CARRIER_OFFSET_LIMIT = 0.025


def write_frames_figures(
    folder: Path, dataset: Dataset, inspection: Inspection, *, progress: Progress = silent
) -> list[Path]:
    """Draw a set into ``folder``, which is made where it is missing; return the PNG files, the summaries first.

    ``overview.png`` has the first 64 classes at their highest SNR; ``cells.png`` how many frames each cell has;
    ``snr.png`` the measured SNRs, where any could be measured; then a file a class with frames,
    ``class-NN-NAME.png``, NAME being what a file system can take of the class's name. The same set gives the same
    pictures. Progress counts files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    present = np.flatnonzero(inspection.counts.sum(axis=1))
    pictures: list[tuple[Path, Callable[[], Figure]]] = [(folder / "cells.png", lambda: frames_per_cell(inspection))]
    if np.isfinite(inspection.measured_snr.measured_db).any():
        pictures.append((folder / "snr.png", lambda: measured_snrs(inspection)))
    total = present.size + len(pictures) + bool(present.size)
    written: list[Path] = []

    def save(figure: Figure, path: Path) -> None:
        # Without pyplot: no global state, and no window system is looked for.
        FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})  # type: ignore[no-untyped-call]
        written.append(path)
        progress(len(written), total, path.name)

    sps = _samples_per_symbol(dataset, inspection)
    if present.size:
        save(overview(dataset, inspection, sps), folder / "overview.png")
    for path, draw in pictures:
        save(draw(), path)
    for label in present:
        save(class_figure(dataset, inspection, int(label), sps), folder / class_file_name(dataset.classes, int(label)))
    return written


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
    symbols = _symbols(dataset.classes[label], snrs[0], frames, samples_per_symbol)
    widths = (1, 1.2, 1.4) if symbols is None else (1, 1, 1.2, 1.4)
    figure = Figure(figsize=(3.6 * sum(widths), 4.3), dpi=DOTS_PER_INCH, layout="constrained")
    plane, *constellation, spectrum, time = figure.subplots(1, len(widths), width_ratios=widths)
    figure.suptitle(f"{name} at {_db(snrs[0])}", parse_math=False)
    if len(frames) == 0:
        for axes in (plane, spectrum, time):
            _say(axes, "every frame is silent\nor not finite")
        return figure
    draw_plane(plane, frames)
    plane.set(xlabel="I, in RMS of the frame", ylabel="Q, in RMS of the frame")
    plane.set_title(f"all samples of {_frame_count(len(frames))}; line: frame 1", fontsize=9)
    if symbols is not None:
        draw_symbols(constellation[0], symbols)
        constellation[0].set(xlabel="I, in RMS of the symbols", ylabel="Q, in RMS of the symbols")
        constellation[0].set_title(
            f"{symbols.size} symbols, received as {name}:\n{samples_per_symbol:.3g} samples each, phase blind",
            fontsize=9, parse_math=False,
        )  # fmt: skip
    others = [(snr, _frames(dataset, label, snr)) for snr in snrs[1:]]
    draw_spectra(spectrum, [(snrs[0], frames), *others], dataset.sample_rate_hz)
    spectrum.set_title(f"by SNR label: mean of up to {FRAMES_DRAWN} frames, power 1 each", fontsize=9)
    draw_time(time, frames[0], dataset.sample_rate_hz)
    shown = min(SAMPLES_DRAWN, dataset.length)
    part = "frame 1" if shown == dataset.length else f"frame 1, the first {shown} of {dataset.length} samples"
    time.set_title(part, fontsize=9)
    return figure


def overview(dataset: Dataset, inspection: Inspection, samples_per_symbol: float | None) -> Figure:
    """The first 64 classes that have frames, each at its highest SNR: I/Q plane and averaged spectrum, small.

    The plane shows symbols where :func:`recover_symbols` is meant for the class, and else samples.
    """
    present = np.flatnonzero(inspection.counts.sum(axis=1))
    drawn = present[:OVERVIEW_CLASSES]
    columns = min(OVERVIEW_COLUMNS, drawn.size)
    rows = -(-drawn.size // columns)
    figure = Figure(figsize=(3.9 * columns, 2.05 * rows + 0.8), dpi=DOTS_PER_INCH, layout="constrained")
    unit = "kHz" if dataset.sample_rate_hz else "cycles a sample"
    more = f"; the first {drawn.size} of {present.size} classes" if drawn.size < present.size else ""
    figure.suptitle(f"I/Q plane, and mean spectrum in dB over {unit}, at the highest SNR{more}")
    grid = figure.subfigures(rows, columns, squeeze=False)
    for cell, label in zip(grid.flat, drawn, strict=False):
        snr = _snrs_of(inspection, int(label))[0]
        frames = _frames(dataset, int(label), snr)
        cell.suptitle(f"{readable(dataset.classes[label])}, {_db(snr)}", fontsize=9, parse_math=False)
        plane, spectrum = cell.subplots(1, 2, width_ratios=(1, 1.15))
        if len(frames) == 0:
            for axes in (plane, spectrum):
                _say(axes, "silent or\nnot finite")
            continue
        symbols = _symbols(dataset.classes[label], snr, frames, samples_per_symbol)
        if symbols is None:
            draw_plane(plane, frames, trajectory=False)
        else:
            draw_symbols(plane, symbols)
        plane.set(xticks=[], yticks=[])
        plane.set_xlabel("samples" if symbols is None else "symbols", fontsize=8)
        draw_spectra(spectrum, [(snr, frames)], dataset.sample_rate_hz)
        spectrum.set(xlabel="", ylabel="")
        spectrum.tick_params(labelsize=7)
        spectrum.get_legend().remove()
    return figure


def frames_per_cell(inspection: Inspection) -> Figure:
    """How many frames each class has at each SNR."""
    counts = inspection.counts
    rows, columns = counts.shape
    size = (max(5.0, min(2.5 + 0.42 * columns, 16.0)), max(2.6, min(1.6 + 0.27 * rows, 40.0)))
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{inspection.frames:,} frames by class and SNR", fontsize=10)
    if counts.size == 0:
        _say(axes, "no frames")
        return figure
    image = axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, counts.max()), aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="frames")
    if counts.size <= COUNTED_CELLS and columns <= 32:
        for row, column in np.ndindex(rows, columns):
            count = int(counts[row, column])
            colour = "w" if count > 0.55 * counts.max() else "k"
            axes.text(column, row, _short(count), ha="center", va="center", fontsize=6.5, color=colour)
    _class_ticks(axes, inspection.classes)
    every = -(-columns // 32)
    axes.set_xticks(range(0, columns, every), [_db(snr, "") for snr in inspection.snr_db[::every]], fontsize=8)
    axes.set_xlabel("SNR label in dB")
    return figure


def measured_snrs(inspection: Inspection) -> Figure:
    """Measured SNRs against the labels, a line a class, over the line where both are the same."""
    snr = inspection.measured_snr
    lines = [label for label in range(len(inspection.classes)) if np.isfinite(snr.measured_db[label]).any()]
    legend_columns = 1 + (len(lines) - 1) // 26
    figure = Figure(figsize=(6.6 + 1.6 * min(legend_columns, 4), 5.2), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    ends = [snr.labels_db.min() - 1, snr.labels_db.max() + 1]
    axes.axvspan(*np.clip(JUDGED_LABELS_DB, *ends), color="0.95", linewidth=0)
    axes.plot(ends, ends, color="0.45", linewidth=1, linestyle="--", label="measured = label")
    for number, label in enumerate(lines):
        axes.plot(
            snr.labels_db, snr.measured_db[label], marker="osv^Dx"[number // 10 % 6], markersize=3.5, linewidth=1,
            color=f"C{number % 10}", label=readable(inspection.classes[label]),
        )  # fmt: skip
    axes.set(xlabel="SNR label in dB", ylabel="measured SNR in dB")
    axes.set_title("where a floor of noise can be seen beside the signal; grey: labels that are compared", fontsize=9)
    axes.grid(alpha=0.25)
    legend: Any = figure.legend(loc="outside right upper", frameon=False, fontsize=8, ncols=min(legend_columns, 4))
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def draw_plane(axes: Axes, frames: NDArray[np.float32], *, trajectory: bool = True) -> None:
    """Density of all samples of frames (n, 2, length) in the I/Q plane, each frame at RMS 1; the way of the first one.

    Samples as they are: oversampled, each frame with its own carrier phase and timing, and so with transitions between
    symbols, and rings where a synchronised receiver would show points.
    """
    scaled = _unit_rms(frames)
    limits = (-PLANE_LIMIT, PLANE_LIMIT)
    density, _, _ = np.histogram2d(scaled[:, 1].ravel(), scaled[:, 0].ravel(), bins=PLANE_BINS, range=(limits, limits))
    # The square root: rare transitions stay visible beside a carrier that stands still.
    axes.imshow(np.sqrt(density), cmap="Blues", origin="lower", extent=(*limits, *limits), interpolation="nearest")
    if trajectory:
        path = scaled[0, :, :TRAJECTORY_SAMPLES]
        axes.plot(path[0], path[1], color=COLOURS["Q"], linewidth=0.7, marker=".", markersize=2.2)
    axes.axhline(0, color="0.6", linewidth=0.5)
    axes.axvline(0, color="0.6", linewidth=0.5)
    axes.set(xlim=limits, ylim=limits, aspect="equal")


def draw_symbols(axes: Axes, symbols: NDArray[np.complex128]) -> None:
    """Dots in the I/Q plane."""
    size = float(np.clip(4000 / symbols.size, 0.6, 5))
    axes.scatter(symbols.real, symbols.imag, s=size, color=COLOURS["I"], alpha=0.5, linewidths=0)
    axes.axhline(0, color="0.6", linewidth=0.5)
    axes.axvline(0, color="0.6", linewidth=0.5)
    axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")


def draw_spectra(axes: Axes, by_snr: Sequence[tuple[float, NDArray[np.float32]]], sample_rate_hz: float | None) -> None:
    """Averaged spectra, one a SNR, in dB relative to white noise of the frames' power."""
    lowest = 0.0
    shades = ("#08306b", "#2879b9", "#E69F00", "#7f7f7f")
    for (snr, frames), colour in zip(by_snr, shades, strict=False):
        if len(frames) == 0:
            continue
        power = frame_spectra(frames, most_bins=256).mean(axis=0)
        density_db = 10 * np.log10(np.maximum(power, 1e-12))
        # Both ends of the band are the same frequency: drawn at both, so that no side looks cut off.
        frequency = np.arange(-(power.size // 2), power.size // 2 + 1) / power.size
        x = frequency * (sample_rate_hz / 1e3 if sample_rate_hz else 1.0)
        axes.plot(x, density_db[np.arange(x.size) % power.size], color=colour, linewidth=1, label=_db(snr))
        lowest = min(lowest, float(density_db.min()))
    # Room above for the legend, whatever the spectrum's shape.
    bottom, top = max(lowest, -60.0) - 3, axes.get_ylim()[1]
    axes.set_ylim(bottom, top + 0.12 * (top - bottom))
    axes.margins(x=0)
    axes.set_xlabel("frequency in kHz" if sample_rate_hz else "frequency in cycles a sample")
    axes.set_ylabel("density in dB (white noise: 0)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=4, columnspacing=1.2, handlelength=1.3)


def draw_time(axes: Axes, frame: NDArray[np.float32], sample_rate_hz: float | None) -> None:
    """I and Q of one frame (2, length) over time, as the file has them: its first 256 samples."""
    shown = frame[:, :SAMPLES_DRAWN]
    times = np.arange(shown.shape[1]) * (1e3 / sample_rate_hz if sample_rate_hz else 1.0)
    for name, values in zip(COLOURS, shown, strict=True):
        axes.plot(times, values, color=COLOURS[name], linewidth=1, marker=".", markersize=3, label=name)
    largest = float(np.abs(shown).max()) or 1.0
    axes.set(ylim=(-1.25 * largest, 1.45 * largest), ylabel="amplitude, as in the file")
    axes.set_xlabel("time in ms" if sample_rate_hz else "time in samples")
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)


def readable(name: str, limit: int = NAME_LIMIT) -> str:
    """Write a class's name with the characters that the pictures' font has, at most ``limit`` of them."""
    known = _characters()
    text = "".join(
        letter if letter.isprintable() and ord(letter) in known else f"<{ord(letter):04X}>" for letter in name
    )
    return text if len(text) <= limit else f"{text[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


@cache
def _characters() -> frozenset[int]:
    path = font_manager.findfont(FontProperties())
    return frozenset(font_manager.get_font(path).get_charmap())


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


def _frames(dataset: Dataset, label: int, snr_db: float) -> NDArray[np.float32]:
    members = np.flatnonzero((dataset.labels == label) & (dataset.snr_db == np.float32(snr_db)))
    return usable_frames(dataset, members, FRAMES_DRAWN)


def _symbols(
    name: str, snr_db: float, frames: NDArray[np.float32], samples_per_symbol: float | None
) -> NDArray[np.complex128] | None:
    power = phase_power(name)
    if power is None or samples_per_symbol is None or snr_db < SYMBOLS_FROM_DB or len(frames) == 0:
        return None
    if frames.shape[2] < (2 * EDGE_SYMBOLS + 8) * samples_per_symbol:
        return None
    symbols = recover_symbols(frames[:FRAMES_SYNCHRONISED], samples_per_symbol, power)
    if re.search("ASK|OOK", name.upper()):
        # Of the two phases left over, the one with the carrier to the right; of +-1 and +-3 either will do.
        symbols *= np.where(symbols.real.sum(axis=1, keepdims=True) < 0, -1, 1)
    return symbols.ravel()


def phase_power(name: str) -> int | None:
    """Say to what power symbols of a modulation are raised so that their phase shows, by its name; None for others."""
    found = re.fullmatch(r"(\d*)[-_ ]?(BPSK|QPSK|PSK|QAM|PAM|ASK|OOK)[-_ ]?(\d*)", name.upper())
    if found is None:
        return None
    before, kind, after = found.groups()
    if kind == "PSK":
        return {"2": 2, "4": 4, "8": 8}.get(before or after)
    if kind == "QAM":
        # Crosses, such as 32QAM, hardly show their phase in the fourth power.
        return 4 if (before or after) in ("4", "16", "64", "256", "1024") else None
    return 4 if kind == "QPSK" else 2


def _samples_per_symbol(dataset: Dataset, inspection: Inspection) -> float | None:
    """Find how many samples a symbol has in this set, or None.

    The squared magnitude of linear modulations has a line at the symbol rate (M. Oerder, H. Meyr, IEEE Trans. Commun. 36,
    1988); it must stand out by 1 dB from both sides in the median of the classes that are named as such.
    """
    labels = [
        label for label, name in enumerate(dataset.classes) if phase_power(name) and inspection.counts[label].any()
    ]
    spectra = []
    padded = 8 * dataset.length
    for label in labels:
        snr = _snrs_of(inspection, label)[0]
        frames = _frames(dataset, label, snr)
        if snr < SYMBOLS_FROM_DB or len(frames) == 0:
            continue
        power = (_unit_rms(frames) ** 2).sum(axis=1)
        power -= power.mean(axis=1, keepdims=True)
        lines = np.fft.rfft(power * np.hanning(dataset.length), padded, axis=1)
        spectra.append(10 * np.log10(np.mean(np.abs(lines) ** 2, axis=0) + 1e-12))
    # Two and a half times the resolution of a frame, aside.
    low, high = (int(padded / samples) for samples in SAMPLES_A_SYMBOL[::-1])
    aside = 20
    if not spectra or low <= aside:
        return None
    levels = np.array(spectra)
    line = np.median(
        levels[:, low:high] - np.maximum(levels[:, low - aside : high - aside], levels[:, low + aside : high + aside]),
        axis=0,
    )
    best = int(line.argmax())
    if line[best] < 1:
        return None
    samples = padded / (low + best)
    # A frame shows the rate to a few percent; most sets have a whole number of samples a symbol.
    whole = round(samples)
    return float(whole) if abs(samples / whole - 1) < 0.03 else samples


def recover_symbols(frames: NDArray[np.float32], samples_per_symbol: float, power: int) -> NDArray[np.complex128]:
    """Receive linear modulations blindly: complex symbols (n, m), mean power 1 a frame, without those at its edges.

    A root-raised-cosine filter of roll-off 0.35; timing after Oerder and Meyr; carrier phase and offset from the
    ``power``-th power of the symbols, and so up to a turn by 1/``power``. Echoes are not equalised. A picture, no more.
    """
    scaled = _unit_rms(frames)
    received = scaled[:, 0] + 1j * scaled[:, 1]
    length = received.shape[1]
    taps = _root_raised_cosine(samples_per_symbol)
    size = length + taps.size
    filtered = np.fft.ifft(np.fft.fft(received, size, axis=1) * np.fft.fft(taps, size), axis=1)
    filtered = filtered[:, taps.size // 2 : taps.size // 2 + length]
    # Beside its mirror image, so that both ends meet: interpolation by zeros in the spectrum takes it for periodic.
    spectrum = np.fft.fft(np.concatenate([filtered, filtered[:, ::-1]], axis=1), axis=1)
    fine = np.zeros((len(frames), 2 * length * UPSAMPLING), dtype=np.complex128)
    fine[:, :length], fine[:, -length:] = spectrum[:, :length], spectrum[:, length:]
    fine = np.fft.ifft(fine, axis=1)
    turn = np.exp(-2j * np.pi * np.arange(length) / samples_per_symbol)
    timing = (-np.angle((np.abs(filtered) ** 2) @ turn) / (2 * np.pi)) % 1
    count = int(length / samples_per_symbol) - 2 * EDGE_SYMBOLS
    instants = (timing[:, None] + EDGE_SYMBOLS + np.arange(count)) * samples_per_symbol
    symbols = np.take_along_axis(fine, np.rint(instants * UPSAMPLING).astype(np.int64), axis=1)
    symbols /= np.sqrt(np.mean(np.abs(symbols) ** 2, axis=1, keepdims=True))
    # The magnitude counts squared, not to the power: a corner of 64QAM would outvote all the others.
    lines = np.fft.fft(np.abs(symbols) ** 2 * np.exp(1j * power * np.angle(symbols)), 16 * count, axis=1)
    offsets = np.fft.fftfreq(16 * count)
    lines[:, np.abs(offsets) > power * CARRIER_OFFSET_LIMIT] = 0
    best = np.abs(lines).argmax(axis=1)
    phase = np.angle(lines[np.arange(len(frames)), best])[:, None] + 2 * np.pi * offsets[best][:, None] * np.arange(
        count
    )
    # The fourth power of square constellations is negative: their sides then lie along the axes.
    phase += np.pi if power == 4 else 0.0
    return np.asarray(symbols * np.exp(-1j * phase / power), dtype=np.complex128)


def _root_raised_cosine(samples_per_symbol: float) -> NDArray[np.float64]:
    reach = int(FILTER_SYMBOLS * samples_per_symbol)
    # Moved off the pulse's removable poles, at 0 and 1 / (4 roll-off), by less than shows.
    t = np.arange(-reach, reach + 1) / samples_per_symbol + 1e-6
    numerator = np.sin(np.pi * t * (1 - ROLL_OFF)) + 4 * ROLL_OFF * t * np.cos(np.pi * t * (1 + ROLL_OFF))
    pulse: NDArray[np.float64] = numerator / (np.pi * t * (1 - (4 * ROLL_OFF * t) ** 2))
    return pulse


def _unit_rms(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    scaled = frames / np.abs(frames).max(axis=(1, 2), keepdims=True).astype(np.float64)
    scaled /= np.sqrt(2 * np.mean(scaled**2, axis=(1, 2), keepdims=True))
    return np.asarray(scaled, dtype=np.float64)


def _class_ticks(axes: Axes, classes: Sequence[str]) -> None:
    every = -(-len(classes) // 140)
    names = [readable(name) for name in classes[::every]]
    axes.set_yticks(range(0, len(classes), every), names, fontsize=8, parse_math=False)


def _db(snr_db: float, unit: str = " dB") -> str:
    # With the minus sign that matplotlib's axes have.
    return f"{snr_db:g}{unit}".replace("-", "\N{MINUS SIGN}")


def _frame_count(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _say(axes: Axes, text: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, fontsize=9, color="0.35")
