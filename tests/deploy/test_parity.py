import numpy as np
import pytest

from deploy.parity import agreement, largest_difference, most_difference


def logits(*rows):
    return np.array(rows, dtype=np.float32)


def test_largest_difference_and_agreement_by_hand():
    expected = logits((1.0, 0.0), (0.0, 1.0), (3.0, 2.0), (5.0, -5.0))
    got = logits((1.0, 0.5), (0.0, 1.25), (2.0, 3.0), (5.0, -5.0))
    assert largest_difference(expected, got) == 1.0
    assert agreement(expected, got) == 0.75


def test_difference_of_float32_is_not_rounded_to_float32():
    # Next to each other as float32: 2**24 and 2**24 + 2. Their difference to -2**24 needs 26 digits.
    assert largest_difference(logits((2.0**24 + 2,)), logits((-(2.0**24),))) == 2**25 + 2


@pytest.mark.parametrize(("largest", "most"), [(0.25, 1e-4), (1.0, 1e-4), (20.0, 2e-3), (-20.0, 2e-3)])
def test_most_difference_grows_with_the_largest_logit_above_one(largest, most):
    assert most_difference(logits((largest, 0.0), (0.0, 0.1))) == pytest.approx(most)
