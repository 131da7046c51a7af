import numpy as np
import pytest

from toolchain.data.pulses import (
    gaussian_phase_table,
    rectangular_phase_table,
    root_raised_cosine,
    root_raised_cosine_table,
)
from toolchain.data.signals import (
    CONSTELLATIONS,
    CPFSK_MODULATION_INDEX,
    GFSK_MODULATION_INDEX,
    TRANSMITTERS,
    continuous_phase,
    pulse_shaped,
    speech,
)

SAMPLE_RATE_HZ = 200e3
SYMBOL_PERIOD_S = 8 / SAMPLE_RATE_HZ


def transmit(name, *, frames, length, seed=0):
    times_s = np.tile(np.arange(length) / SAMPLE_RATE_HZ, (frames, 1))
    return TRANSMITTERS[name](times_s, SYMBOL_PERIOD_S, np.random.default_rng(seed))


def frequency_hz(waveform):
    """From sample to sample, the frequency that the phase moves with."""
    return np.angle(waveform[:, 1:] * waveform[:, :-1].conj()) / (2 * np.pi) * SAMPLE_RATE_HZ


def mean_spectrum(waveform):
    windowed = waveform * np.blackman(waveform.shape[1])
    power = np.mean(np.abs(np.fft.fft(windowed, axis=1)) ** 2, axis=0)
    return np.fft.fftfreq(waveform.shape[1], 1 / SAMPLE_RATE_HZ), power / power.sum()


@pytest.mark.parametrize(
    ("name", "points"), [("BPSK", 2), ("QPSK", 4), ("8PSK", 8), ("PAM4", 4), ("QAM16", 16), ("QAM64", 64)]
)
def test_constellations_have_distinct_points_around_zero_of_mean_power_one(name, points):
    constellation = CONSTELLATIONS[name]
    assert len(set(np.round(constellation, 4).tolist())) == points
    assert abs(constellation.mean()) < 1e-6
    assert np.mean(np.abs(constellation) ** 2) == pytest.approx(1)


def test_amplitude_constellations_lie_on_the_odd_numbers():
    np.testing.assert_allclose(CONSTELLATIONS["PAM4"] * np.sqrt(5), [-3, -1, 1, 3], atol=1e-6)
    rows = np.unique(np.round(CONSTELLATIONS["QAM16"].real * np.sqrt(10), 4))
    columns = np.unique(np.round(CONSTELLATIONS["QAM64"].imag * np.sqrt(42), 4))
    assert rows.tolist() == [-3, -1, 1, 3]
    assert columns.tolist() == [-7, -5, -3, -1, 1, 3, 5, 7]


@pytest.mark.parametrize("name", sorted(CONSTELLATIONS))
@pytest.mark.parametrize("roll_off", [0.2, 0.5])
def test_matched_filter_recovers_the_symbols_that_were_sent(name, roll_off):
    rng = np.random.default_rng(3)
    constellation = CONSTELLATIONS[name]
    sent = constellation[rng.integers(len(constellation), size=(1, 320))]
    table = root_raised_cosine_table((roll_off,))
    waveform = pulse_shaped(sent, np.arange(8 * 300)[None] / 8, table, np.array([0]))

    matched = root_raised_cosine(np.arange(-64, 65) / 8, roll_off) / 8
    recovered = np.convolve(waveform[0], matched, "valid")[::8]

    # The pulse of symbol i peaks at time i - 15 + 8; the filter's first output stands at time 8.
    expected = sent[0, 15 : 15 + len(recovered)]
    error = np.sqrt(np.mean(np.abs(recovered - expected) ** 2))
    assert error < 0.02


@pytest.mark.parametrize("name", sorted(CONSTELLATIONS))
def test_linear_modulations_have_power_one_in_the_band_of_the_widest_roll_off(name):
    waveform = transmit(name, frames=100, length=1024)
    frequency, power = mean_spectrum(waveform)
    assert np.mean(np.abs(waveform) ** 2) == pytest.approx(1, abs=0.03)
    # (1 + 0.5) / 2 of the symbol rate of 25 kHz, and some for the window.
    assert power[np.abs(frequency) < 19.5e3].sum() > 0.9999
    # Flat where even the widest roll-off is, (1 - 0.5) / 2 of the symbol rate; a bin is 8 / 1024 of a symbol rate wide.
    assert power[np.abs(frequency) < 6e3].mean() == pytest.approx(8 / 1024, rel=0.05)


def test_frames_begin_anywhere_in_a_symbol():
    # In BPSK, every waveform's strongest line after squaring is at the symbol rate; its phase is the timing.
    waveform = transmit("BPSK", frames=400, length=1024)
    line = np.exp(-2j * np.pi * np.arange(1024) / 8)
    timing = np.angle((np.abs(waveform) ** 2) @ line) / (2 * np.pi) % 1
    share, _ = np.histogram(timing, bins=4, range=(0, 1))
    assert share.min() > 60


def test_continuous_phase_turns_by_the_modulation_index_a_symbol():
    symbols = np.array([[1, 1, -1, 1, 1, 1, 1]], dtype=np.float32)
    phase = continuous_phase(symbols, np.array([[0.0, 0.5, 1.0, 2.0, 3.0, 3.5]]), rectangular_phase_table(), 0.5)
    np.testing.assert_allclose(phase / (np.pi / 2), [[0, 0.5, 1, 2, 1, 1.5]], atol=1e-5)


