"""Does an exported file compute what the model does, and how nearly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Parity
from deploy.parity import MOST_DIFFERENCE, agreement, largest_difference, most_difference
from toolchain.errors import ExportError


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
    return Parity(
        frames=len(expected),
        max_abs_diff=largest_difference(expected, got),
        agreement=agreement(expected, got),
        accuracy=float((got.argmax(axis=1) == labels).mean()),
    )
