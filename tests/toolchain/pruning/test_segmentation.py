from itertools import combinations, pairwise

import numpy as np
import pytest

from toolchain.errors import PlanError
from toolchain.pruning.segmentation import choose_blocks, diameters, segment, segmentations


def scatter(part):
    return float(((part - part.mean(axis=0)) ** 2).sum())


def loss_of(signatures, boundaries):
    return sum(scatter(signatures[start:end]) for start, end in pairwise((*boundaries, len(signatures))))


def brute_force(signatures, blocks):
    n = len(signatures)
    scatters = {(i, j): scatter(signatures[i:j]) for i, j in combinations(range(n + 1), 2)}
    return min(sum(scatters[run] for run in pairwise((0, *cuts, n))) for cuts in combinations(range(1, n), blocks - 1))


def test_the_loss_is_the_least_of_all_partitions():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        n = int(rng.integers(1, 13))
        blocks = int(rng.integers(1, n + 1))
        # Few distinct values too, so that ties occur.
        signatures = rng.integers(0, 4, size=(n, 2)).astype(float) if rng.random() < 0.3 else rng.normal(size=(n, 3))
        found = segment(signatures, blocks)
        assert len(found.boundaries) == blocks
        assert found.boundaries[0] == 0
        assert found.loss == pytest.approx(brute_force(signatures, blocks), abs=1e-9)
        assert found.loss == pytest.approx(loss_of(signatures, found.boundaries), abs=1e-9)


def test_all_numbers_of_blocks_at_once_are_those_one_by_one():
    signatures = np.random.default_rng(1).normal(size=(12, 12))
    assert segmentations(signatures, 12) == [segment(signatures, blocks) for blocks in range(1, 13)]


def test_three_plateaus_are_cut_where_they_change():
    signatures = np.array([0.0, 0.1, 0.0, 5.0, 5.1, 9.0, 9.0, 9.1])[:, None]
    assert segment(signatures, 3).boundaries == (0, 3, 5)


def test_diameters_are_the_scatter_of_each_run():
    signatures = np.random.default_rng(2).normal(size=(6, 4))
    found = diameters(signatures)
    for start in range(6):
        for end in range(start, 6):
            assert found[start, end] == pytest.approx(scatter(signatures[start : end + 1]), abs=1e-12)
    assert (np.tril(found, -1) == 0).all()


def test_a_large_common_offset_costs_no_digits():
    signatures = np.random.default_rng(3).normal(size=(8, 2))
    assert segment(signatures + 1e6, 3).loss == pytest.approx(segment(signatures, 3).loss, rel=1e-6)


@pytest.mark.parametrize(
    ("losses", "blocks"),
    [
        ([100.0, 20.0, 6.0, 4.0, 1.0], 3),  # the fourth block gains 2 of 100
        ([100.0, 96.0, 1.0], 1),
        ([100.0, 90.0, 80.0], 3),
        ([0.0, 0.0, 0.0], 1),
        ([5.0], 1),
    ],
)
def test_blocks_end_where_one_more_gains_little(losses, blocks):
    assert choose_blocks(losses) == blocks


def test_equal_layers_are_one_block():
    losses = [cut.loss for cut in segmentations(np.full((7, 7), 0.1), 7)]
    assert choose_blocks(losses) == 1


@pytest.mark.parametrize("blocks", [0, 5, -1])
def test_a_number_of_blocks_that_cannot_be_is_refused(blocks):
    with pytest.raises(PlanError, match=rf"cannot cut 4 units into {blocks} blocks: expected a number from 1 to 4"):
        segment(np.zeros((4, 1)), blocks)


@pytest.mark.parametrize("blocks", [2.0, True, "2", None, np.float64(2)])
def test_a_number_of_blocks_that_is_not_whole_is_refused(blocks):
    with pytest.raises(PlanError, match="expected a number from 1 to 4"):
        segment(np.zeros((4, 1)), blocks)


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        (np.array([1.0, 2.0]), r"got shape \(2,\), expected finite numbers \(n, d\)"),
        ([1.0, 2.0], r"got shape \(2,\)"),
        ([[1.0], [2.0, 3.0]], "list cannot be read"),
        (np.zeros((0, 3)), r"got shape \(0, 3\)"),
        (np.array([[1.0], [np.nan]]), "1 of 2 rows hold NaN, infinity"),
        (np.array([[np.inf], [np.nan]]), "2 of 2 rows hold NaN, infinity"),
        (np.array([[1.0], [1e200]]), "1 of 2 rows hold NaN, infinity or more than 1e"),
    ],
)
def test_signatures_that_are_none_are_refused(signatures, message):
    with pytest.raises(PlanError, match=message):
        segment(signatures, 1)


def test_clusters_far_apart_cost_no_digits():
    near = np.random.default_rng(4).integers(-8, 8, size=(8, 3)) / 4
    far = near + np.where(np.arange(8) < 4, 0.0, 1e9)[:, None]
    assert segment(far, 2).boundaries == (0, 4)
    assert segment(far, 2).loss == pytest.approx(loss_of(near, (0, 4)), rel=1e-14)


def test_float32_signatures_are_segmented_in_float64():
    signatures = np.random.default_rng(5).normal(size=(8, 3)).astype(np.float32) + np.float32(1000)
    assert segment(signatures, 3).loss == segment(signatures.astype(np.float64), 3).loss


def test_each_diameter_is_right_to_its_own_rounding():
    rng = np.random.default_rng(6)
    signatures = rng.normal(size=(12, 5)) * 10.0 ** rng.integers(-8, 8, size=(12, 1))
    found, exact = diameters(signatures), signatures.astype(np.longdouble)
    for start in range(12):
        for end in range(start + 1, 12):
            part = exact[start : end + 1]
            expected = float(((part - part.mean(axis=0)) ** 2).sum())
            assert found[start, end] == pytest.approx(expected, rel=(5 + 2 * 12 + 5) * 2.0**-53)


def test_a_negligible_loss_is_one_block():
    assert choose_blocks([1e-14, 5e-15, 0.0], negligible=1e-13) == 1
    assert choose_blocks([1e-14, 5e-15, 0.0]) == 3
