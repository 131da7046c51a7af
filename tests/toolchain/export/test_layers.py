import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from deploy.bundle import Layer
from toolchain.cost import cost
from toolchain.export import export_onnx, layers_of
from toolchain.export.int8 import quantisable, quantise
from toolchain.models import create_model


def facts(path):
    return {
        layer.name: (layer.op, layer.macs, layer.bytes_in, layer.bytes_out, layer.bytes_weights)
        for layer in layers_of(onnx.load(path))
    }


def test_layers_are_counted_for_one_frame(scaled_network):
    # 8 samples: 4 channels out of 2, 3 taps; bytes of float32, the bias with the weights.
    layers = facts(scaled_network())
    assert layers["conv/Conv"] == ("Conv", 8 * 4 * 2 * 3, 2 * 8 * 4, 4 * 8 * 4, (24 + 4) * 4)
    assert layers["conv/Relu"] == ("Relu", 0, 4 * 8 * 4, 4 * 8 * 4, 0)
    # The axis along which is averaged is an int64 in the file.
    assert layers["head/ReduceMean"] == ("ReduceMean", 0, 4 * 8 * 4, 4 * 4, 8)
    assert layers["head/Gemm"] == ("Gemm", 4 * 3, 4 * 4, 3 * 4, (12 + 3) * 4)
    assert next(iter(layers)) == "scaling/Mul"


def test_what_is_quantised_counts_as_the_integers_that_it_becomes(scaled_network, tmp_path):
    source = scaled_network()
    frames = np.random.default_rng(1).normal(size=(16, 2, 8)).astype(np.float32)
    quantise(source, tmp_path / "int8.onnx", frames, quantisable(source))
    layers = facts(tmp_path / "int8.onnx")
    # One byte a value but for the bias, which stays float32. The convolution's output is quantised as well.
    assert layers["conv/Conv"] == ("Conv", 8 * 4 * 2 * 3, 2 * 8, 4 * 8, 24 + 4 * 4)
    assert not any(op.endswith("QuantizeLinear") for op, *_ in layers.values())
    assert sum(macs for _, macs, *_ in layers.values()) == 8 * 4 * 2 * 3 + 4 * 3


@pytest.mark.parametrize(
    ("node", "weights", "macs"),
    [
        # Groups: each output channel sees one input channel.
        (helper.make_node("Conv", ["iq", "w"], ["y"], group=2), {"w": np.zeros((4, 1, 3), np.float32)}, 6 * 4 * 3),
        (helper.make_node("Conv", ["iq", "w"], ["y"], strides=[2]), {"w": np.zeros((4, 2, 2), np.float32)}, 4 * 4 * 4),
        (helper.make_node("ConvTranspose", ["iq", "w"], ["y"]), {"w": np.zeros((2, 4, 3), np.float32)}, 16 * 4 * 3),
        (helper.make_node("MatMul", ["iq", "w"], ["y"]), {"w": np.zeros((8, 5), np.float32)}, 2 * 5 * 8),
        (helper.make_node("Relu", ["iq"], ["y"]), {}, 0),
        (helper.make_node("Einsum", ["iq", "w"], ["y"], equation="bct,td->bcd"), {"w": np.zeros((8, 5), np.float32)}, None),
    ],
)  # fmt: skip
def test_products_are_counted_operator_by_operator_and_what_nobody_knows_is_none(written, node, weights, macs):
    mean = helper.make_node("ReduceMean", ["y", "axis"], ["logits"], keepdims=0)
    path = written([node, mean], {**weights, "axis": np.array([2])}, classes=None)
    assert layers_of(onnx.load(path))[0].macs == macs


@pytest.mark.parametrize("gates", [4, 3, 1])
def test_recurrent_layers_are_counted_by_their_gates(written, gates):
    kind = {4: "LSTM", 3: "GRU", 1: "RNN"}[gates]
    nodes = [
        helper.make_node("Transpose", ["iq"], ["steps"], perm=[2, 0, 1]),
        helper.make_node(kind, ["steps", "w", "r"], ["", "last"], hidden_size=5),
        helper.make_node("Squeeze", ["last", "axis"], ["logits"]),
    ]
    weights = {
        "w": np.zeros((1, gates * 5, 2), np.float32),
        "r": np.zeros((1, gates * 5, 5), np.float32),
        "axis": np.array([0]),
    }
    assert layers_of(onnx.load(written(nodes, weights, classes=5)))[1].macs == 8 * gates * 5 * (2 + 5)


