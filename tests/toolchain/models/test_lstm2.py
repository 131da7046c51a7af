import numpy as np
import torch

from toolchain.models.lstm2 import AmplitudePhase


def test_amplitude_and_phase_are_those_of_the_complex_samples_on_the_axes_too():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=40) + 1j * rng.normal(size=40), [1, 1j, -1, -1j, 0, 2 + 2j, -3 + 3j, -1 - 1j]])
    polar = AmplitudePhase()(torch.from_numpy(np.stack([z.real, z.imag])[None].astype(np.float32)))[0]
    assert np.allclose(polar[0], np.abs(z), atol=1e-6)
    assert np.allclose(polar[1], np.angle(z) / np.pi, atol=1e-6)
