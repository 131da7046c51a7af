"""How near two sets of logits are, and how near they have to be."""

from __future__ import annotations

import numpy as np

from deploy.runtimes.base import Float32

# Asked for of float32, whose sums another runtime adds up in another order: of the largest logit, with which rounding errors
# grow, or absolute where that is below 1.
MOST_DIFFERENCE = 1e-4
# Asked for of narrower types, which each runtime rounds in its own way: shares of the frames.
MOST_ACCURACY_LOST = 0.01
MOST_AGREEMENT_LOST = 0.02
# Of accuracy, against the original: what is chosen for its speed may not cost more. In hundredths.
MOST_POINTS_LOST = 0.5


def most_difference(expected: Float32) -> float:
    """How far other logits may be from ``expected`` (n, classes): 1e-4 of the largest |logit|, or 1e-4 if that is larger."""
    return MOST_DIFFERENCE * max(1.0, float(np.abs(expected).max()))


def largest_difference(expected: Float32, got: Float32) -> float:
    """The largest |difference| of two sets of logits (n, classes)."""
    return float(np.abs(expected.astype(np.float64) - got.astype(np.float64)).max())


def agreement(expected: Float32, got: Float32) -> float:
    """The share of frames that both sets of logits (n, classes) give the same class."""
    return float((expected.argmax(axis=1) == got.argmax(axis=1)).mean())
