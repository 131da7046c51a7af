"""A small set in memory, to be changed where a test needs it otherwise."""

from collections.abc import Callable

import numpy as np
import pytest

from deploy.frames.dataset import Dataset, from_memory


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Complex noise of RMS 1 a sample: float32 (count, 2, length)."""

    def drawn(count: int, length: int = 64, seed: int = 0) -> np.ndarray:
        return (np.random.default_rng(seed).standard_normal((count, 2, length)) / np.sqrt(2)).astype(np.float32)

    return drawn


@pytest.fixture
def make(noise) -> Callable[..., Dataset]:
    """3 classes x 2 SNRs (-2 and 10 dB) x 10 frames: frame 20 c + 10 s + k."""

    def made(iq: np.ndarray | None = None, **changes: object) -> Dataset:
        iq = noise(60) if iq is None else iq
        given = {
            "source": "set.h5",
            "format": "test",
            "classes": ("BPSK", "QPSK", "8PSK"),
            "labels": np.repeat([0, 1, 2], 20),
            "snr_db": np.tile(np.repeat([-2.0, 10.0], 10), 3),
            "length": iq.shape[2],
            "sample_rate_hz": 1e6,
            "read": from_memory(iq),
        }
        return Dataset(**{**given, **changes})

    return made
