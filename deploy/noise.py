"""Frames to measure with where no signal is at hand."""

from __future__ import annotations

import numpy as np

from deploy.runtimes.base import Float32


def noise_frames(count: int, length: int, generator: np.random.Generator) -> Float32:
    """Return white complex Gaussian noise of unit power: float32 (count, 2, length).

    What a dense model does, and so how long it takes, does not depend on the values, as long as they are of ordinary
    size: zeros would lead some processors through faster paths, and tiny ones through slower.
    """
    # Made in float32, and in place: batches may be large.
    frames = generator.standard_normal((count, 2, length), dtype=np.float32)
    # Power 1 in two components: each has variance 1/2.
    frames *= np.float32(np.sqrt(0.5))
    return frames
