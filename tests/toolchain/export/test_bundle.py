import json
from dataclasses import replace

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
def dataset(noise_set, tmp_path_factory):
    """400 frames of noise of 64 samples, 5 classes, 4 SNRs, at 200 kHz."""
    path = tmp_path_factory.mktemp("data") / "frames.h5"
    noise_set(path, classes=CLASSES, length=64, sample_rate_hz=200e3)
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
    assert bundle.manifest == scored.manifest.model_copy(update={"manifest_sha256": bundle.manifest.manifest_sha256})
    assert sorted(path.name for path in folder.iterdir()) == [
        "fp16.onnx", "fp32.onnx", "int8.onnx", "manifest.json", "reference.npz",
        "trtexec-fp32.onnx", "trtexec-int8.onnx", "trtexec.sh",
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
    # What the processor computed in, which is not always what the file holds.
    assert bundle.manifest.precisions["int8"].parity.executed == "int8"
    assert fp32.parity.executed == "fp32"


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
    for precision in ("fp32", "fp16", "int8"):
        model = onnx.load(folder / f"{precision}.onnx")
        assert [each.name for each in (*model.graph.input, *model.graph.output)] == ["iq", "logits"]
        noted = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(noted["classes"]) == list(CLASSES)


def test_classes_of_an_onnx_file_come_from_its_metadata_else_as_many_as_its_logits_are_asked_for(foreign, caplog):
    model = onnx.load(foreign)
    onnx.helper.set_model_props(model, {"classes": json.dumps(list(CLASSES[::-1])), "author": "them"})
    onnx.save(model, foreign)
    assert from_onnx(foreign, CLASSES, guessed=True).classes == CLASSES[::-1]
    assert not caplog.records
    del model.metadata_props[:]
    onnx.save(model, foreign)
    assert from_onnx(foreign, CLASSES, guessed=True).classes == CLASSES
    assert (
        "does not say its classes; its logits are taken for 8PSK, AM-DSB, BPSK, GFSK, WBFM, in this order"
        in caplog.text
    )
    with pytest.raises(ExportError, match=r"gives 5 logits, and there are 2 classes: A, B; say them with --classes"):
        from_onnx(foreign, ("A", "B"))


def test_a_model_of_one_batch_alone_is_refused(foreign):
    model = onnx.load(foreign)
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, foreign)
    with pytest.raises(ExportError, match=r"takes a batch of 4 alone; expected any batch of frames of one length"):
        from_onnx(foreign, CLASSES)


def test_a_model_that_mixes_the_frames_of_a_batch_is_refused(foreign, judged_by, tmp_path):
    model = onnx.load(foreign)
    # What is common to the frames is taken out of each.
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["x"], ["common"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "common"], ["own"]),
            helper.make_node("ReduceMean", ["own"], ["m"], axes=[2], keepdims=0),
            helper.make_node("Gemm", ["m", "w", "b"], ["y"]),
        ]
    )
    onnx.save(model, foreign)
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ExportError, match=r"fp32\.onnx does not compute what the model does"):
        write_bundle(tmp_path / "bundle", from_onnx(foreign, CLASSES), judged_by, ("fp32",))


def watched(judged_by):
    """The frames, and the places of those that are read, in their order, by split."""
    seen = {name: [] for name in ("train", "validation", "test")}
    dataset = judged_by.train.dataset

    def part(name):
        def read(places, out):
            seen[name] += places.tolist()
            dataset.read(places, out)

        return Part(replace(dataset, read=read), getattr(judged_by, name).indices)

    return seen, Frames(**{name: part(name) for name in seen}, calibration=64, reference=40)


@pytest.fixture(scope="module")
def small_origin():
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1)).eval()
    return from_model(model, ModelCard(architecture="resnet1d20", classes=CLASSES, length=64))


