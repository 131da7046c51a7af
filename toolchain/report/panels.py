"""The panels of the frames' pictures: I/Q plane, symbols, spectra, time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from toolchain.data.snr_estimate import frame_spectra
from toolchain.data.symbols import unit_rms
from toolchain.report.drawing import in_db

# In-phase and quadrature: Okabe and Ito's blue and vermilion, apart for colour-blind readers and in grey.
COLOURS = {"I": "#0072B2", "Q": "#D55E00"}
SAMPLES_DRAWN = 256
TRAJECTORY_SAMPLES = 128
# In units of a frame's RMS: 64QAM's corners reach 1.5, filters and fading somewhat more.
PLANE_LIMIT = 2.5
PLANE_BINS = 75


def draw_plane(axes: Axes, frames: NDArray[np.float32], *, trajectory: bool = True) -> None:
    """Density of all samples of frames (n, 2, length) in the I/Q plane, each frame at RMS 1; the way of the first one.

    Samples as they are: oversampled, each frame with its own carrier phase and timing, and so with transitions between
    symbols, and rings where a synchronised receiver would show points.
    """
    scaled = unit_rms(frames)
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
        axes.plot(x, density_db[np.arange(x.size) % power.size], color=colour, linewidth=1, label=in_db(snr))
        lowest = min(lowest, float(density_db.min()))
    # Room above for the legend, whatever the spectrum's shape.
    bottom, top = max(lowest, -60.0) - 3, axes.get_ylim()[1]
    axes.set_ylim(bottom, top + 0.12 * (top - bottom))
    axes.margins(x=0)
    axes.set_xlabel("frequency in kHz" if sample_rate_hz else "frequency in cycles per sample")
    axes.set_ylabel("power density in dB\n(0: white noise of equal power)")
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
