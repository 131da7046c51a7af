import tracemalloc

import numpy as np
import pytest

from deploy.noise import noise_frames


def test_noise_has_unit_power_and_the_layout_of_frames():
    frames = noise_frames(64, 1024, np.random.default_rng(0))
    assert (frames.shape, frames.dtype) == ((64, 2, 1024), np.float32)
    assert np.mean(frames[:, 0] ** 2 + frames[:, 1] ** 2) == pytest.approx(1.0, rel=0.02)
    assert np.mean(frames) == pytest.approx(0.0, abs=0.01)


def test_noise_is_made_in_float32_without_a_larger_copy():
    # 64 MiB as float32.
    tracemalloc.start()
    noise_frames(64, 1 << 17, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 66 << 20


def test_noise_comes_from_the_generator_given():
    first, again = (noise_frames(2, 8, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
