from __future__ import annotations

import hashlib
import json
import pickle

import numpy as np
import pytest

from toolchain.data import (
    Dataset,
    check_frames,
    from_memory,
    select_classes,
    select_snr,
    select_snrs,
    with_class_order,
)
from toolchain.errors import DatasetError

CLASSES = ("BPSK", "QPSK", "8PSK")


def make(count_a_cell=2, length=8, **changes) -> Dataset:
    """3 classes x 2 SNRs (-2 and 10 dB); frame i is filled with i."""
    count = 6 * count_a_cell
    iq = np.broadcast_to(np.arange(count, dtype="f4")[:, None, None], (count, 2, length)).copy()
    given = {
        "source": "set.h5",
        "format": "test",
        "classes": CLASSES,
        "labels": np.repeat([0, 1, 2], 2 * count_a_cell),
        "snr_db": np.tile(np.repeat([-2.0, 10.0], count_a_cell), 3),
        "length": length,
        "sample_rate_hz": None,
        "read": from_memory(iq),
    }
    return Dataset(**{**given, **changes})


def test_frames_come_as_asked_for():
    frames = make().frames([5, 0, 5])
    assert frames.shape == (3, 2, 8)
    assert frames.dtype == np.float32
    assert frames[:, 1, 3].tolist() == [5, 0, 5]
    assert make().frames([]).shape == (0, 2, 8)


@pytest.mark.parametrize("indices", [[-1], [12], [[0, 1]], [0.5], 3])
def test_indices_that_mean_no_frames_are_refused(indices):
    with pytest.raises(IndexError):
        make().frames(indices)


def test_values_are_read_only_and_typed():
    labels = np.repeat([0, 1, 2], 4).astype("i4")
    dataset = make(labels=labels)
    assert (dataset.labels.dtype, dataset.snr_db.dtype) == (np.int64, np.float32)
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0] = 1
    with pytest.raises(AttributeError):
        dataset.length = 9
    labels[0] = 1  # the owner's own array stays writable


def test_int64_labels_stay_writable_for_their_owner():
    labels = np.repeat([0, 1, 2], 4)
    make(labels=labels)
    labels[0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(11, "i8")}, r"labels of shape \(11,\) and SNRs of shape \(12,\)"),
        ({"labels": np.zeros((12, 1), "i8"), "snr_db": np.zeros((12, 1), "f4")}, r"shape \(12, 1\)"),
        ({"labels": np.full(12, 3)}, "labels from 3 to 3; expected 0 to 2"),
        ({"labels": np.full(12, -1)}, "labels from -1 to -1"),
        ({"snr_db": np.r_[np.zeros(4), np.nan, np.zeros(7)]}, "frame 4 has an SNR of nan dB"),
        ({"classes": ("BPSK", "QPSK", "BPSK")}, "not all different"),
        ({"classes": ("BPSK", "QPSK", "")}, "non-empty"),
        ({"length": 0}, "frames of 0 samples"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(DatasetError, match=message) as caught:
        make(**changes)
    assert str(caught.value).startswith("set.h5: ")


def test_set_goes_to_another_process():
    dataset = select_snr(make(), 10, 10)
    sent = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(sent.frames([0, 1]), dataset.frames([0, 1]))
    assert sent.fingerprint == dataset.fingerprint


def test_set_from_another_process_stays_read_only():
    sent = pickle.loads(pickle.dumps(make()))
    with pytest.raises(ValueError, match="read-only"):
        sent.labels[0] = 1


def test_fingerprint_tells_test_parts_apart():
    marks = [np.arange(12) % 4 == part for part in (0, 1)]
    prints = {make().fingerprint, *(make(own_test=mark).fingerprint for mark in marks)}
    assert len(prints) == 3


def test_snr_bounds_are_included():
    kept = select_snr(make(), 10, 20)
    assert len(kept) == 6
    assert (kept.snr_db == 10).all()
    assert kept.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert kept.frames(np.arange(6))[:, 0, 0].tolist() == [2, 3, 6, 7, 10, 11]
    assert kept.classes == CLASSES
    assert len(select_snr(make(), -2, 10)) == 12


def test_selecting_twice_reads_the_right_frames():
    kept = select_snr(select_snr(make(), -2, 20), 10, 10)
    assert kept.frames([0, 5])[:, 0, 0].tolist() == [2, 11]


@pytest.mark.parametrize("bounds", [(-1, 9), (20, -20), (float("nan"), 10)])
def test_snrs_that_no_frame_has_are_refused(bounds):
    with pytest.raises(DatasetError, match=r"set\.h5: no frame has an SNR .*; the file has -2 to 10 dB"):
        select_snr(make(), *bounds)


def test_new_class_order_renames_no_frame():
    dataset = make()
    turned = with_class_order(dataset, ["8PSK", "BPSK", "QPSK"])
    assert turned.classes == ("8PSK", "BPSK", "QPSK")
    assert [turned.classes[n] for n in turned.labels] == [dataset.classes[n] for n in dataset.labels]
    np.testing.assert_array_equal(turned.frames([3, 9]), dataset.frames([3, 9]))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["BPSK", "QPSK"], "missing there: 8PSK, unknown here: none"),
        (["BPSK", "QPSK", "8PSK", "GMSK"], "missing there: none, unknown here: GMSK"),
        (["BPSK", "QPSK", "8psk"], "missing there: 8PSK, unknown here: 8psk"),
        (["BPSK", "QPSK", "8PSK", "8PSK"], "each once"),
    ],
)
def test_other_class_names_are_refused_by_name(classes, message):
    with pytest.raises(DatasetError, match=message):
        with_class_order(make(), classes)


