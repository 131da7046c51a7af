"""The SNR as the frames show it, without their labels: a floor of noise beside the signal, in an averaged spectrum.

Signals are oversampled, so that part of the sampled band holds nothing but noise, and white noise has the same density
there as under the signal. Each frame is brought to power 1 first, so that any scaling of the frames cancels. What is
measured is signal power over noise power in the whole sampled band, which is how RML2016.10a and this project's
generator count; Es/N0 is higher by 10 log10(samples a symbol).

It can be told where the signal leaves a quarter of the band free, and from about -10 to 25 dB. A signal that fills the
band (wide FM) or whose skirts stay above the noise has no flat floor: nothing is said then, rather than something wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent

# 128 bins: a speech channel is still one bin wide at 200 kHz, and a frame of 1024 samples gives 15 spectra.
SPECTRUM_BINS = 128
FEWEST_BINS = 32
# Of a cell, evenly spread. A bin's relative error is 1 / sqrt(frames).
MOST_FRAMES = 128
FEWEST_FRAMES = 8
# A floor is known no better than this from bin to bin, however much is averaged: filters are not perfectly flat.
LEAST_BIN_ERROR = 0.1
# Three and a half errors: of 128 bins of noise one in thirty times is beyond.
EXCISION_ERRORS = 3.5
FLATNESS_ERRORS = 1.35
FEWEST_FLOOR_SHARE = 0.25
HIGHEST_SNR_DB = 25.0
# A signal is seen where its power is this many standard errors above 0.
SIGNIFICANCE = 5.0
# Labels in this range are compared with what is measured.
JUDGED_LABELS_DB = (-10.0, 20.0)
WRONG_BY_DB = 3.0
# Rayleigh fading alone spreads the frames of a cell by 13 dB (10th to 90th of 100).
SPREAD_LIMIT_DB = 18.0
# Nothing is judged on fewer. Of 1,824 generated classes with right labels, 10 to 60 frames a cell, the median offset was
# 0.8 dB at most, the correlation with the label 0.99 at least.
FEWEST_CELLS = 3
# Where this share of the classes is wrong, the fault is the set's.
FAULT_OF_SET = 0.75
CLASSES_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredSnr:
    """What was measured in each cell, and how far its frames lie apart.

    ``labels_db`` is float64 (snrs,), ascending. ``measured_db`` and ``spread_db`` are float64 (classes, snrs), NaN where
    nothing can be told; the spread is that of single frames, from the 10th to the 90th of a hundred.
    """

    labels_db: NDArray[np.float64]
    measured_db: NDArray[np.float64]
    spread_db: NDArray[np.float64]


def frame_spectra(frames: NDArray[np.float32], most_bins: int = SPECTRUM_BINS) -> NDArray[np.float64]:
    """Give each frame's power spectrum, (n, bins), from the lowest frequency up, 0 in the middle.

    ``frames`` is (n, 2, length), finite and not silent. White noise of a frame's power would be 1 in every bin. Hann
    windows of ``bins`` samples (a power of 2, at most ``most_bins`` and the length), half overlapping, are averaged:
    P. Welch, IEEE Trans. Audio Electroacoust. 15 (1967).
    """
    length = frames.shape[2]
    bins = 1 << min(length.bit_length() - 1, most_bins.bit_length() - 1)
    # float64: squares of frames in millionths, or in integers, keep their precision.
    signal = frames[:, 0].astype(np.float64) + 1j * frames[:, 1]
    # By the largest value first: squares of very small or large numbers would leave float64's range.
    signal /= np.abs(signal).max(axis=1, keepdims=True)
    signal /= np.sqrt(np.mean(np.abs(signal) ** 2, axis=1, keepdims=True))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(bins) + 0.5) / bins)
    starts = range(0, length - bins + 1, max(1, bins // 2))
    spectra = np.zeros((len(frames), bins))
    for start in starts:
        spectra += np.abs(np.fft.fft(signal[:, start : start + bins] * window, axis=1)) ** 2
    spectra /= np.sum(window**2) * len(starts)
    shifted: NDArray[np.float64] = np.fft.fftshift(spectra, axes=1)
    return shifted


def noise_floor(spectrum: NDArray[np.float64], bin_error: float) -> NDArray[np.bool_] | None:
    """Find the bins of a spectrum (bins,) that hold noise alone, or None where there is no flat floor.

    ``bin_error`` is the relative standard error of a bin. From the lowest bins up, a bin is added as long as it is no
    further above their mean than noise would be; what was found must then be as even as noise is. Source: forward
    consecutive mean excision, J. Vartiainen et al., IEEE VTC-Spring 2005.
    """
    error = max(bin_error, LEAST_BIN_ERROR)
    ascending = np.sort(spectrum)
    means = np.cumsum(ascending) / np.arange(1, ascending.size + 1)
    first = max(2, ascending.size // 10)
    above = np.flatnonzero(ascending[first:] > (1 + EXCISION_ERRORS * error) * means[first - 1 : -1])
    count = first + int(above[0]) if above.size else ascending.size
    if count < FEWEST_FLOOR_SHARE * spectrum.size:
        return None
    if ascending[:count].std() > FLATNESS_ERRORS * error * means[count - 1]:
        return None
    floor: NDArray[np.bool_] = spectrum <= ascending[count - 1]
    return floor


def estimate_snr_db(frames: NDArray[np.float32]) -> tuple[float, float]:
    """Measure the SNR of frames (n, 2, length) that share one, and the spread of single frames, both in dB.

    Both are NaN where nothing can be told: too few or too short frames, no flat floor, no signal above it, or too
    little noise. Frames that are silent or not finite must be left out before.
    """
    nothing = (np.nan, np.nan)
    if len(frames) < FEWEST_FRAMES or frames.shape[2] < FEWEST_BINS:
        return nothing
    spectra = frame_spectra(frames)
    bins = spectra.shape[1]
    windows = max(1, 2 * frames.shape[2] // bins - 1)
    spectrum = spectra.mean(axis=0)
    floor = noise_floor(spectrum, 1 / np.sqrt(len(frames) * windows))
    if floor is None:
        return nothing
    noise = float(spectrum[floor].mean())
    # A frame's power is 1: signal and noise together. Taken from the samples, not from the spectrum, for the window
    # weighs a signal that swells or fades within the frame otherwise than the noise.
    noise_error = noise / np.sqrt(len(frames) * windows * floor.sum() / 2)
    if 1 - noise < SIGNIFICANCE * noise_error or noise <= 0:
        return nothing
    snr_db = 10 * np.log10((1 - noise) / noise)
    if snr_db > HIGHEST_SNR_DB:
        return nothing
    of_frames = np.clip(spectra[:, floor].mean(axis=1), 1e-9, None)
    # Below -10 dB a single frame shows only that there is hardly any signal.
    frames_db = 10 * np.log10(np.clip((1 - of_frames) / of_frames, 0.1, None))
    low, high = np.quantile(frames_db, (0.1, 0.9))
    return float(snr_db), float(high - low)


def measure_snr(dataset: Dataset, *, progress: Progress = silent) -> MeasuredSnr:
    """Measure every cell of a set on at most 128 of its frames, evenly spread. Progress counts cells."""
    labels_db, column = np.unique(dataset.snr_db, return_inverse=True)
    measured = np.full((len(dataset.classes), labels_db.size), np.nan)
    spread = measured.copy()
    cell = dataset.labels * labels_db.size + column.reshape(-1)
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    for number, members in enumerate(np.split(order, starts[1:]) if order.size else []):
        row, snr = divmod(int(cell[members[0]]), labels_db.size)
        if members.size >= FEWEST_FRAMES:
            frames = usable_frames(dataset, members, MOST_FRAMES)
            measured[row, snr], spread[row, snr] = estimate_snr_db(frames)
        progress(number + 1, starts.size, "measuring SNRs")
    return MeasuredSnr(labels_db=labels_db.astype(np.float64), measured_db=measured, spread_db=spread)


def usable_frames(dataset: Dataset, members: NDArray[np.int64], most: int) -> NDArray[np.float32]:
    """Read at most ``most`` of the frames at ``members``, evenly spread, less those that are silent or not finite."""
    taken = members[np.unique(np.linspace(0, members.size - 1, min(most, members.size)).astype(np.int64))]
    frames = dataset.frames(taken)
    usable: NDArray[np.float32] = frames[np.isfinite(frames).all(axis=(1, 2)) & frames.any(axis=(1, 2))]
    return usable


def judged_cells(snr: MeasuredSnr) -> NDArray[np.bool_]:
    """Mark the cells (classes, snrs) whose labels are compared with what is measured: in range, and measured."""
    low_db, high_db = JUDGED_LABELS_DB
    judged: NDArray[np.bool_] = np.isfinite(snr.measured_db) & (snr.labels_db >= low_db) & (snr.labels_db <= high_db)
    return judged


def judge_snr_labels(snr: MeasuredSnr, classes: Sequence[str]) -> str | None:
    """Say in a sentence or two that the labels look wrong, or None: where they agree, or too little could be measured.

    Of the whole set, only what most measured cells have in common counts: a slope, an offset of more than 3 dB, or
    frames of one label that are further apart than fading makes them. ``classes`` with three measured cells or more are
    judged each by itself too, and named where it is they that are wrong and not the set.
    """
    judged = judged_cells(snr)
    rows, columns = np.nonzero(judged)
    if rows.size < FEWEST_CELLS:
        return None
    labels, measured, spread = snr.labels_db[columns], snr.measured_db[judged], snr.spread_db[judged]
    of_set = _fault_of_set(labels, measured, spread)
    enough = np.flatnonzero(judged.sum(axis=1) >= FEWEST_CELLS)
    of_class = {int(row): _fault_of_class(labels[rows == row], measured[rows == row]) for row in enough}
    named = [f"{classes[row]} {fault}" for row, fault in of_class.items() if fault is not None]
    if of_set is not None and (not named or len(named) >= FAULT_OF_SET * len(of_class)):
        low_db, high_db = JUDGED_LABELS_DB
        cells = f"{rows.size} cells with labels from {low_db:g} to {high_db:g} dB where a floor of noise can be seen"
        return f"SNR labels look wrong: in {cells}, {of_set}"
    if not named:
        return None
    left = len(named) - CLASSES_NAMED
    more = f"; and {left} more {'class' if left == 1 else 'classes'}" if left > 0 else ""
    one = len(named) == 1
    return (
        f"SNR labels of {len(named)} of {len(of_class)} measured classes look wrong: "
        f"{'; '.join(named[:CLASSES_NAMED])}{more}. Accuracy by SNR would compare classes at different SNRs: label "
        f"{'that class' if one else 'those classes'} as the others are, or leave {'it' if one else 'them'} out"
    )


def _fault_of_set(
    labels: NDArray[np.float64], measured: NDArray[np.float64], spread: NDArray[np.float64]
) -> str | None:
    off = measured - labels
    if labels.size >= 6 and _does_not_rise(labels, measured):
        return (
            f"the measured SNR does not rise with the label: {_ends(labels, measured)}. Are labels and frames in the "
            f"same order?"
        )
    if np.mean(spread > SPREAD_LIMIT_DB) > 0.5:
        return (
            f"frames with the same label have very different SNRs, {np.median(spread):.0f} dB apart (median of the "
            f"cells, from the 10th to the 90th of a hundred frames). Accuracy by SNR will mean little: label each frame "
            f"with its own SNR"
        )
    shift = float(np.median(off))
    if _is_shifted(off):
        hint = (
            "Labels that mean Es/N0 are higher than the SNR in the sampled band by 10 log10(samples a symbol), 9 dB at 8"
            if -16 < shift < 0
            else "Are they in dB, and of power, not of amplitude?"
        )
        return f"the measured SNR is {abs(shift):.1f} dB {'above' if shift > 0 else 'below'} the label (median). {hint}"
    if np.mean(np.abs(off) > WRONG_BY_DB) > 0.5:
        return (
            f"most labels are more than {WRONG_BY_DB:g} dB from what is measured: {_ends(labels, measured)}. Are they in "
            f"dB, and of power, not of amplitude?"
        )
    return None


def _fault_of_class(labels: NDArray[np.float64], measured: NDArray[np.float64]) -> str | None:
    off = measured - labels
    if labels.size >= 4 and _does_not_rise(labels, measured):
        return f"does not rise with the label ({_ends(labels, measured)})"
    if _is_shifted(off):
        shift = float(np.median(off))
        return f"measures {abs(shift):.1f} dB {'above' if shift > 0 else 'below'} its labels"
    if np.mean(np.abs(off) > WRONG_BY_DB) > 0.5:
        return f"is mostly more than {WRONG_BY_DB:g} dB from its labels ({_ends(labels, measured)})"
    return None


def _does_not_rise(labels: NDArray[np.float64], measured: NDArray[np.float64]) -> bool:
    if np.ptp(labels) < 6:
        return False
    return bool(np.ptp(measured) == 0 or np.corrcoef(labels, measured)[0, 1] < 0.5)


def _is_shifted(off: NDArray[np.float64]) -> bool:
    shift = np.median(off)
    return bool(abs(shift) > WRONG_BY_DB and np.mean(np.sign(off) == np.sign(shift)) >= 0.75)


def _ends(labels: NDArray[np.float64], measured: NDArray[np.float64]) -> str:
    """Name what is measured at the lowest and the highest label, medians over the classes."""
    ends = (labels.min(), labels.max())
    return " and ".join(f"{np.median(measured[labels == end]):.1f} dB at label {end:g}" for end in ends)
