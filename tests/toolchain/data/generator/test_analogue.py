import numpy as np
import pytest

from toolchain.data.generator.analogue import (
    double_sideband,
    double_sideband_suppressed_carrier,
    single_sideband,
    single_sideband_with_carrier,
    wideband_frequency_modulation,
)

SAMPLE_RATE_HZ = 200e3


def transmit(transmitter, *, frames, length, seed=0):
    times_s = np.tile(np.arange(length) / SAMPLE_RATE_HZ, (frames, 1))
    return transmitter(times_s, 0.0, np.random.default_rng(seed))


def mean_spectrum(waveform):
    windowed = waveform * np.blackman(waveform.shape[1])
    power = np.mean(np.abs(np.fft.fft(windowed, axis=1)) ** 2, axis=0)
    return np.fft.fftfreq(waveform.shape[1], 1 / SAMPLE_RATE_HZ), power / power.sum()


def frequency_hz(waveform):
    return np.angle(waveform[:, 1:] * waveform[:, :-1].conj()) / (2 * np.pi) * SAMPLE_RATE_HZ


def test_double_sideband_carries_speech_on_its_carrier_without_overmodulation():
    waveform = transmit(double_sideband, frames=2000, length=128)
    assert np.all(waveform.imag == 0)
    depth = np.abs(waveform.real - 1).max(axis=1)
    assert depth.min() >= 0.5 - 1e-6
    assert depth.max() <= 0.95 + 1e-6


@pytest.mark.parametrize("transmitter", [double_sideband, double_sideband_suppressed_carrier])
def test_double_sidebands_mirror_each_other_within_4_khz(transmitter):
    frequency, power = mean_spectrum(transmit(transmitter, frames=20, length=8192))
    np.testing.assert_allclose(power[1:4000], power[:-4000:-1], rtol=1e-3, atol=1e-9)
    assert power[np.abs(frequency) < 4.2e3].sum() > 0.99999


@pytest.mark.parametrize("transmitter", [single_sideband, single_sideband_with_carrier])
def test_single_sidebands_lie_above_the_carrier_within_4_khz(transmitter):
    frequency, power = mean_spectrum(transmit(transmitter, frames=20, length=8192))
    # The carrier's line is three bins of 24 Hz to either side under this window.
    assert power[frequency < -75].sum() < 1e-6
    assert power[np.abs(frequency) < 4.2e3].sum() > 0.99999
    assert power[(frequency > 75) & (frequency < 4.2e3)].sum() > 0.05


@pytest.mark.parametrize("transmitter", [double_sideband, single_sideband_with_carrier])
def test_a_carrier_is_most_of_the_power_and_not_all(transmitter):
    frequency, power = mean_spectrum(transmit(transmitter, frames=20, length=8192))
    assert 0.5 < power[np.abs(frequency) < 80].sum() < 0.98


@pytest.mark.parametrize("transmitter", [double_sideband_suppressed_carrier, single_sideband])
def test_a_suppressed_carrier_is_not_there(transmitter):
    frequency, power = mean_spectrum(transmit(transmitter, frames=20, length=8192))
    assert power[np.abs(frequency) < 20].sum() < 1e-4


def test_a_sideband_beside_its_carrier_is_at_most_95_percent_of_it():
    waveform = transmit(single_sideband_with_carrier, frames=2000, length=256) - 1
    depth = np.abs(waveform.real).max(axis=1)
    assert depth.min() >= 0.5 - 1e-6
    assert depth.max() <= 0.95 + 1e-6


def test_frequency_modulation_has_a_constant_envelope_and_stays_within_broadcast_deviation():
    waveform = transmit(wideband_frequency_modulation, frames=3000, length=128)
    np.testing.assert_allclose(np.abs(waveform), 1, atol=1e-6)
    peak_hz = np.abs(frequency_hz(waveform)).max(axis=1)
    assert peak_hz.max() <= 75e3
    assert peak_hz.min() >= 29e3
    assert np.ptp(frequency_hz(waveform), axis=1).min() > 3e3
    frequency, power = mean_spectrum(transmit(wideband_frequency_modulation, frames=100, length=2048))
    # Carson's rule: twice the deviation and the message's bandwidth hold 98 % of the power.
    assert power[np.abs(frequency) < 79e3].sum() > 0.98
    assert power[np.abs(frequency) > 15e3].sum() > 0.3
