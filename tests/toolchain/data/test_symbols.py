from __future__ import annotations

import numpy as np
import pytest

from toolchain.data.generator import PRESETS, generate
from toolchain.data.symbols import find_samples_per_symbol, phase_power, received_symbols, recover_symbols, unit_rms


@pytest.mark.parametrize(
    ("name", "power"),
    [("BPSK", 2), ("QPSK", 4), ("8PSK", 8), ("PSK-8", 8), ("QAM16", 4), ("64QAM", 4), ("PAM4", 2), ("OOK", 2)]
    + [(name, None) for name in ("32QAM", "16PSK", "OQPSK", "GMSK", "16APSK", "AM-DSB", "CPFSK", "QAM", "PSK")],
)
def test_power_that_shows_the_phase(name, power):
    assert phase_power(name) == power


@pytest.mark.parametrize(("name", "points"), [("BPSK", 2), ("QPSK", 4), ("8PSK", 8)])
def test_symbols_of_generated_frames_come_back(name, points):
    preset = PRESETS["rml2016a"]
    made = generate("rml2016a", frames_per_cell=20, snr_db=[18], seed=4)
    frames = made.iq[made.label == preset.classes.index(name)]
    symbols = recover_symbols(frames, preset.samples_per_symbol, points)
    assert symbols.shape == (20, 12)  # 16 symbols a frame, less 2 at either end
    # To the first power of the turn between points: all together, to within echoes and noise.
    turned = symbols**points
    together = np.abs(np.mean(turned / np.abs(turned)))
    assert together > 0.8
    assert np.median(np.abs(np.abs(symbols) - 1)) < 0.15


@pytest.mark.parametrize("preset", ["sig2019", "rml2018"])
def test_symbol_rate_of_generated_sets_is_found(preset):
    made = generate(preset, frames_per_cell=10, snr_db=[18], seed=6)
    linear = [label for label, name in enumerate(PRESETS[preset].classes) if phase_power(name)]
    assert (
        find_samples_per_symbol(made.iq[made.label == label] for label in linear) == PRESETS[preset].samples_per_symbol
    )


@pytest.mark.parametrize(("groups", "frames", "length"), [(6, 3, 128), (1, 20, 128), (6, 20, 512), (1, 20, 5000)])
def test_noise_has_no_symbol_rate(groups, frames, length):
    drawn = np.random.default_rng(1).standard_normal((groups, frames, 2, length)).astype(np.float32)
    assert find_samples_per_symbol(drawn) is None


def test_no_frames_and_short_frames_have_no_symbol_rate():
    assert find_samples_per_symbol([]) is None
    assert find_samples_per_symbol([np.ones((3, 2, 1), dtype=np.float32)]) is None


def test_frames_silent_but_for_an_edge_are_received():
    frames = np.zeros((2, 2, 6000), dtype=np.float32)
    frames[:, :, -1] = 1
    assert not unit_rms(frames[:, :, :10]).any()
    assert np.isfinite(received_symbols("QPSK", 18.0, frames, 8.0)).all()


def test_symbols_are_received_only_where_they_can_be():
    made = generate("sig2019", frames_per_cell=3, snr_db=[18], seed=4)
    frames = made.iq[made.label == 0]
    assert received_symbols("BPSK", 18.0, frames, 8.0).shape == (3 * 60,)
    assert received_symbols("GMSK", 18.0, frames, 8.0) is None
    assert received_symbols("BPSK", 6.0, frames, 8.0) is None
    assert received_symbols("BPSK", 18.0, frames, None) is None
    assert received_symbols("BPSK", 18.0, frames[:0], 8.0) is None
    assert received_symbols("BPSK", 18.0, frames[:, :, :95], 8.0) is None  # 12 symbols have 96 samples
