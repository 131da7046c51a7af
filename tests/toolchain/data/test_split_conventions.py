from __future__ import annotations

import numpy as np
import pytest

from toolchain.data import CONVENTIONS, Dataset, from_memory, split_by, stratified_split
from toolchain.errors import DatasetError


def cells(per_cell, classes=3, snrs=(-2, 10), own_test=None) -> Dataset:
    count = classes * len(snrs) * per_cell
    return Dataset(
        source="set.h5", format="test", classes=tuple("abcdef"[:classes]),
        labels=np.repeat(np.arange(classes), len(snrs) * per_cell),
        snr_db=np.tile(np.repeat(np.array(snrs, "f4"), per_cell), classes),
        length=1, sample_rate_hz=None, read=from_memory(np.zeros((count, 2, 1), "f4")), own_test=own_test,
    )  # fmt: skip


def published_amr_benchmark(cells_count, per_cell):
    """What AMR-Benchmark's loaders draw, in the words of their description: 60 % and 20 % of the cell numbers, seed 2016."""
    np.random.seed(2016)
    train, validation = [], []
    for cell in range(cells_count):
        numbers = range(cell * per_cell, (cell + 1) * per_cell)
        train += np.random.choice(numbers, size=per_cell * 6 // 10, replace=False).tolist()
        rest = list(set(numbers) - set(train))
        validation += np.random.choice(rest, size=per_cell * 2 // 10, replace=False).tolist()
    test = set(range(cells_count * per_cell)) - set(train) - set(validation)
    return sorted(train), sorted(validation), sorted(test)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("per_cell", [5, 37, 100])
def test_every_frame_is_in_one_part_and_every_cell_in_all(convention, per_cell):
    dataset = cells(per_cell, own_test=np.arange(6 * per_cell) % 5 == 1)
    split = split_by(convention, dataset, seed=4)
    joined = np.concatenate([split.train, split.validation, split.test])
    assert sorted(joined) == list(range(6 * per_cell))
    for part in (split.train, split.validation, split.test):
        assert len({(label, snr) for label, snr in zip(dataset.labels[part], dataset.snr_db[part], strict=True)}) == 6
        assert (np.diff(part) > 0).all()


def test_stratified_is_the_default_way():
    dataset = cells(20)
    split = split_by("stratified", dataset, seed=4)
    expected = stratified_split(dataset.labels, dataset.snr_db, seed=4)
    np.testing.assert_array_equal(split.train, expected.train)
    np.testing.assert_array_equal(split.test, expected.test)


@pytest.mark.parametrize("per_cell", [80, 1000])
def test_amr_benchmark_draws_the_published_frames(per_cell):
    split = split_by("amr-benchmark", cells(per_cell), seed=9)
    train, validation, test = published_amr_benchmark(6, per_cell)
    assert split.train.tolist() == train
    assert split.validation.tolist() == validation
    assert split.test.tolist() == test
    if per_cell == 1000:
        assert [len(part) for part in (train, validation, test)] == [3600, 1200, 1200]


def test_amr_benchmark_goes_by_class_and_snr_however_the_file_is_sorted():
    dataset = cells(80)
    turned = np.random.default_rng(0).permutation(len(dataset))
    shuffled = Dataset(
        source="set.h5", format="test", classes=dataset.classes, labels=dataset.labels[turned],
        snr_db=dataset.snr_db[turned], length=1, sample_rate_hz=None, read=dataset.read,
    )  # fmt: skip
    split = split_by("amr-benchmark", shuffled, seed=0)
    assert np.bincount(shuffled.labels[split.train]).tolist() == [96, 96, 96]


def test_sequential_takes_each_cells_first_frames():
    split = split_by("sequential-80-20", cells(10, classes=1, snrs=(0, 2)), seed=0)
    assert split.train.tolist() == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16]
    assert split.validation.tolist() == [7, 17]
    assert split.test.tolist() == [8, 9, 18, 19]
    split = split_by("sequential-80-20", cells(1000, classes=1, snrs=(0,)), seed=0)
    assert (len(split.train), len(split.validation), split.test[0]) == (700, 100, 800)


def test_own_keeps_the_files_test_part():
    own_test = np.zeros(60, bool)
    own_test[5::10] = True
    split = split_by("own", cells(10, own_test=own_test), seed=0, fractions=(0.6, 0.3, 0.1))
    assert split.test.tolist() == [5, 15, 25, 35, 45, 55]
    assert (len(split.train), len(split.validation)) == (36, 18)
    again = split_by("own", cells(10, own_test=own_test), seed=1, fractions=(0.6, 0.3, 0.1))
    assert again.train.tolist() != split.train.tolist()


@pytest.mark.parametrize("own_test", [None, np.zeros(60, bool), np.ones(60, bool)])
def test_own_needs_a_test_part(own_test):
    with pytest.raises(DatasetError, match=r"set\.h5: split \"own\" asked for, and the file has no test part"):
        split_by("own", cells(10, own_test=own_test), seed=0)


@pytest.mark.parametrize(("convention", "per_cell"), [("amr-benchmark", 4), ("sequential-80-20", 4), ("own", 2)])
def test_cell_that_is_too_small_is_named(convention, per_cell):
    own_test = np.arange(6 * per_cell) % 2 == 0
    with pytest.raises(DatasetError, match=r"the cell a at -2 dB has \d frames; expected at least"):
        split_by(convention, cells(per_cell, own_test=own_test), seed=0)


def test_other_names_are_refused_with_the_near_one():
    with pytest.raises(DatasetError, match='did you mean "amr-benchmark"'):
        split_by("amr-benchmarks", cells(10), seed=0)
