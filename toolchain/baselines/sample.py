"""What baselines look at beside the model: training frames and what is sent in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Training frames, float32 (n, 2, length), and their labels, int64 (n,)."""

    frames: NDArray[np.float32]
    labels: NDArray[np.int64]
