import json
import os

import h5py
import numpy as np
import pytest

from deploy.errors import DatasetError
from deploy.frames.opening import open_frames
from toolchain.data import write_h5

IQ = np.arange(3 * 2 * 8, dtype=np.float32).reshape(3, 2, 8)
LABELLED = {"label": np.array([1, 0, 1]), "snr_db": np.array([0.0, 5.0, 10.0]), "classes": np.array(["BPSK", "QPSK"])}


@pytest.fixture
def npz(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "frames.npz", **arrays)
        return tmp_path / "frames.npz"

    return save


@pytest.fixture
def recording(tmp_path):
    def write(annotations=(), captures=(), samples=40):
        values = np.arange(samples) - 1j * np.arange(samples)
        (tmp_path / "rec.sigmf-data").write_bytes(values.astype(np.complex64).tobytes())
        meta = {
            "global": {"core:datatype": "cf32_le", "core:version": "1.2.0", "core:sample_rate": 1e6},
            "captures": list(captures),
            "annotations": list(annotations),
        }
        (tmp_path / "rec.sigmf-meta").write_text(json.dumps(meta))
        return tmp_path / "rec.sigmf-meta"

    return write


def test_npz_of_frames_alone_is_opened_without_labels(npz):
    frames = open_frames(npz(iq=IQ), 8)
    assert (len(frames), frames.length, frames.labelled) == (3, 8, False)
    np.testing.assert_array_equal(frames.frames([0, 2]), IQ[[0, 2]])


def test_npz_with_labels_keeps_them(npz):
    frames = open_frames(npz(iq=IQ, **LABELLED), 8)
    assert (frames.labelled, frames.classes, frames.labels.tolist()) == (True, ("BPSK", "QPSK"), [1, 0, 1])


def test_npz_whose_labels_lack_their_classes_is_refused(npz):
    # Labels that are there are meant to be read.
    with pytest.raises(DatasetError, match="has no snr_db and no classes"):
        open_frames(npz(iq=IQ, label=LABELLED["label"]), 8)


def test_own_h5_is_opened(tmp_path):
    write_h5(
        tmp_path / "set.h5",
        iq=IQ,
        label=LABELLED["label"],
        snr_db=LABELLED["snr_db"].astype(np.float32),
        classes=("BPSK", "QPSK"),
        sample_rate_hz=None,
        made_by="a test",
    )
    frames = open_frames(tmp_path / "set.h5", 8)
    np.testing.assert_array_equal(frames.frames([1]), IQ[[1]])


def test_recording_without_annotations_is_cut_from_end_to_end(recording):
    # 40 samples: five frames of 8, whatever nobody wrote about them.
    frames = open_frames(recording(), 8)
    assert (len(frames), frames.labelled, frames.sample_rate_hz) == (5, False, 1e6)
    assert frames.frames([4])[0, 0].tolist() == list(range(32, 40))


def test_no_frame_reaches_from_one_capture_into_the_next(recording):
    # 0 to 18, 19 to 39: two frames each, three samples of the first and five of the second left over.
    frames = open_frames(recording(captures=[{"core:sample_start": 0}, {"core:sample_start": 19}]), 8)
    assert frames.frames(np.arange(4))[:, 0, 0].tolist() == [0, 8, 19, 27]


def test_annotations_that_name_nothing_are_as_none(recording):
    note = {"core:sample_start": 3, "core:sample_count": 8, "core:comment": "something"}
    assert len(open_frames(recording([note]), 8)) == 5


def test_annotations_that_name_something_are_what_is_read_and_need_no_snr(recording):
    named = {"core:sample_start": 3, "core:sample_count": 16, "core:label": "QPSK"}
    frames = open_frames(recording([named]), 8)
    assert (len(frames), frames.labelled, frames.classes) == (2, True, ("QPSK",))
    assert frames.frames([0])[0, 0, 0] == 3


def test_recording_that_is_shorter_than_a_frame_is_refused(recording):
    with pytest.raises(
        DatasetError, match=r"rec\.sigmf-meta: gives 0 frames of 41 samples in 0 captures; expected 1 to"
    ):
        open_frames(recording(), 41)


def test_frames_of_another_length_are_refused_with_both(npz):
    with pytest.raises(
        DatasetError, match="its frames have 8 samples, and the model takes 16; take frames of that length"
    ):
        open_frames(npz(iq=IQ), 16)


@pytest.mark.parametrize("content", [b"", b"I,Q\n1,2\n", b"\x93NUMPY\x01\x00"])
def test_file_of_another_format_is_refused_with_those_that_are_read(tmp_path, content):
    (tmp_path / "frames.csv").write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"frames\.csv: expected an \.npz with iq \(n, 2, 8\), a \.sigmf-meta, or a \.h5"
    ):
        open_frames(tmp_path / "frames.csv", 8)


def test_h5_of_somebody_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["X"] = IQ
    with pytest.raises(DatasetError, match=r"theirs\.h5: expected an \.npz .*`thinwave data convert`"):
        open_frames(tmp_path / "theirs.h5", 8)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.npz", "cannot be read: No such file"),
        ("folder", "is a folder; expected a file of frames"),
        ("pipe", "is a pipe; expected a file of frames"),
        ("a\0b", "cannot be read: .*null"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, told):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match=told):
        open_frames(tmp_path / name, 8)
