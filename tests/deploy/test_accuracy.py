import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from deploy.accuracy import accuracy, accuracy_by_snr, confusion_matrix, sensitivity_db

LABELS = np.array([0, 1, 2, 0, 1, 2])
PREDICTIONS = np.array([0, 1, 1, 0, 2, 2])
SNR_DB = np.array([-20, -20, -20, 18, 18, 18])


def test_accuracy_by_hand():
    assert accuracy(LABELS, PREDICTIONS) == pytest.approx(4 / 6)


def test_accuracy_by_snr_by_hand_from_the_lowest_up():
    assert list(accuracy_by_snr(LABELS, PREDICTIONS, SNR_DB[::-1]).items()) == [
        ("-20", pytest.approx(2 / 3)),
        ("18", pytest.approx(2 / 3)),
    ]


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64])
def test_whole_decibels_have_whole_keys(kind):
    assert list(accuracy_by_snr(LABELS, PREDICTIONS, SNR_DB.astype(kind))) == ["-20", "18"]


def test_other_decibels_keep_their_fraction():
    snr_db = np.array([-2.5, 2.1, -0.0, 0.0, 2.1, 2.1], dtype=np.float32)
    assert list(accuracy_by_snr(LABELS, PREDICTIONS, snr_db)) == ["-2.5", "0", "2.1"]


def test_confusion_has_the_truth_in_rows():
    assert confusion_matrix(LABELS, PREDICTIONS, 4).tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_agrees_with_scikit_learn(pairs):
    labels, predictions = np.array(pairs).T
    assert accuracy(labels, predictions) == pytest.approx(metrics.accuracy_score(labels, predictions))
    expected = metrics.confusion_matrix(labels, predictions, labels=range(5))
    np.testing.assert_array_equal(confusion_matrix(labels, predictions, 5), expected)


def test_small_class_numbers_do_not_overflow():
    labels = np.full(3, 200, dtype=np.uint8)
    assert confusion_matrix(labels, labels, 201)[200, 200] == 3


@pytest.mark.parametrize("predictions", [np.array([0, 1]), np.zeros((6, 1), dtype=int)])
def test_other_numbers_of_frames_are_refused(predictions):
    with pytest.raises(ValueError, match=r"labels \(6,\) and predictions"):
        accuracy(LABELS, predictions)


def test_no_frames_have_no_accuracy():
    with pytest.raises(ValueError, match="n > 0"):
        accuracy(LABELS[:0], PREDICTIONS[:0])


@pytest.mark.parametrize("wrong", [-1, 3])
def test_class_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expected 0 \.\. 2"):
        confusion_matrix(LABELS, np.where(PREDICTIONS == 0, wrong, PREDICTIONS), 3)


@pytest.mark.parametrize(
    ("by_snr", "expected"),
    [
        ({"-10": 0.2, "0": 0.5, "10": 0.9}, 2.5),  # a quarter of the way from 0.5 to 0.9
        ({"10": 0.9, "-10": 0.2, "0": 0.5}, 2.5),  # the order of the keys is nothing
        ({"-4": 0.5, "-2": 0.6, "0": 0.8}, -2.0),  # reached exactly
        ({"-4": 0.1, "-2": 0.7, "0": 0.5, "2": 0.7}, 1.0),  # for good: the last crossing
        ({"-4": 0.8, "-2": 0.4, "0": 0.8}, -1.0),  # it fell below, and came back
        ({"-4": 0.1, "0": 0.59}, None),  # always below
        ({"-4": 0.1, "0": 0.9, "4": 0.5}, None),  # below again at the end
        ({"-4": 0.6, "0": 0.9}, None),  # never below
        ({}, None),
    ],
)
def test_sensitivity_by_hand(by_snr, expected):
    assert sensitivity_db(by_snr) == (None if expected is None else pytest.approx(expected))


def test_sensitivity_at_another_level():
    assert sensitivity_db({"0": 0.0, "10": 1.0}, level=0.35) == pytest.approx(3.5)
