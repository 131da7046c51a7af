from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from toolchain.data import Dataset, DataUse, from_memory, record_of, seen_among_tested, split_by, use_in, use_in_words
from toolchain.errors import DatasetError, ModelError


@pytest.fixture
def dataset():
    """3 classes x 4 SNRs (0, 2, 4, 6 dB) x 10 frames; frame i is filled with i."""
    iq = np.broadcast_to(np.arange(120, dtype="f4")[:, None, None], (120, 2, 2)).copy()
    return Dataset(
        source="set.h5", format="test", classes=("a", "b", "c"), labels=np.repeat([0, 1, 2], 40),
        snr_db=np.tile(np.repeat([0, 2, 4, 6], 10), 3), length=2, sample_rate_hz=None, read=from_memory(iq),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("use", "frames", "classes"),
    [
        (DataUse(), 120, ("a", "b", "c")),
        (DataUse(snr_min_db=4), 60, ("a", "b", "c")),
        (DataUse(snr_max_db=0), 30, ("a", "b", "c")),
        (DataUse(snr_min_db=2, snr_max_db=4, classes=("c", "a")), 40, ("c", "a")),
        (DataUse(snrs_db=(0, 6)), 60, ("a", "b", "c")),
    ],
)
def test_use_takes_its_snrs_and_classes(dataset, use, frames, classes):
    selected = use.selected(dataset)
    assert len(selected) == frames
    assert selected.classes == classes
    # Frame i is of class i // 40, whatever its number now.
    names = [selected.classes[label] for label in selected.labels]
    assert names == ["abc"[int(frame) // 40] for frame in selected.frames(np.arange(frames))[:, 0, 0]]


def test_use_splits_as_its_convention_does(dataset):
    use = DataUse(split="sequential-80-20", seed=5)
    expected = split_by("sequential-80-20", dataset, seed=5)
    np.testing.assert_array_equal(use.split_of(dataset).validation, expected.validation)


@pytest.mark.parametrize("convention", ["stratified", "amr-benchmark", "sequential-80-20", "own"])
@pytest.mark.parametrize("part", [{"snr_min_db": 4}, {"classes": ("c", "a")}, {"snrs_db": (0, 6), "classes": ("b",)}])
def test_a_part_is_split_as_within_the_whole(dataset, convention, part):
    dataset = replace(dataset, own_test=np.arange(120) % 10 < 3)
    whole, use = DataUse(split=convention), DataUse(split=convention, **part)
    for name in ("train", "validation", "test"):
        frames = dataset.frames(getattr(whole.split_of(dataset), name))[:, 0, 0]
        selected = use.selected(dataset)
        kept = set(selected.frames(np.arange(len(selected)))[:, 0, 0])
        got = selected.frames(getattr(use.split_of(dataset), name))[:, 0, 0]
        assert set(got) == set(frames) & kept
        assert got.size


def test_small_cell_that_is_left_out_is_in_nobodys_way(dataset):
    uneven = DataUse().selected(dataset)
    uneven = replace(uneven, snr_db=np.r_[np.float32(8), uneven.snr_db[1:]])
    with pytest.raises(DatasetError, match="the cell a at 8 dB has 1 frames"):
        DataUse().split_of(uneven)
    assert DataUse(snr_max_db=6).split_of(uneven).test.size


def test_frames_of_one_uses_test_that_another_trained_on_are_counted(dataset):
    first, second = DataUse(seed=1), DataUse(seed=2, snr_min_db=2, classes=("c", "b"))
    assert seen_among_tested(dataset, first, first) == 0
    assert seen_among_tested(dataset, first, DataUse(seed=1, snr_max_db=2, classes=("b",))) == 0
    seen = set(dataset.frames(np.r_[first.split_of(dataset).train, first.split_of(dataset).validation])[:, 0, 0])
    tested = second.selected(dataset).frames(second.split_of(dataset).test)[:, 0, 0]
    assert seen_among_tested(dataset, first, second) == len(seen & set(tested)) > 0


def test_words_become_a_use():
    assert use_in_words(classes="BPSK, QPSK", snr_db="10:") == DataUse(classes=("BPSK", "QPSK"), snr_min_db=10)
    assert use_in_words(classes=None, snr_db="0,2", split="own", seed=3) == DataUse(snrs_db=(0, 2), split="own", seed=3)
    assert use_in_words(classes=None, snr_db=None) == DataUse()
    with pytest.raises(DatasetError, match=r'classes "a,,b": expected names with a comma between'):
        use_in_words(classes="a,,b", snr_db=None)


@pytest.mark.parametrize(
    "use", [DataUse(), DataUse(snrs_db=(0, 2), classes=("a", "b"), split="own", seed=3, snr_min_db=1)]
)
def test_record_finds_the_use_of_the_very_set_again(dataset, use):
    record = json.loads(json.dumps(record_of(dataset, use)))
    assert record["source"] == "set.h5"
    assert use_in(record, dataset) == use
    assert use_in(record, DataUse(snr_min_db=2).selected(dataset)) is None


@pytest.mark.parametrize("record", [{}, {"fingerprint": 3}, {"use": {}}])
def test_record_that_says_nothing_is_no_use(dataset, record):
    assert use_in(record, dataset) is None


@pytest.mark.parametrize(
    "use",
    [
        None, 3, {"a": 1}, {"seed": "x"}, {"seed": -1}, {"seed": 1.5}, {"fractions": ["a", "b", "c"]}, {"fractions": [1, 2]},
        {"snr_min_db": "low"}, {"split": 5}, {"split": "halves"}, {"classes": [1]}, {"snrs_db": [None]},
    ],
)  # fmt: skip
def test_damaged_record_of_this_set_is_one_error(dataset, use):
    with pytest.raises(ModelError, match=r"record of how it was trained on set\.h5 is damaged"):
        use_in({"fingerprint": dataset.fingerprint, "use": use}, dataset)


def test_use_says_what_it_takes_of_a_set(dataset):
    assert DataUse(snr_min_db=0, classes=("c", "b", "a")).in_words(dataset) == ""
    assert DataUse(snrs_db=(0, 6)).in_words(dataset) == "0, 6 dB"
    assert DataUse(snr_min_db=2, classes=("c",)).in_words(dataset) == "2 to 6 dB and the classes c"


def test_a_range_that_no_frame_is_in_is_told_with_its_open_end(dataset):
    with pytest.raises(DatasetError, match=r"no frame has an SNR from 99 dB up; the file has 0 to 6 dB$"):
        DataUse(snr_min_db=99).selected(dataset)
    with pytest.raises(DatasetError, match="no frame has an SNR up to -2 dB;"):
        DataUse(snr_max_db=-2).selected(dataset)
    with pytest.raises(DatasetError, match="no frame has an SNR from 3 to 3 dB;"):
        DataUse(snr_min_db=3, snr_max_db=3).selected(dataset)
