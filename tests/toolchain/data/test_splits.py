from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.data import stratified_sample, stratified_split
from toolchain.errors import DatasetError


def cells(sizes) -> tuple[np.ndarray, np.ndarray]:
    """Labels and SNRs of a set with ``sizes[label][k]`` frames at SNR 2k - 4 dB, shuffled."""
    pairs = [(label, 2 * k - 4) for label, row in enumerate(sizes) for k, size in enumerate(row) for _ in range(size)]
    table = np.random.default_rng(0).permutation(np.array(pairs))
    return table[:, 0].astype("i8"), table[:, 1].astype("f4")


def counts(labels, snr_db, indices) -> list[int]:
    return np.unique(np.stack([labels[indices], snr_db[indices]]), axis=1, return_counts=True)[1].tolist()


def test_cell_of_80_gives_48_16_16():
    labels, snr_db = cells([[80] * 4] * 3)
    split = stratified_split(labels, snr_db, seed=1)
    assert counts(labels, snr_db, split.train) == [48] * 12
    assert counts(labels, snr_db, split.validation) == [16] * 12
    assert counts(labels, snr_db, split.test) == [16] * 12


@pytest.mark.parametrize(
    ("size", "fractions", "expected"),
    [
        (3, (0.6, 0.2, 0.2), (1, 1, 1)),  # 1.8, 0.6, 0.6 would round to 2, 1, 0
        (4, (0.6, 0.2, 0.2), (2, 1, 1)),
        (5, (0.6, 0.2, 0.2), (3, 1, 1)),
        (7, (0.6, 0.2, 0.2), (4, 2, 1)),  # 4.2, 1.4, 1.4: the first of equal remainders
        (10, (0.98, 0.01, 0.01), (8, 1, 1)),
        (10, (0.01, 0.01, 0.98), (1, 1, 8)),
        (1000, (0.6, 0.2, 0.2), (600, 200, 200)),
        (90, (1 / 3, 1 / 3, 1 / 3), (30, 30, 30)),
    ],
)
def test_rounding_by_hand(size, fractions, expected):
    labels, snr_db = cells([[size]])
    split = stratified_split(labels, snr_db, fractions=fractions, seed=1)
    assert (split.train.size, split.validation.size, split.test.size) == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(3, 12), min_size=1, max_size=3), min_size=1, max_size=3),
    st.tuples(*[st.floats(0.01, 1)] * 3),
    st.integers(0, 2**32),
)
def test_parts_are_disjoint_covering_sorted_and_in_every_cell(sizes, weights, seed):
    labels, snr_db = cells(sizes)
    fractions = tuple(weight / sum(weights) for weight in weights)
    split = stratified_split(labels, snr_db, fractions=fractions, seed=seed)
    parts = [split.train, split.validation, split.test]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(labels.size))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert len(counts(labels, snr_db, part)) == sum(len(row) for row in sizes)