# Others are slow to export; the sums of these are of convolutions, attention and recurrent layers.
@pytest.mark.parametrize("name", ["resnet1d20", "pet-cgdnn", pytest.param("transformer", marks=pytest.mark.slow)])
def test_the_sum_is_that_of_the_model(name, tmp_path):
    model = create_model(name, generator=torch.Generator().manual_seed(0)).eval()
    export_onnx(model, tmp_path / "m.onnx", classes=[str(number) for number in range(11)], length=128)
    assert sum(layer.macs for layer in layers_of(onnx.load(tmp_path / "m.onnx"))) == cost(model, (2, 128)).macs


def test_what_depends_on_the_frame_is_unknown(written):
    node = helper.make_node
    nodes = [
        node("NonZero", ["iq"], ["places"], name="places"),
        node("Cast", ["places"], ["numbers"], to=1, name="numbers"),
        node("ReduceMean", ["numbers"], ["mean"], name="mean"),
        node("MatMul", ["mean", "w"], ["logits"], name="dense"),
    ]
    rows = {
        row.name: row for row in layers_of(onnx.load(written(nodes, {"w": np.ones((1, 3), np.float32)}, classes=3)))
    }
    assert (rows["places"].bytes_in, rows["places"].bytes_out) == (2 * 8 * 4, None)
    assert rows["numbers"].bytes_in is None
    assert rows["places"].macs == 0
    assert rows["dense"].bytes_weights == 12


def test_a_product_of_what_depends_on_the_frame_is_unknown(written):
    node = helper.make_node
    nodes = [
        node("NonZero", ["iq"], ["places"], name="places"),
        node("Cast", ["places"], ["numbers"], to=1, name="numbers"),
        node("Transpose", ["numbers"], ["turned"], name="turned"),
        node("MatMul", ["turned", "w"], ["logits"], name="dense"),
    ]
    rows = {
        row.name: row for row in layers_of(onnx.load(written(nodes, {"w": np.ones((3, 3), np.float32)}, classes=3)))
    }
    assert rows["dense"].macs is None


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"),
    [
        ((8,), (3,), {"pads": [1, 1]}),
        ((8,), (5,), {"pads": [4, 0], "strides": [2]}),
        ((9,), (3,), {"pads": [2, 3], "dilations": [2]}),
        # An image of one row: two of three rows of a kernel are beside it.
        ((1, 8), (3, 3), {"pads": [1, 1, 1, 1]}),
        ((2, 9), (3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((2, 8), (2, 4), {}),
        # The last is at the end where the number is odd, and at the beginning with the other name.
        ((8,), (4,), {"auto_pad": "SAME_UPPER", "strides": [3]}),
        ((8,), (4,), {"auto_pad": "SAME_LOWER"}),
        ((8,), (4,), {"auto_pad": "VALID"}),
    ],
)
def test_products_on_padding_are_those_that_a_convolution_of_ones_lacks(shape, kernel, attributes):
    # 2 channels to 3: with ones for frames and weights each output is the number of products that lie inside.
    weight = np.ones((3, 2, *kernel), np.float32)
    node = helper.make_node("Conv", ["iq", "w"], ["y"], **attributes)
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("iq", onnx.TensorProto.FLOAT, ["batch", 2, *shape])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)], [onnx.numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (layer,) = layers_of(model)
    ones = np.ones((1, 2, *shape), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"iq": ones})
    assert layer.macs == outputs.size * 2 * np.prod(kernel)
    assert layer.macs - layer.macs_on_padding == outputs.sum()


def test_a_manifest_from_before_padding_was_counted_is_read():
    old = {"name": "a", "op": "Conv", "macs": 5, "bytes_in": 1, "bytes_out": 1, "bytes_weights": 1}
    assert Layer.model_validate(old).macs_on_padding == 0
