import numpy as np
import pytest

from toolchain.data.generator.phase import continuous_phase, phasor
from toolchain.data.generator.presets import GFSK_MODULATION_INDEX
from toolchain.data.generator.pulses import gaussian_phase_table, rectangular_phase_table


def test_continuous_phase_turns_by_the_modulation_index_a_symbol():
    symbols = np.array([[1, 1, -1, 1, 1, 1, 1]], dtype=np.float32)
    phase = continuous_phase(symbols, np.array([[0.0, 0.5, 1.0, 2.0, 3.0, 3.5]]), rectangular_phase_table(), 0.5)
    np.testing.assert_allclose(phase / (np.pi / 2), [[0, 0.5, 1, 2, 1, 1.5]], atol=1e-5)


def test_a_symbol_of_many_levels_turns_as_many_times_as_far():
    symbols = np.array([[7, -3, 1, 5]], dtype=np.float32)
    phase = continuous_phase(symbols, np.array([[0.0, 1.0, 2.0, 3.0]]), rectangular_phase_table(), 0.5)
    np.testing.assert_allclose(phase / (np.pi / 2), [[0, 7, 4, 5]], atol=1e-5)


def test_gaussian_phase_runs_on_evenly_while_symbols_do_not_change():
    symbols = np.ones((1, 30), dtype=np.float32)
    phase = continuous_phase(symbols, np.arange(8 * 20)[None] / 8, gaussian_phase_table(0.35), GFSK_MODULATION_INDEX)
    # GNU Radio's sensitivity of 0.1 radians a sample at 8 samples a symbol.
    np.testing.assert_allclose(np.diff(phase), 0.1, atol=1e-3)


def test_a_gaussian_symbol_among_others_is_90_degrees_when_it_is_over():
    def phase_after(symbols):
        drawn = np.array([symbols], dtype=np.float32)
        return continuous_phase(drawn, np.array([[8.0]]), gaussian_phase_table(0.3), 0.5)[0, 0]

    for change in (2, 3, 4):
        before = [1, -1, 1, 1, -1, 1, 1, -1, 1, -1, 1, 1, 1]
        after = list(before)
        after[change] = -after[change]
        turned = abs(phase_after(before) - phase_after(after))
        # From +90 to -90 degrees or back.
        assert turned == pytest.approx(np.pi, abs=1e-3)


def test_gaussian_keying_is_narrower_than_plain_keying_at_the_same_index():
    symbols = np.random.default_rng(0).choice([-1, 1], size=(50, 140)).astype(np.float32)
    time = np.tile(np.arange(1024) / 8, (50, 1))
    far = []
    for table in (rectangular_phase_table(), gaussian_phase_table(0.35)):
        waveform = phasor(continuous_phase(symbols, time, table, 0.5)) * np.blackman(1024)
        power = np.mean(np.abs(np.fft.fft(waveform, axis=1)) ** 2, axis=0)
        far.append(power[np.abs(np.fft.fftfreq(1024, 1 / 8)) > 1].sum() / power.sum())
    assert far[1] < far[0] / 100


def test_phasor_is_the_exponential_of_an_imaginary_number():
    phase = np.linspace(-50, 50, 999, dtype=np.float32)
    np.testing.assert_allclose(phasor(phase), np.exp(1j * phase.astype(np.float64)), atol=1e-6)
