import numpy as np
import pytest

from toolchain.data.generator.constellations import CONSTELLATIONS
from toolchain.data.generator.pulses import rectangular_phase_table, root_raised_cosine, root_raised_cosine_table
from toolchain.data.generator.signals import frequency_shift_keying, linear, pulse_shaped, staggered

SAMPLES_PER_SYMBOL = 8
# Long enough for 0.1, where the pulse dies away slowest.
MATCHED_SPAN = 40


def grid_times_s(samples, seed):
    """Instants that fall on whole eighths of a symbol, whatever the timing drawn first from ``seed``; symbols of 1 s."""
    timing = np.random.default_rng(seed).random()
    return np.arange(samples)[None] / SAMPLES_PER_SYMBOL - timing


def matched(waveform, roll_off):
    """What a receiver's matched filter makes of a waveform, at eighths of a symbol."""
    half = MATCHED_SPAN * SAMPLES_PER_SYMBOL // 2
    pulse = root_raised_cosine(np.arange(-half, half + 1) / SAMPLES_PER_SYMBOL, roll_off) / SAMPLES_PER_SYMBOL
    return np.convolve(waveform, pulse, "valid")


def farthest(values, levels):
    return np.abs(values[:, None] - levels).min(axis=1).max()


@pytest.mark.parametrize("name", sorted(CONSTELLATIONS))
@pytest.mark.parametrize("roll_off", [0.1, 0.35])
def test_matched_filter_recovers_the_symbols_that_were_sent(name, roll_off):
    rng = np.random.default_rng(3)
    constellation = CONSTELLATIONS[name]
    sent = constellation[rng.integers(len(constellation), size=(1, 320))]
    table = root_raised_cosine_table((roll_off,))
    waveform = pulse_shaped(sent, np.arange(8 * 300)[None] / 8, table, np.array([0]))

    recovered = matched(waveform[0], roll_off)[::8]

    # The pulse of symbol i peaks at time i - 15 + 8; the filter's first output stands at half its length.
    first = MATCHED_SPAN // 2 + 15 - 8
    expected = sent[0, first : first + len(recovered)]
    error = np.sqrt(np.mean(np.abs(recovered - expected) ** 2))
    assert error < 0.02


@pytest.mark.parametrize("name", ["BPSK", "8ASK", "32QAM", "128APSK", "256QAM"])
def test_linear_modulations_send_every_point_of_their_constellation(name):
    points = CONSTELLATIONS[name]
    times_s = grid_times_s(8 * 12 * len(points) + 1000, seed=7)
    waveform = linear(times_s, 1.0, np.random.default_rng(7), constellation=points, roll_offs=(0.3,))
    recovered = matched(waveform[0], 0.3)[::8]
    nearest = np.argmin(np.abs(recovered[:, None] - points), axis=1)
    assert np.sqrt(np.mean(np.abs(recovered - points[nearest]) ** 2)) < 0.01
    assert len(np.unique(nearest)) == len(points)


def test_linear_modulations_have_power_one_in_the_band_of_the_widest_roll_off():
    times_s = np.tile(np.arange(1024) / 8, (200, 1))
    for constellation in ("BPSK", "64QAM"):
        points = CONSTELLATIONS[constellation]
        waveform = linear(times_s, 1.0, np.random.default_rng(0), constellation=points, roll_offs=(0.2, 0.5))
        power = np.mean(np.abs(np.fft.fft(waveform * np.blackman(1024), axis=1)) ** 2, axis=0)
        frequency = np.abs(np.fft.fftfreq(1024, 1 / 8))
        assert np.mean(np.abs(waveform) ** 2) == pytest.approx(1, abs=0.03)
        # (1 + 0.5) / 2 of the symbol rate, and some for the window.
        assert power[frequency < 0.78].sum() / power.sum() > 0.9999
        # Flat where even the widest roll-off is, (1 - 0.5) / 2; a bin is 8 / 1024 of a symbol rate wide.
        assert power[frequency < 0.24].mean() / power.sum() == pytest.approx(8 / 1024, rel=0.05)


def test_frames_begin_anywhere_in_a_symbol():
    # In BPSK, every waveform's strongest line after squaring is at the symbol rate; its phase is the timing.
    times_s = np.tile(np.arange(1024) / 8, (400, 1))
    waveform = linear(times_s, 1.0, np.random.default_rng(0), constellation=CONSTELLATIONS["BPSK"], roll_offs=(0.35,))
    line = np.exp(-2j * np.pi * np.arange(1024) / 8)
    timing = np.angle((np.abs(waveform) ** 2) @ line) / (2 * np.pi) % 1
    share, _ = np.histogram(timing, bins=4, range=(0, 1))
    assert share.min() > 60


def test_in_offset_keying_the_quadrature_changes_half_a_symbol_after_the_in_phase_part():
    points = CONSTELLATIONS["4QAM"]
    waveform = staggered(
        grid_times_s(8 * 300, seed=2), 1.0, np.random.default_rng(2), constellation=points, roll_offs=(0.3,)
    )
    recovered = matched(waveform[0], 0.3)
    levels = np.array([-1, 1]) / np.sqrt(2)
    # The grid begins half way through a symbol of the in-phase part, at the start of one of the quadrature.
    assert farthest(recovered.real[4::8], levels) < 0.03
    assert farthest(recovered.imag[0::8], levels) < 0.03
    assert farthest(recovered.real[0::8], levels) > 0.3
    assert farthest(recovered.imag[4::8], levels) > 0.3
    # So both never cross zero together, as they do in QPSK.
    together = linear(
        grid_times_s(8 * 300, seed=2), 1.0, np.random.default_rng(2), constellation=points, roll_offs=(0.3,)
    )
    assert np.abs(recovered).min() > 0.3
    assert np.abs(matched(together[0], 0.3)).min() < 0.1


@pytest.mark.parametrize("order", [2, 4, 8])
def test_frequency_shift_keying_holds_one_of_its_tones_for_a_symbol(order):
    table = rectangular_phase_table
    waveform = frequency_shift_keying(
        grid_times_s(8 * 400, seed=1),
        1.0,
        np.random.default_rng(1),
        order=order,
        modulation_index=0.5,
        phase_table=table,
    )[0]
    np.testing.assert_allclose(np.abs(waveform), 1, atol=1e-6)
    # In symbol rates; half of the modulation index for a symbol of 1, three halves for 3, ...
    frequency = np.angle(waveform[1:] * waveform[:-1].conj()) / (2 * np.pi) * 8
    tones = np.arange(1 - order, order, 2) * 0.25
    assert farthest(frequency, tones) < 1e-3
    sent = np.round((frequency / 0.25 + order - 1) / 2).astype(int)
    symbols = sent[: len(sent) // 8 * 8].reshape(-1, 8)
    assert np.all(symbols == symbols[:, :1])
    counts = np.bincount(symbols[:, 0], minlength=order)
    assert counts.min() > 0.6 * len(symbols) / order
