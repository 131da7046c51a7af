import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deploy.runtimes import open_runtime
from toolchain.errors import ExportError
from toolchain.export import int8, to_int8
from toolchain.export.int8 import quantisable


@pytest.fixture
def frames():
    return np.random.default_rng(1).normal(size=(64, 2, 8)).astype(np.float32)


@pytest.fixture
def pair(written):
    """Two dense layers; the second reads one value a thousand times the others, which it does not need, and them."""
    weights = np.random.default_rng(2).normal(size=(8, 4)).astype(np.float32)
    weights[0] = 0
    nodes = [
        helper.make_node("MatMul", ["iq", "v"], ["a"], name="harmless/MatMul"),
        helper.make_node("Mul", ["a", "scale"], ["o"], name="outlier"),
        helper.make_node("MatMul", ["o", "w"], ["b"], name="harmed/MatMul"),
        helper.make_node("ReduceMean", ["b", "axis"], ["logits"], name="mean", keepdims=0),
    ]
    # In integers of one scale the others become 0.
    scale = np.array([1000, 1, 1, 1, 1, 1, 1, 1], np.float32)
    values = {"v": np.eye(8, dtype=np.float32), "scale": scale, "w": weights, "axis": np.array([1])}
    return written(nodes, values, classes=4)


def logits(path, frames):
    with open_runtime("onnxruntime", path) as runtime:
        return runtime.run(frames)


def judge_by(source, frames, tolerance):
    """The share of logits that a file gives as ``source`` does."""
    expected = logits(source, frames)
    return lambda path: float((np.abs(logits(path, frames) - expected) < tolerance).mean())


def test_activations_and_weights_are_symmetric_integers_and_biases_float(scaled_network, frames, tmp_path):
    source = scaled_network()
    left = to_int8(source, tmp_path / "int8.onnx", frames, lambda path: True)
    assert left == ()
    graph = onnx.load(tmp_path / "int8.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    quantising = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert {kinds[node.input[2]] for node in quantising} == {TensorProto.INT8}
    assert not any(tensors[node.input[2]].any() for node in quantising)
    # By output channel: four of the convolution's.
    (weight,) = [node for node in quantising if node.input[0] == "w_quantized"]
    assert tensors[weight.input[1]].shape == (4,)
    # TensorRT's parser refuses a bias in int32.
    assert {tensors[name].dtype for name in ("b", "d")} == {np.dtype(np.float32)}
    with open_runtime("onnxruntime", tmp_path / "int8.onnx") as runtime:
        runtime.run(frames)
        assert runtime.precision == "int8"


def test_weights_are_the_nearest_integers_of_their_channels_scale(scaled_network, frames, tmp_path):
    source = scaled_network()
    to_int8(source, tmp_path / "int8.onnx", frames, lambda path: True)
    before = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(source).graph.initializer}["w"]
    tensors = {
        each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(tmp_path / "int8.onnx").graph.initializer
    }
    scale = np.abs(before).max(axis=(1, 2)) / 127
    np.testing.assert_allclose(tensors["w_scale"], scale, rtol=0.01)
    np.testing.assert_allclose(
        tensors["w_quantized"] * tensors["w_scale"][:, None, None], before, atol=scale.max() * 0.51
    )


def test_the_layers_that_cost_accuracy_stay_float_and_are_named(pair, frames, tmp_path):
    judge = judge_by(pair, frames, tolerance=0.2)
    left = to_int8(pair, tmp_path / "int8.onnx", frames, lambda path: judge(path) >= 0.95)
    assert left == ("harmed/MatMul",)
    assert judge(tmp_path / "int8.onnx") >= 0.95
    kinds = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert "QuantizeLinear" in kinds


@pytest.mark.parametrize("enough", range(1, 6))
def test_the_file_that_is_left_is_the_one_that_was_found_good(written, frames, tmp_path, enough, caplog):
    """Six layers, of which the ``enough`` that cost most must stay float: whichever file was tried last."""
    nodes, weights, at = [], {"axis": np.array([1])}, "iq"
    for number in range(6):
        weights[f"w{number}"] = (number + 1) * np.eye(8, dtype=np.float32)
        nodes.append(helper.make_node("MatMul", [at, f"w{number}"], [at := f"x{number}"], name=f"layer{number}"))
    nodes.append(helper.make_node("ReduceMean", [at, "axis"], ["logits"], name="mean", keepdims=0))
    source = written(nodes, weights, classes=8)

    def float_layers(path):
        products = [node for node in onnx.load(path).graph.node if node.op_type == "MatMul"]
        return tuple(node.name for node in products if node.input[1] in weights)

    left = to_int8(source, tmp_path / "int8.onnx", frames, lambda path: len(float_layers(path)) >= enough)
    assert len(left) == enough
    assert float_layers(tmp_path / "int8.onnx") == left
    said = f"int8.onnx: {enough} of 6 layers stay in fp32 for the sake of accuracy"
    assert (said in caplog.text) == (enough > 3)


def test_layers_are_ranked_on_frames_from_all_over(pair, frames, tmp_path, monkeypatch):
    """They are sorted by class: the first ones are of one class."""
    asked = []
    real = int8.quantise

    def quantise(source, path, frames, nodes):
        asked.append(frames[:, 0, 0])
        real(source, path, frames, nodes)

    monkeypatch.setattr(int8, "quantise", quantise)
    many = np.resize(frames, (256, 2, 8)).copy()
    many[:, 0, 0] = np.arange(256)
    good = iter([False, True])
    to_int8(pair, tmp_path / "int8.onnx", many, lambda path: next(good, True))
    few = min(asked, key=len)
    assert len(few) == 64
    assert few.max() - few.min() > 240


def test_where_no_layer_can_be_quantised_nothing_is_written(pair, frames, tmp_path):
    with pytest.raises(ExportError, match=r"int8\.onnx: no layer can be quantised .*; leave int8 out"):
        to_int8(pair, tmp_path / "int8.onnx", frames, lambda path: False)
    assert not (tmp_path / "int8.onnx").exists()


def test_a_model_without_layers_to_quantise_is_refused(written, frames, tmp_path):
    source = written(
        [helper.make_node("ReduceMean", ["iq", "axis"], ["logits"], keepdims=0)], {"axis": np.array([2])}, classes=2
    )
    assert quantisable(source) == []
    with pytest.raises(ExportError, match="has no layer that int8 is written for"):
        to_int8(source, tmp_path / "int8.onnx", frames, lambda path: True)


def test_equal_models_and_frames_give_equal_bytes(scaled_network, frames, tmp_path):
    source = scaled_network()
    for name in ("one.onnx", "two.onnx"):
        to_int8(source, tmp_path / name, frames, lambda path: True)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_the_quantisers_advice_is_kept_off_the_terminal_and_logging_is_as_before(
    scaled_network, frames, tmp_path, caplog
):
    to_int8(scaled_network(), tmp_path / "int8.onnx", frames, lambda path: True)
    assert not caplog.records
    logging.getLogger("toolchain").warning("heard")
    assert "heard" in caplog.text
