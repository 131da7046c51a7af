"""Does an exported file compute what the model does, and how nearly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Parity
from toolchain.errors import ExportError

# Parity asked for in the logits, from float32 arithmetic in another order: of the largest of them, with which rounding errors
# grow, or absolute where the largest is below 1.
MOST_DIFFERENCE = 1e-4


def require_parity(parity: Parity, expected: NDArray[np.float32], name: str) -> None:
    """Raise ExportError where the fp32 file ``name`` does not compute the ``expected`` logits (n, classes).

    A logit differs by more than 1e-4 of the largest |logit|, or 1e-4 where that is larger, or one frame gets another class.
    """
    most = most_difference(expected)
    if parity.max_abs_diff > most or parity.agreement < 1.0:
        raise ExportError(
            f"{name} does not compute what the model does: over {len(expected)} frames the logits differ by up to "
            f"{parity.max_abs_diff:.3g} (expected at most {most:.3g}: {MOST_DIFFERENCE:g} of the largest of the model's, or "
            f"{MOST_DIFFERENCE:g} if larger) and {parity.agreement:.2%} of the frames get the same class (expected all)"
        )


def most_difference(expected: NDArray[np.float32]) -> float:
    """How far other logits may be from ``expected`` (n, classes): 1e-4 of the largest |logit|, or 1e-4 if that is larger."""
    return MOST_DIFFERENCE * max(1.0, float(np.abs(expected).max()))


def parity_of(
    expected: NDArray[np.float32],
    got: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    names: tuple[str, str] = ("torch", "ONNX Runtime"),
) -> Parity:
    """Compare two sets of logits (n, classes) on frames of ``labels`` (n,); ``names`` say where each came from.

    Raises ExportError where one of them is not finite.
    """
    for source, logits in zip(names, (expected, got), strict=True):
        if not np.isfinite(logits).all():
            raise ExportError(f"{source} gives logits that are not finite; the weights are damaged or far too large")
    named = got.argmax(axis=1)
    return Parity(
        frames=len(expected),
        max_abs_diff=float(np.abs(expected.astype(np.float64) - got.astype(np.float64)).max()),
        agreement=float((expected.argmax(axis=1) == named).mean()),
        accuracy=float((named == labels).mean()),
    )
