import json

import numpy as np
import pytest
from rich.console import Console

from deploy.bundle import open_bundle, write_manifest
from deploy.classify import classify, softmax
from deploy.classify_table import answers_to_json, classify_table
from deploy.errors import BundleError, MeasurementError, RuntimeNotFoundError
from deploy.frames.npz import open_npz
from deploy.frames.opening import open_frames

# The softmax of (1, 0, -1) at its largest, and of (0, 2, 1): e / (e + 1 + 1/e), and e² / (e² + e + 1).
SURE = np.e**2 / (np.e**2 + np.e + 1)


@pytest.fixture
def bundle(bundle_folder):
    return open_bundle(bundle_folder())


@pytest.fixture
def saved(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "frames.npz", **arrays)
        return open_npz(tmp_path / "frames.npz", labelled=False)

    return save


def answers(bundle, frames, **asked):
    return classify(bundle, frames, **{"precision": "fp32", "runtime": "onnxruntime", **asked})


def test_softmax_by_hand():
    logits = np.log(np.array([[1, 2, 5], [3, 3, 2]], dtype=np.float32))
    np.testing.assert_allclose(softmax(logits), [[1 / 8, 2 / 8, 5 / 8], [3 / 8, 3 / 8, 2 / 8]], rtol=1e-6)


def test_softmax_of_large_logits_does_not_overflow():
    logits = np.array([[1000, 1000 + np.log(3)], [-1e30, 1e30]], dtype=np.float32)
    np.testing.assert_allclose(softmax(logits), [[1 / 4, 3 / 4], [0, 1]], rtol=1e-4)


def test_frames_get_a_class_and_how_sure_it_is(bundle):
    found = answers(bundle, open_npz(bundle.folder / "reference.npz"))
    assert found.classes == ("BPSK", "QPSK", "16QAM")
    assert found.predicted.tolist() == [0, 1, 0, 0, 1, 2]
    np.testing.assert_allclose(found.confidence, [SURE] * 6, rtol=1e-5)
    assert found.correct == pytest.approx(5 / 6)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_precision_and_runtime_names_them_alike(three_precisions, precision, runtime):
    found = answers(
        open_bundle(three_precisions),
        open_npz(three_precisions / "reference.npz"),
        precision=precision,
        runtime=runtime,
    )
    assert found.predicted.tolist() == [0, 1, 0, 0, 1, 2]


def test_frames_without_labels_are_named_and_nothing_is_correct(bundle, saved, steady_frames):
    found = answers(bundle, saved(iq=steady_frames([(0, 1), (1, 0)])))
    assert (found.predicted.tolist(), found.correct) == ([1, 0], None)


def test_labels_go_by_the_name_of_their_class_and_not_its_number(bundle, saved, steady_frames):
    frames = saved(
        iq=steady_frames([(0, 1), (1, 0)]),
        label=np.array([0, 1]),
        snr_db=np.zeros(2),
        classes=np.array(["QPSK", "BPSK"]),
    )
    found = answers(bundle, frames)
    assert (found.predicted.tolist(), found.correct) == ([1, 0], 1.0)


def test_labels_of_other_classes_tell_nothing(bundle, saved, steady_frames):
    frames = saved(
        iq=steady_frames([(0, 1)]), label=np.array([0]), snr_db=np.zeros(1), classes=np.array(["QPSK", "64QAM"])
    )
    assert answers(bundle, frames).correct is None


def test_more_frames_than_a_batch_are_named_with_progress(bundle, saved, steady_frames):
    told = []
    # 64 and 64 and 2.
    frames = saved(iq=steady_frames([(0, 1)] * 128 + [(1, 0), (-1, 0)]))
    found = answers(bundle, frames, progress=lambda done, total, note="": told.append((done, total)))
    assert found.predicted.tolist() == [1] * 128 + [0, 2]
    assert told == [(64, 130), (128, 130), (130, 130)]


def test_recording_without_annotations_is_named_from_end_to_end(bundle, tmp_path):
    # 32 samples of 1, 32 of i, 32 of 1, and some that make no frame.
    samples = np.repeat(np.array([1, 1j, 1, -1], dtype=np.complex64), 32)[: 3 * 32 + 9]
    (tmp_path / "air.sigmf-data").write_bytes(samples.tobytes())
    meta = {"global": {"core:datatype": "cf32_le", "core:version": "1.2.0"}, "captures": [], "annotations": []}
    (tmp_path / "air.sigmf-meta").write_text(json.dumps(meta))
    found = answers(bundle, open_frames(tmp_path / "air.sigmf-meta", 32))
    assert (found.predicted.tolist(), found.correct) == ([0, 1, 0], None)


def test_precision_or_runtime_that_is_not_there_is_told(bundle):
    frames = open_npz(bundle.folder / "reference.npz")
    with pytest.raises(BundleError, match="holds no int8 model"):
        answers(bundle, frames, precision="int8")
    with pytest.raises(RuntimeNotFoundError, match='did you mean "openvino"'):
        answers(bundle, frames, runtime="openvin")


def test_model_that_ends_the_process_is_told(bundle, dying_child):
    frames = open_npz(bundle.folder / "reference.npz")
    with dying_child, pytest.raises(MeasurementError, match=r"fp32\.onnx was ended by signal 11 \(SIGSEGV\)"):
        answers(bundle, frames)


def test_logits_for_another_number_of_classes_are_told(mean_model, manifest_for, write_reference):
    folder = mean_model("b/fp32.onnx").parent
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}, classes=("a", "b")))
    write_reference(folder)
    with pytest.raises(BundleError, match=r"fp32\.onnx: gives 3 logits a frame, and the manifest names 2 classes"):
        answers(open_bundle(folder), open_npz(folder / "reference.npz"))


def test_table_has_the_classes_that_were_named_the_most_frequent_first(bundle, capsys):
    found = answers(bundle, open_npz(bundle.folder / "reference.npz"))
    Console(width=80).print(classify_table("frames.npz", found))
    rows = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert rows == [
        ["BPSK", "3", "50.0%", "66.5%"],
        ["QPSK", "2", "33.3%", "66.5%"],
        ["16QAM", "1", "16.7%", "66.5%"],
    ]


def test_json_has_every_frame_in_the_order_of_the_file(bundle):
    frames = open_npz(bundle.folder / "reference.npz")
    data = answers_to_json(frames, answers(bundle, frames))
    assert json.loads(json.dumps(data, allow_nan=False)) == {
        "source": "reference.npz",
        "length": 32,
        "classes": ["BPSK", "QPSK", "16QAM"],
        "predicted": ["BPSK", "QPSK", "BPSK", "BPSK", "QPSK", "16QAM"],
        "confidence": [0.6652] * 6,
        "correct": pytest.approx(5 / 6),
    }


def test_frame_that_is_not_finite_can_be_told_as_json(bundle, saved, steady_frames):
    frames = saved(iq=steady_frames([(0, 1), (np.nan, 0)]))
    json.dumps(answers_to_json(frames, answers(bundle, frames)), allow_nan=False)