def test_set_that_lacks_classes_can_take_a_models_order():
    fewer = select_classes(make(), ["8PSK", "BPSK"])
    turned = with_class_order(fewer, CLASSES, all_of_them=False)
    assert turned.classes == CLASSES
    assert [turned.classes[n] for n in turned.labels] == [fewer.classes[n] for n in fewer.labels]
    with pytest.raises(DatasetError, match="missing there: 8PSK"):
        with_class_order(fewer, ["BPSK", "QPSK"], all_of_them=False)


def test_classes_are_kept_and_numbered_as_asked():
    kept = select_classes(make(), ["8PSK", "BPSK"])
    assert kept.classes == ("8PSK", "BPSK")
    assert kept.labels.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert kept.frames([0, 7])[:, 0, 0].tolist() == [0, 11]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["BPKS"], 'has no class BPKS; .* did you mean "BPSK"'),
        ([], "classes none asked for"),
        (["BPSK", "BPSK"], "classes BPSK, BPSK asked for; expected different names"),
    ],
)
def test_classes_that_cannot_be_kept_are_named(classes, message):
    with pytest.raises(DatasetError, match=message):
        select_classes(make(), classes)
    with pytest.raises(DatasetError, match="no frame is of the classes 16QAM"):
        select_classes(make(classes=(*CLASSES, "16QAM")), ["16QAM"])


def test_single_snrs_are_kept():
    assert select_snrs(make(), [10]).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(select_snrs(make(), [-2, 10])) == 12
    for asked, named in (([10, 11, 12], "11, 12"), ([], "none")):
        with pytest.raises(DatasetError, match=rf"no frame has an SNR of {named} dB; the file has -2, 10"):
            select_snrs(make(), asked)


def test_files_own_test_part_follows_its_frames():
    own_test = np.arange(12) % 4 == 0
    dataset = make(own_test=own_test)
    assert select_snr(dataset, 10, 10).own_test.tolist() == own_test[dataset.snr_db == 10].tolist()
    with pytest.raises(DatasetError, match=r"a test part of shape \(3,\) for 12 frames"):
        make(own_test=np.zeros(3, bool))


def test_frames_are_read_into_memory_that_is_given():
    dataset, out = make(), np.empty((2, 2, 8), dtype=np.float32)
    assert dataset.frames([3, 1], out) is out
    assert out[:, 0, 0].tolist() == [3, 1]
    for wrong in (np.empty((3, 2, 8), "f4"), np.empty((2, 2, 8)), np.empty((2, 8, 2), "f4").transpose(0, 2, 1)):
        with pytest.raises(ValueError, match="expected contiguous float32"):
            dataset.frames([3, 1], wrong)


def test_fingerprint_is_what_its_docstring_says():
    dataset = make(count_a_cell=100)
    expected = hashlib.sha256(
        json.dumps({"classes": list(CLASSES), "frames": 600, "length": 8}, sort_keys=True).encode() + b"\n"
    )
    expected.update(np.repeat([0, 1, 2], 200).astype("<i8").tobytes())
    expected.update(np.tile(np.repeat([-2.0, 10.0], 100), 3).astype("<f4").tobytes())
    sampled = np.unique((np.arange(256) * 599 / 255).astype("i8"))
    assert (sampled[0], sampled[-1]) == (0, 599)
    expected.update(np.repeat(sampled.astype("<f4"), 16).tobytes())
    assert dataset.fingerprint == expected.hexdigest()


def test_fingerprint_tells_sets_apart_but_not_files():
    dataset = make()
    assert make(source="copy.pkl", format="other", sample_rate_hz=1e6).fingerprint == dataset.fingerprint
    others = [
        make(length=9),
        make(count_a_cell=3),
        make(labels=np.roll(dataset.labels, 1)),
        make(snr_db=dataset.snr_db + 1),
        make(classes=("BPSK", "QPSK", "8-PSK")),
        make(read=from_memory(2 * dataset.frames(np.arange(12)))),
        with_class_order(dataset, CLASSES[::-1]),
        select_snr(dataset, 10, 10),
    ]
    assert len({dataset.fingerprint, *(other.fingerprint for other in others)}) == 9


def test_good_set_passes_the_check_and_tells_progress():
    told = []
    check_frames(make(), expected_length=8, progress=lambda done, total, note="": told.append((done, total)))
    assert told[-1] == (12, 12)


def test_check_reads_large_sets_in_blocks(monkeypatch):
    sizes = []

    def read(indices, out):
        sizes.append(indices.size)
        out[...] = 0

    monkeypatch.setattr("toolchain.data.checking.CHECK_BLOCK_SAMPLES", 40)
    check_frames(make(read=read))
    assert sizes == [5, 5, 2]


def test_values_that_are_not_finite_are_counted_and_placed(monkeypatch):
    monkeypatch.setattr("toolchain.data.checking.CHECK_BLOCK_SAMPLES", 40)
    iq = np.zeros((12, 2, 8), "f4")
    iq[7, 1, 2] = np.nan
    iq[11, 0, 0] = -np.inf
    iq[11, 0, 1] = np.nan
    with pytest.raises(DatasetError, match=r"set\.h5: 2 of 12 frames .* first frame 7 \(QPSK, 10 dB\)"):
        check_frames(make(read=from_memory(iq)))


def test_set_that_cannot_be_trained_on_is_refused():
    with pytest.raises(DatasetError, match="has no frames"):
        check_frames(make(count_a_cell=0))
    with pytest.raises(DatasetError, match="all its frames are of one class, QPSK"):
        check_frames(make(labels=np.full(12, 1)))
    with pytest.raises(DatasetError, match="8 samples; expected 128"):
        check_frames(make(), expected_length=128)
