import numpy as np
import pytest

from deploy.bundle import Parity
from toolchain.errors import ExportError
from toolchain.export import parity_of, require_parity


def test_parity_is_the_largest_difference_the_share_of_equal_decisions_and_the_accuracy():
    expected = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    got = np.array([[1, 2, 3.5], [2, 2.25, 1]], np.float32)
    parity = parity_of(expected, got, np.array([2, 2]))
    assert parity == Parity(frames=2, max_abs_diff=1.0, agreement=0.5, accuracy=0.5)


@pytest.mark.parametrize(("which", "name"), [(0, "torch"), (1, "ONNX Runtime")])
def test_logits_that_are_not_finite_are_told_by_where_they_come_from(which, name):
    logits = [np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)]
    logits[which][1, 1] = np.nan
    with pytest.raises(ExportError, match=f"{name} gives logits that are not finite"):
        parity_of(*logits, np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        ([0.5, 0.0], [0.5, 0.9e-4], None),
        ([0.5, 0.0], [0.5, 1.1e-4], r"differ by up to 0\.00011 \(expected at most 0\.0001: 0\.0001 of the largest"),
        ([2.0, -1000.0], [2.09, -1000.0], None),
        ([2.0, -1000.0], [2.11, -1000.0], r"differ by up to 0\.11 \(expected at most 0\.1: 0\.0001 of the largest"),
        # Near enough, and another class.
        ([1000.0, 999.99], [1000.0, 1000.01], r"and 0\.00% of the frames get the same class \(expected all\)"),
    ],
)
def test_parity_is_asked_for_in_proportion_to_the_logits_and_of_every_class(expected, got, message):
    expected, got = (np.array([logits] * 3, np.float32) for logits in (expected, got))
    parity = parity_of(expected, got, np.zeros(3, np.int64))
    if message is None:
        require_parity(parity, expected, "m.onnx")
        return
    with pytest.raises(ExportError, match=rf"m\.onnx does not compute what the model does: .*{message}"):
        require_parity(parity, expected, "m.onnx")