def test_same_seed_same_split_other_seed_another():
    labels, snr_db = cells([[20] * 3] * 3)
    first, again, other = (stratified_split(labels, snr_db, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)


def test_part_of_a_set_is_split_as_within_the_whole():
    labels, snr_db = cells([[20] * 4] * 3)
    whole = stratified_split(labels, snr_db, seed=4)
    kept = np.flatnonzero(snr_db >= 0)
    part = stratified_split(labels[kept], snr_db[kept], seed=4)
    np.testing.assert_array_equal(kept[part.test], np.intersect1d(kept, whole.test))


def test_cells_are_not_all_split_alike():
    labels = np.repeat([0, 1], 30)
    split = stratified_split(labels, np.zeros(60, "f4"), seed=0)
    tested = split.test
    assert not np.array_equal(tested[tested < 30], tested[tested >= 30] - 30)


def test_cell_that_is_too_small_is_named():
    labels, snr_db = cells([[5, 5], [5, 2]])
    with pytest.raises(DatasetError, match="cell class 1 at -2 dB has 2 frames; expected at least 3"):
        stratified_split(labels, snr_db, seed=1)
    with pytest.raises(DatasetError, match="cell QPSK at -2 dB has 2 frames"):
        stratified_split(labels, snr_db, seed=1, classes=("BPSK", "QPSK"))


@pytest.mark.parametrize(
    "fractions", [(0.6, 0.4, 0), (0.6, 0.3, 0.2), (0.6, 0.4), (float("nan"), 0.5, 0.5), (1.2, -0.4, 0.2)]
)
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(DatasetError, match="split fractions"):
        stratified_split(*cells([[10]]), fractions=fractions, seed=1)


def test_set_without_frames_splits_into_nothing():
    split = stratified_split(np.empty(0, "i8"), np.empty(0, "f4"), seed=1)
    assert split.train.size == split.validation.size == split.test.size == 0


def test_512_of_220_cells_are_two_or_three_each():
    labels, snr_db = cells([[16] * 20] * 11)
    among = np.arange(labels.size)
    chosen = stratified_sample(labels, snr_db, among, 512, np.random.default_rng(1))
    assert (chosen.shape, chosen.dtype) == ((512,), np.int64)
    assert (np.diff(chosen) > 0).all()
    assert set(counts(labels, snr_db, chosen)) == {2, 3}
    for values in (labels, snr_db):
        _, totals = np.unique(values[chosen], return_counts=True)
        assert totals.max() - totals.min() <= 1


@pytest.mark.parametrize(("classes", "snrs"), [(4, 4), (4, 6), (3, 7), (1, 5), (6, 3)])
def test_any_count_is_even_over_cells_classes_and_snrs(classes, snrs):
    labels, snr_db = cells([[3] * snrs] * classes)
    rng = np.random.default_rng(2)
    for count in range(1, labels.size + 1):
        chosen = stratified_sample(labels, snr_db, np.arange(labels.size), count, rng)
        assert chosen.size == np.unique(chosen).size == count
        found = counts(labels, snr_db, chosen)
        assert max(found) - (min(found) if len(found) == classes * snrs else 0) <= 1
        for values, kinds in ((labels, classes), (snr_db, snrs)):
            totals = np.r_[np.unique(values[chosen], return_counts=True)[1], np.zeros(kinds)][:kinds]
            assert totals.max() - totals.min() <= 1


def test_small_cells_give_all_and_the_others_the_rest():
    labels, snr_db = cells([[1, 10], [10, 2]])
    chosen = stratified_sample(labels, snr_db, np.arange(23), 13, np.random.default_rng(1))
    assert counts(labels, snr_db, chosen) == [1, 5, 5, 2]


def test_only_the_indices_given_are_chosen_from():
    labels, snr_db = cells([[20] * 3] * 3)
    among = stratified_split(labels, snr_db, seed=3).validation[::-1]
    chosen = stratified_sample(labels, snr_db, among, 20, np.random.default_rng(1))
    assert np.isin(chosen, among).all()
    everything = stratified_sample(labels, snr_db, among, among.size, np.random.default_rng(1))
    np.testing.assert_array_equal(everything, np.sort(among))


def test_sample_follows_its_generator():
    labels, snr_db = cells([[20] * 3] * 3)
    drawn = [
        stratified_sample(labels, snr_db, np.arange(180), 40, np.random.default_rng(n)).tolist() for n in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    among = np.arange(180)
    singles = [stratified_sample(labels, snr_db, among, 1, np.random.default_rng(n))[0] for n in range(40)]
    assert set(labels[singles]) == {0, 1, 2}
    assert set(snr_db[singles]) == {-4, -2, 0}


@pytest.mark.parametrize("count", [0, -1, 7])
def test_count_that_cannot_be_chosen_is_refused(count):
    labels, snr_db = cells([[3], [3]])
    with pytest.raises(DatasetError, match=f"{count} frames to be chosen of 6; expected 1 to 6"):
        stratified_sample(labels, snr_db, np.arange(6), count, np.random.default_rng(1))
