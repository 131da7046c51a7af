"""Blind reception of linear modulations: the symbol rate of a set, and the symbols of its frames.

Good enough for a picture in which PSK, QAM and ASK can be told by eye; nothing is decided or equalised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Symbols are recovered from this SNR label on, of modulations whose phase the power in the table tells, for the usual
# pulses; frames of 64 times 128 symbols are plenty to look at.
SYMBOLS_FROM_DB = 8.0
FRAMES_SYNCHRONISED = 64
# Of longer frames, the beginning: a clock that is 250 ppm off moves by an eighth of a symbol in 512 of 8 samples.
SAMPLES_SYNCHRONISED = 4096
SAMPLES_A_SYMBOL = (2.2, 32.0)
# A symbol rate's line stands out by this, and beyond the highest line of noise by so many errors.
LEAST_LINE_DB = 1.0
MARGIN_ERRORS = 0.3
ROLL_OFF = 0.35
FILTER_SYMBOLS = 6
EDGE_SYMBOLS = 2
UPSAMPLING = 8
# Cycles a symbol; RML2016.10a's carriers are off by 0.02 at most.
CARRIER_OFFSET_LIMIT = 0.025


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


def find_samples_per_symbol(groups: Iterable[NDArray[np.float32]]) -> float | None:
    """Find how many samples a symbol has in groups of frames, each (n, 2, length) of one linear modulation, or None.

    The squared magnitude of linear modulations has a line at the symbol rate (M. Oerder, H. Meyr, IEEE Trans. Commun. 36,
    1988); it must stand out from both sides in the median of the groups, by 1 dB and by more
    than noise does in so few frames.
    """
    spectra = []
    padded = count = 0
    for frames in groups:
        begun = frames[:, :, :SAMPLES_SYNCHRONISED]
        length = begun.shape[2]
        padded = 8 * length
        count += len(frames)
        power = (unit_rms(begun) ** 2).sum(axis=1)
        power -= power.mean(axis=1, keepdims=True)
        lines = np.fft.rfft(power * np.hanning(length), padded, axis=1)
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
    # A mean of n exponential values scatters by 1 / sqrt(n); a median's error is a quarter more than a mean's.
    error_db = 1.25 * 10 / np.log(10) / np.sqrt(count)
    # About the highest of as many normal values as the frame resolves rates.
    highest = np.sqrt(2 * np.log((high - low) / 8)) + MARGIN_ERRORS
    if line[best] < max(LEAST_LINE_DB, highest * error_db):
        return None
    samples = padded / (low + best)
    # A frame shows the rate to a few percent; most sets have a whole number of samples a symbol.
    whole = round(samples)
    return float(whole) if abs(samples / whole - 1) < 0.03 else samples


def received_symbols(
    name: str, snr_db: float, frames: NDArray[np.float32], samples_per_symbol: float | None
) -> NDArray[np.complex128] | None:
    """Receive frames (n, 2, length) as the modulation that their class is named after: complex symbols, all in a row.

    None where that is not to be had: for other modulations, at SNR labels below 8 dB, in frames of few symbols, and where
    the samples a symbol are not known.
    """
    power = phase_power(name)
    if power is None or samples_per_symbol is None or snr_db < SYMBOLS_FROM_DB or len(frames) == 0:
        return None
    if frames.shape[2] < (2 * EDGE_SYMBOLS + 8) * samples_per_symbol:
        return None
    symbols = recover_symbols(frames[:FRAMES_SYNCHRONISED, :, :SAMPLES_SYNCHRONISED], samples_per_symbol, power)
    if re.search("ASK|OOK", name.upper()):
        # Of the two phases left over, the one with the carrier to the right; of +-1 and +-3 either will do.
        symbols *= np.where(symbols.real.sum(axis=1, keepdims=True) < 0, -1, 1)
    return symbols.ravel()


def recover_symbols(frames: NDArray[np.float32], samples_per_symbol: float, power: int) -> NDArray[np.complex128]:
    """Receive linear modulations blindly: complex symbols (n, m), mean power 1 a frame, without those at its edges.

    A root-raised-cosine filter of roll-off 0.35; timing after Oerder and Meyr; carrier phase and offset from the
    ``power``-th power of the symbols, and so up to a turn by 1/``power``. Echoes are not equalised. A picture, no more.
    """
    scaled = unit_rms(frames)
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
    level = np.sqrt(np.mean(np.abs(symbols) ** 2, axis=1, keepdims=True))
    # A frame may be silent but for its edges.
    symbols /= np.where(level > 0, level, 1)
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


def unit_rms(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Bring each frame of (n, 2, length) to RMS 1, of sqrt(I^2 + Q^2); one of zeros stays so."""
    largest = np.abs(frames).max(axis=(1, 2), keepdims=True).astype(np.float64)
    scaled = frames / np.where(largest > 0, largest, 1)
    rms = np.sqrt(2 * np.mean(scaled**2, axis=(1, 2), keepdims=True))
    return np.asarray(scaled / np.where(rms > 0, rms, 1), dtype=np.float64)


def _root_raised_cosine(samples_per_symbol: float) -> NDArray[np.float64]:
    reach = int(FILTER_SYMBOLS * samples_per_symbol)
    # Moved off the pulse's removable poles, at 0 and 1 / (4 roll-off), by less than shows.
    t = np.arange(-reach, reach + 1) / samples_per_symbol + 1e-6
    numerator = np.sin(np.pi * t * (1 - ROLL_OFF)) + 4 * ROLL_OFF * t * np.cos(np.pi * t * (1 + ROLL_OFF))
    pulse: NDArray[np.float64] = numerator / (np.pi * t * (1 - (4 * ROLL_OFF * t) ** 2))
    return pulse
