import numpy as np
import pytest

from toolchain.data.generator.channel import Channel, draw_channel, receive, sending_times_s, white_noise

SAMPLE_RATE_HZ = 200e3


def quiet_channel(frames=1, *, offset_hz=0.0, phase_rad=0.0, clock_ppm=0.0, gain=(1, 0, 0)):
    return Channel(
        carrier_offset_hz=np.full(frames, float(offset_hz)),
        carrier_phase_rad=np.full(frames, float(phase_rad)),
        clock_offset_ppm=np.full(frames, float(clock_ppm)),
        path_gain=np.tile(np.array(gain, dtype=np.complex128), (frames, 1)),
    )


def tone(channel, frequency_hz, length=128):
    times_s = sending_times_s(channel, length, SAMPLE_RATE_HZ)
    sent = np.exp(2j * np.pi * frequency_hz * times_s).astype(np.complex64)
    return receive(channel, sent, SAMPLE_RATE_HZ)


def test_offsets_fill_their_ranges_evenly():
    channel = draw_channel(20_000, np.random.default_rng(0))
    for values, limit in ((channel.carrier_offset_hz, 500), (channel.clock_offset_ppm, 250)):
        assert np.abs(values).max() <= limit
        assert np.abs(values).mean() == pytest.approx(limit / 2, rel=0.03)
        assert abs(values.mean()) < 0.03 * limit
    share, _ = np.histogram(channel.carrier_phase_rad, bins=4, range=(0, 2 * np.pi))
    assert share.min() > 4700


def test_first_path_is_rician_and_the_echoes_rayleigh():
    power = np.abs(draw_channel(200_000, np.random.default_rng(1)).path_gain) ** 2
    mean = power.mean(axis=0)
    assert mean.sum() == pytest.approx(1, rel=0.01)
    np.testing.assert_allclose(mean / mean[0], [1, 0.64, 0.09], rtol=0.02)
    # E|g|^4 / (E|g|^2)^2 is 2 for Rayleigh and 2 - (K / (K + 1))^2 = 1.36 for Rician fading with K = 4.
    np.testing.assert_allclose((power**2).mean(axis=0) / mean**2, [1.36, 2, 2], rtol=0.03)


def test_samples_are_taken_later_by_the_clock_offset_and_sent_earlier_by_the_delay():
    times = sending_times_s(quiet_channel(clock_ppm=250), 101, SAMPLE_RATE_HZ)[0] * SAMPLE_RATE_HZ
    np.testing.assert_allclose(times[:, 0], [0, -0.9, -1.7], atol=1e-9)
    np.testing.assert_allclose(times[:, 100], 100.025 + np.array([0, -0.9, -1.7]), atol=1e-9)


def test_clock_offset_moves_a_tone_by_its_parts_in_a_million():
    heard = tone(quiet_channel(clock_ppm=200), 50e3, length=1001)
    cycles = np.unwrap(np.angle(heard[0].astype(np.complex128)))[-1] / (2 * np.pi)
    # 250 cycles in 1000 samples, and 200 millionths of them.
    assert cycles == pytest.approx(250 * (1 + 200e-6), abs=1e-4)


def test_carrier_offset_and_phase_turn_the_signal():
    heard = tone(quiet_channel(offset_hz=500, phase_rad=1.0), 0.0, length=101)
    phase = np.unwrap(np.angle(heard[0]))
    assert phase[0] == pytest.approx(1.0, abs=1e-6)
    # 100 samples are half a millisecond, a quarter of a cycle at 500 Hz.
    assert phase[100] - phase[0] == pytest.approx(np.pi / 2, abs=1e-5)


def test_echoes_are_delayed_by_parts_of_a_sample():
    gain = np.array([0.5, 0.4j, -0.3])
    heard = tone(quiet_channel(gain=gain), 30e3)
    radians_a_sample = 2 * np.pi * 30e3 / SAMPLE_RATE_HZ
    response = np.sum(gain * np.exp(-1j * radians_a_sample * np.array([0, 0.9, 1.7])))
    np.testing.assert_allclose(heard[0], response * np.exp(1j * radians_a_sample * np.arange(128)), atol=1e-5)


@pytest.mark.parametrize("snr_db", [-20, 0, 18])
def test_noise_has_the_labelled_power_below_each_frames_own(snr_db):
    rng = np.random.default_rng(3)
    scale = np.array([1e-3, 1.0, 50.0], dtype=np.float32)[:, None]
    signal = (scale * np.exp(2j * np.pi * rng.random((3, 50_000)))).astype(np.complex64)
    noise = white_noise(signal, snr_db, rng)
    measured_db = 10 * np.log10(scale[:, 0] ** 2 / np.mean(np.abs(noise) ** 2, axis=1))
    np.testing.assert_allclose(measured_db, snr_db, atol=0.1)


def test_noise_is_white_circular_gaussian_and_nothing_else():
    signal = np.ones((2000, 128), dtype=np.complex64)
    noise = white_noise(signal, 0, np.random.default_rng(4))
    spectrum = np.mean(np.abs(np.fft.fft(noise, axis=1)) ** 2, axis=0) / 128
    np.testing.assert_allclose(spectrum, 1, atol=0.12)
    assert abs(np.mean(noise)) < 0.01
    assert abs(np.mean(noise**2)) < 0.01
    assert np.mean(noise.real**4) / np.mean(noise.real**2) ** 2 == pytest.approx(3, abs=0.05)
    assert np.mean(noise.real**2) == pytest.approx(0.5, rel=0.02)
    # Not brought to the label frame by frame: over 128 samples the power scatters by 1 / sqrt(128).
    assert np.std(np.mean(np.abs(noise) ** 2, axis=1)) == pytest.approx(128**-0.5, rel=0.1)
