from __future__ import annotations

import numpy as np
import pytest

from deploy.frames.dataset import Dataset, from_memory
from toolchain.data.frame_measures import measure_frames

TIME = np.arange(512)


def clipped(*signals) -> list[bool]:
    """What is said of complex signals, a frame each."""
    frames = np.stack([[signal.real, signal.imag] for signal in signals]).astype(np.float32)
    dataset = Dataset(
        source="x", format="test", classes=("a",), labels=np.zeros(len(frames), "i8"), snr_db=np.zeros(len(frames)),
        length=frames.shape[2], sample_rate_hz=None, read=from_memory(frames),
    )  # fmt: skip
    return measure_frames(dataset).clipped.tolist()


def tone(cycles, turn=0.0) -> np.ndarray:
    return np.exp(2j * np.pi * (cycles * TIME + turn))


def limited(signal, limit) -> np.ndarray:
    return signal.real.clip(-limit, limit) + 1j * signal.imag.clip(-limit, limit)


def noise(seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((512, 2)) @ [1, 1j]


def oversampled(seed=0, samples=8) -> np.ndarray:
    return np.convolve(noise(seed), np.hanning(2 * samples), mode="same")


def pulses(levels, samples=8) -> np.ndarray:
    """Rectangular pulses of random symbols."""
    return np.repeat(np.random.default_rng(0).choice(levels, 512 // samples), samples)


@pytest.mark.parametrize("cycles", [0.1, 0.25, 1 / 40, 0.01, 0.125, 1 / 512])
@pytest.mark.parametrize("turn", [0, 0.5 / 40, 0.1, 0.125])
def test_tones_are_not_clipped(cycles, turn):
    carrier = tone(cycles, turn)
    # The second does not have a constant envelope, the third is as 8-bit converters give it.
    assert clipped(carrier, carrier.real + 0j, np.rint(127 * carrier)) == [False] * 3


def test_pulses_without_noise_are_not_clipped():
    real = [-3, -1, 1, 3]
    square = np.add.outer(real, 1j * np.array(real)).ravel()
    sets = ([-1, 1], [1 + 1j, 1 - 1j, -1 + 1j, -1 - 1j], [0, 1], real, square, square * np.exp(0.3j))
    assert clipped(*(pulses(np.array(levels)) for levels in sets)) == [False] * len(sets)
    assert clipped(np.exp(1j * np.cumsum(pulses([-0.1, 0.1])))) == [False]


def test_noise_and_shaped_signals_are_not_clipped():
    assert clipped(noise(), oversampled(), np.rint(20 * oversampled())) == [False] * 3


@pytest.mark.parametrize("bits", [None, 8, 12])
def test_cut_crests_are_clipped(bits):
    """Of noise, of an oversampled signal, of one in I alone, of a tone; the limit at 1 RMS, 0.8 of the tone's amplitude."""
    shaped = oversampled()
    signals = [noise(), shaped, shaped.real + 0j, 1.3 * tone(0.013)]
    cut = [limited(signal, np.sqrt(np.mean(np.abs(signal) ** 2))) for signal in signals]
    if bits:
        cut = [np.rint(signal / np.abs(signal.real).max() * (2 ** (bits - 1) - 1)) for signal in cut]
    assert clipped(*cut[:3]) == [True] * 3
    assert clipped(limited(tone(0.013), 0.8)) == [True]
