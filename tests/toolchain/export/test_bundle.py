import json

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from deploy.bundle import open_bundle
from deploy.bundle_check import check_bundle
from deploy.frames.npz import open_npz
from toolchain.data import Part, open_dataset, stratified_split, write_h5
from toolchain.errors import ExportError
from toolchain.export import Frames, from_model, from_onnx, write_bundle
from toolchain.models import ModelCard, create_model
from toolchain.training import logits_of

CLASSES = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """400 frames of noise of 64 samples, 5 classes, 4 SNRs, at 200 kHz."""
    path = tmp_path_factory.mktemp("data") / "frames.h5"
    write_h5(
        path,
        iq=np.random.default_rng(0).normal(size=(400, 2, 64)).astype(np.float32),
        label=np.tile(np.arange(5), 80),
        snr_db=np.repeat([0.0, 6.0, 12.0, 18.0], 100).astype(np.float32),
        classes=CLASSES,
        sample_rate_hz=200e3,
        made_by="noise",
    )
    return open_dataset(path)


@pytest.fixture(scope="module")
def judged_by(dataset):
    split = stratified_split(dataset.labels, dataset.snr_db, seed=1, classes=dataset.classes)
    parts = {name: Part(dataset, getattr(split, name)) for name in ("train", "validation", "test")}
    return Frames(**parts, calibration=64, reference=40)


@pytest.fixture(scope="module")
def exported(dataset, judged_by, tmp_path_factory):
    """A model and its bundle; exporting takes seconds, so once."""
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1)).eval()
    card = ModelCard(architecture="resnet1d20", classes=CLASSES, length=64)
    folder = tmp_path_factory.mktemp("bundle")
    # Of a model that knows nothing, any precision may name more frames wrongly.
    scored = write_bundle(folder, from_model(model, card), judged_by, ("int8", "fp32", "fp16"), most_drop=0.2)
    return model, folder, scored


def test_a_bundle_holds_every_precision_and_says_what_each_is(exported, judged_by):
    model, folder, scored = exported
    bundle = open_bundle(folder)
    assert bundle.manifest == open_bundle(folder).manifest
    assert sorted(path.name for path in folder.iterdir()) == [
        "fp16.onnx", "fp32.onnx", "int8.onnx", "manifest.json", "reference.npz",
    ]  # fmt: skip
    assert list(bundle.manifest.precisions) == ["fp32", "fp16", "int8"]
    assert (bundle.manifest.input.sample_rate_hz, bundle.manifest.input.shape) == (200e3, (2, 64))
    predicted = logits_of(model, judged_by.test.dataset.frames(judged_by.test.indices)).numpy().argmax(axis=1)
    fp32 = bundle.manifest.precisions["fp32"]
    assert fp32.accuracy.overall == pytest.approx((predicted == judged_by.test.labels).mean())
    assert list(fp32.accuracy.by_snr) == ["0", "6", "12", "18"]
    assert np.array(scored.confusion["fp32"]).sum() == len(judged_by.test)
    for entry in bundle.manifest.precisions.values():
        assert sum(layer.macs for layer in entry.layers) == entry.macs
        assert entry.parity.frames == 40


def test_reference_frames_are_a_set_with_the_answers_of_the_original(exported, judged_by):
    model, folder, _ = exported
    frames = open_npz(folder / "reference.npz")
    assert (len(frames), frames.classes, frames.sample_rate_hz) == (40, CLASSES, 200e3)
    # Spread over the 5 classes and 4 SNRs: two of each.
    assert set(np.unique(frames.labels * 100 + frames.snr_db.astype(int), return_counts=True)[1]) == {2}
    logits = np.load(folder / "reference.npz")["logits"]
    np.testing.assert_array_equal(logits, logits_of(model, frames.frames(np.arange(40))).numpy())


def test_the_bundle_checks_out_in_the_runtime_of_the_device(exported):
    checks = check_bundle(open_bundle(exported[1]), "onnxruntime")
    assert [(check.precision, check.problems) for check in checks] == [("fp32", ()), ("fp16", ()), ("int8", ())]


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_files_of_every_precision_take_any_batch(exported, batch, frames):
    from deploy.runtimes import open_runtime

    many = np.resize(frames, (batch, 2, 64))
    for precision in ("fp32", "fp16", "int8"):
        with open_runtime("onnxruntime", exported[1] / f"{precision}.onnx") as runtime:
            assert runtime.run(many).shape == (batch, 5)


def test_a_bundle_of_one_precision_holds_that_alone(judged_by, tmp_path):
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1)).eval()
    origin = from_model(model, ModelCard(architecture="resnet1d20", classes=CLASSES, length=64))
    write_bundle(tmp_path, origin, judged_by, ("fp16",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp16.onnx", "manifest.json", "reference.npz"]


@pytest.fixture
def foreign(tmp_path):
    """Somebody else's ONNX file: opset 11, nodes without names, a mean over 64 samples and a dense layer."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["y"]),
    ]
    weights = {"w": np.eye(2, 5, dtype=np.float32), "b": np.zeros(5, np.float32)}
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2, 64])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "theirs.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6).SerializeToString()
    )
    return path


def test_somebody_elses_onnx_becomes_a_bundle(foreign, judged_by, tmp_path):
    origin = from_onnx(foreign, CLASSES)
    assert (origin.length, origin.classes, origin.params, origin.macs) == (64, CLASSES, 15, 10)
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_bundle(folder, origin, judged_by, ("fp32", "fp16", "int8"), most_drop=0.2)
    manifest = open_bundle(folder).manifest
    assert (manifest.model, manifest.input.scaling) == ("theirs.onnx", "as the ONNX file does it")
    assert [layer.op for layer in manifest.precisions["fp32"].layers] == ["ReduceMean", "Gemm"]


def test_classes_of_an_onnx_file_come_from_its_metadata_else_as_many_as_its_logits_are_asked_for(foreign):
    model = onnx.load(foreign)
    onnx.helper.set_model_props(model, {"classes": json.dumps(list(CLASSES[::-1]))})
    onnx.save(model, foreign)
    assert from_onnx(foreign, CLASSES).classes == CLASSES[::-1]
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(ExportError, match=r"gives 5 logits; expected with --classes, .*; got 2 classes: A, B"):
        from_onnx(foreign, ("A", "B"))


@pytest.mark.parametrize("content", [b"", b"no ONNX at all", b"\x08\x09"])
def test_a_file_that_is_no_onnx_is_refused(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"bad\.onnx: (is no ONNX model|onnxruntime cannot open)"):
        from_onnx(tmp_path / "bad.onnx", CLASSES)
