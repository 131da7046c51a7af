import numpy as np
import pytest

from deploy.bundle import open_bundle, write_manifest
from deploy.errors import BundleError, DatasetError, DeployError
from deploy.reference import reference_frames


@pytest.fixture
def opened(mean_model, manifest_for, write_reference):
    """Open a bundle whose reference frames have ``changes``; ``says`` is what its manifest says otherwise."""

    def make(*, says=None, **changes):
        folder = mean_model("b/fp32.onnx").parent
        write_reference(folder, **changes)
        manifest = manifest_for(folder, {"fp32": "fp32.onnx"})
        write_manifest(folder, manifest.model_copy(update=says or {}))
        return open_bundle(folder)

    return make


def test_frames_come_with_what_the_original_answered(opened, steady_frames):
    frames = reference_frames(opened())
    np.testing.assert_array_equal(frames.iq, steady_frames())
    assert frames.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert frames.snr_db.tolist() == [0, 0, 0, 10, 10, 10]
    assert frames.logits.tolist()[:2] == [[1, 0, -1], [0, 2, 1]]
    assert {frames.iq.dtype, frames.logits.dtype} == {np.dtype(np.float32)}


def test_bundle_without_reference_frames_says_so(opened):
    with pytest.raises(BundleError, match="the bundle holds no reference frames; export it again"):
        reference_frames(opened(says={"reference": None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"logits": None},
        {"logits": np.zeros((5, 3), np.float32)},
        {"logits": np.zeros((6, 2), np.float32)},
        {"logits": np.zeros(6, np.float32)},
        {"classes": np.array(["BPSK", "16QAM", "QPSK"])},
        {"classes": np.array(["BPSK", "QPSK", "16QAM", "64QAM"])},
        {"iq": np.zeros((6, 2, 31), np.float32)},
    ],
    ids=[
        "no logits",
        "logits of fewer",
        "of fewer classes",
        "of one axis",
        "other order",
        "more classes",
        "other length",
    ],
)
def test_frames_that_are_not_of_the_bundle_are_refused(opened, changes):
    with pytest.raises(BundleError, match=r"reference\.npz: is not of this bundle: expected 6 frames of its shape"):
        reference_frames(opened(**changes))


def test_frames_that_are_fewer_than_the_manifest_says_are_refused(opened):
    bundle = opened()
    entry = bundle.manifest.reference.model_copy(update={"frames": 7})
    with pytest.raises(BundleError, match="is not of this bundle: expected 7 frames"):
        reference_frames(opened(says={"reference": entry}))


@pytest.mark.parametrize("missing", ["iq", "label", "snr_db", "classes"])
def test_frames_without_what_they_need_are_refused_by_name(opened, missing):
    # The number of frames is read from iq, which is what is missing once.
    given = {missing: None} if missing != "iq" else {"iq": np.zeros((6, 2, 32), "c8")}
    with pytest.raises(DatasetError, match=rf"has no {missing}|iq is complex64"):
        reference_frames(opened(**given))


def test_logits_that_are_no_numbers_are_refused(opened):
    with pytest.raises(DeployError):
        reference_frames(opened(logits=np.full((6, 3), "high")))