def test_the_test_split_is_read_once_a_file_and_nothing_is_chosen_by_it(judged_by, small_origin, tmp_path):
    read, frames = watched(judged_by)
    write_bundle(tmp_path, small_origin, frames, ("fp32", "fp16", "int8"), most_drop=0.2)
    # Three files, each scored on the whole split, and not a frame more.
    assert sorted(read["test"]) == sorted(3 * frames.test.indices.tolist())
    # int8's ranges are of 64 training frames.
    assert (len(read["train"]), set(read["train"]) <= set(frames.train.indices)) == (64, True)
    with np.load(tmp_path / "reference.npz") as arrays:
        theirs = {frame.tobytes() for frame in arrays["iq"]}
    every = judged_by.train.dataset.frames(frames.validation.indices)
    assert theirs <= {frame.tobytes() for frame in every}


def negated(source, path):
    """Write the model of ``source`` with its logits negated: the least likely class becomes the likeliest."""
    model = onnx.load(source)
    head = model.graph.node[-1]
    for tensor in model.graph.initializer:
        if tensor.name in head.input[1:]:
            tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, path)


@pytest.fixture(scope="module")
def knowing(judged_by, tmp_path_factory):
    """A model that names every frame rightly, and the frames: each class is a constant of its own."""
    levels = np.array([[2, 0], [1, 1], [0, 2], [-1, 1], [-2, 0]], np.float32)
    labels = np.tile(np.arange(5), 80)
    path = tmp_path_factory.mktemp("known") / "frames.h5"
    write_h5(
        path,
        iq=np.repeat(levels[labels][:, :, None], 64, axis=2),
        label=labels,
        snr_db=np.repeat([0.0, 6.0, 12.0, 18.0], 100).astype(np.float32),
        classes=CLASSES,
        sample_rate_hz=None,
        made_by="levels",
    )
    dataset = open_dataset(path)
    frames = Frames(
        **{name: Part(dataset, getattr(judged_by, name).indices) for name in ("train", "validation", "test")},
        calibration=64,
        reference=40,
    )
    weights = {"w": levels.T.copy(), "b": -0.5 * (levels**2).sum(axis=1), "axis": np.array([2])}
    nodes = [
        helper.make_node("ReduceMean", ["iq", "axis"], ["m"], keepdims=0, name="mean"),
        helper.make_node("Gemm", ["m", "w", "b"], ["logits"], name="dense"),
    ]
    graph = helper.make_graph(
        nodes,
        "knowing",
        [helper.make_tensor_value_info("iq", onnx.TensorProto.FLOAT, ["n", 2, 64])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path.parent / "m.onnx"
    )
    return from_onnx(path.parent / "m.onnx", CLASSES), frames


def test_a_half_that_loses_accuracy_is_refused(knowing, tmp_path, monkeypatch):
    origin, frames = knowing
    monkeypatch.setattr("toolchain.export.bundle.to_half", lambda source, path, frames: negated(source, path))
    with pytest.raises(
        ExportError, match=r"fp16\.onnx: its accuracy .* is 0\.00%, more than 0\.5 points below that of fp32"
    ):
        write_bundle(tmp_path, origin, frames, ("fp32", "fp16"))


def test_int8_is_asked_to_keep_within_the_drop_and_what_stayed_float_is_named(knowing, tmp_path, monkeypatch):
    origin, frames = knowing
    asked = {}

    def stand_in(source, path, calibration, is_good, *, progress):
        negated(source, path)
        asked["negated"] = is_good(path)
        path.write_bytes(source.read_bytes())
        asked["the same"] = is_good(path)
        asked["frames"] = len(calibration)
        return ("dense",)

    monkeypatch.setattr("toolchain.export.bundle.to_int8", stand_in)
    manifest = write_bundle(tmp_path, origin, frames, ("int8",)).manifest
    assert asked == {"negated": False, "the same": True, "frames": 64}
    assert manifest.precisions["int8"].float_layers == ("dense",)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("int8.onnx", "manifest.json", "reference.npz", "trtexec-int8.onnx", "trtexec.sh")
    ]
