import numpy as np

from toolchain.data.generator.speech import speech


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
    times_s = np.tile(np.arange(128) / 200e3, (5000, 1))
    message = speech(times_s, np.random.default_rng(4)).message
    np.testing.assert_allclose(np.abs(message).max(axis=1), 1, rtol=1e-6)
    assert np.ptp(message, axis=1).min() > 0.1