def test_gaussian_phase_runs_on_evenly_while_symbols_do_not_change():
    symbols = np.ones((1, 30), dtype=np.float32)
    phase = continuous_phase(symbols, np.arange(8 * 20)[None] / 8, gaussian_phase_table(0.35), GFSK_MODULATION_INDEX)
    # GNU Radio's sensitivity of 0.1 radians a sample at 8 samples a symbol.
    np.testing.assert_allclose(np.diff(phase), 0.1, atol=1e-3)


@pytest.mark.parametrize(("name", "index"), [("CPFSK", CPFSK_MODULATION_INDEX), ("GFSK", GFSK_MODULATION_INDEX)])
def test_frequency_shift_keying_has_a_constant_envelope_and_two_frequencies(name, index):
    waveform = transmit(name, frames=200, length=256)
    deviation_hz = index / 2 * SAMPLE_RATE_HZ / 8
    np.testing.assert_allclose(np.abs(waveform), 1, atol=1e-5)
    frequency = frequency_hz(waveform)
    # An instant is looked up to 1/2048 of a symbol, which shows in a frequency between two samples.
    assert np.abs(frequency).max() < deviation_hz * 1.01
    near_deviation = np.abs(np.abs(frequency) - deviation_hz) < 0.05 * deviation_hz
    assert np.mean(near_deviation & (frequency > 0)) > 0.15
    assert np.mean(near_deviation & (frequency < 0)) > 0.15


def test_gaussian_keying_is_narrower_than_plain_keying_at_the_same_index():
    symbols = np.random.default_rng(0).choice([-1, 1], size=(50, 140)).astype(np.float32)
    time = np.tile(np.arange(1024) / 8, (50, 1))
    far = []
    for table in (rectangular_phase_table(), gaussian_phase_table(0.35)):
        frequency, power = mean_spectrum(np.exp(1j * continuous_phase(symbols, time, table, 0.5)))
        far.append(power[np.abs(frequency) > 25e3].sum())
    assert far[1] < far[0] / 100


def test_speech_has_its_exact_integral_and_hilbert_transform():
    step_s = 1e-6
    times_s = np.tile(np.arange(4000) * step_s, (5, 1))
    sound = speech(times_s, np.random.default_rng(2))
    slope = np.gradient(sound.integral_s.astype(np.float64), step_s, axis=1)
    np.testing.assert_allclose(slope[:, 1:-1], sound.message[:, 1:-1], atol=2e-3)
    analytic = (sound.message + 1j * sound.quadrature) * np.blackman(4000)
    spectrum = np.mean(np.abs(np.fft.fft(analytic)) ** 2, axis=0)
    assert spectrum[2001:3990].sum() < 1e-6 * spectrum.sum()


def test_speech_is_never_silent_and_never_still():
    times_s = np.tile(np.arange(128) / SAMPLE_RATE_HZ, (5000, 1))
    message = speech(times_s, np.random.default_rng(4)).message
    np.testing.assert_allclose(np.abs(message).max(axis=1), 1, rtol=1e-6)
    assert np.ptp(message, axis=1).min() > 0.1


def test_double_sideband_carries_speech_on_its_carrier_without_overmodulation():
    waveform = transmit("AM-DSB", frames=2000, length=128)
    assert np.all(waveform.imag == 0)
    depth = np.abs(waveform.real - 1).max(axis=1)
    assert depth.min() >= 0.5 - 1e-6
    assert depth.max() <= 0.95 + 1e-6
    frequency, power = mean_spectrum(transmit("AM-DSB", frames=20, length=8192))
    np.testing.assert_allclose(power[1:4000], power[:-4000:-1], rtol=1e-3, atol=1e-9)
    assert power[np.abs(frequency) < 4.2e3].sum() > 0.99999
    assert 0.5 < power[np.abs(frequency) < 80].sum() < 0.98


def test_single_sideband_has_neither_carrier_nor_lower_sideband():
    frequency, power = mean_spectrum(transmit("AM-SSB", frames=20, length=8192))
    assert power[frequency < 0].sum() < 1e-6
    assert power[(frequency > 0) & (frequency < 4.2e3)].sum() > 0.99999
    assert power[np.abs(frequency) < 20].sum() < 1e-4


def test_frequency_modulation_has_a_constant_envelope_and_stays_within_broadcast_deviation():
    waveform = transmit("WBFM", frames=3000, length=128)
    np.testing.assert_allclose(np.abs(waveform), 1, atol=1e-6)
    peak_hz = np.abs(frequency_hz(waveform)).max(axis=1)
    assert peak_hz.max() <= 75e3
    assert peak_hz.min() >= 29e3
    assert np.ptp(frequency_hz(waveform), axis=1).min() > 3e3
    frequency, power = mean_spectrum(transmit("WBFM", frames=100, length=2048))
    # Carson's rule: twice the deviation and the message's bandwidth hold 98 % of the power.
    assert power[np.abs(frequency) < 79e3].sum() > 0.98
    assert power[np.abs(frequency) > 15e3].sum() > 0.3


@pytest.mark.parametrize("name", sorted(TRANSMITTERS))
def test_every_frame_is_drawn_anew_from_the_generator_passed_in(name):
    first = transmit(name, frames=3, length=64, seed=1)
    np.testing.assert_array_equal(first, transmit(name, frames=3, length=64, seed=1))
    assert not np.allclose(first, transmit(name, frames=3, length=64, seed=2))
    assert not np.allclose(first[0], first[1])
    assert first.dtype == np.complex64
