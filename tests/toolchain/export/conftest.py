"""Small ONNX files whose layers can be counted by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def written(tmp_path):
    """Write nodes and weights as a model from ``iq`` (batch, 2, 8) to ``logits`` (batch, classes); the path is returned."""

    def write(nodes, weights, *, classes, name="model.onnx", opset=18):
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["batch", 2, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        onnx.checker.check_model(model)
        (tmp_path / name).write_bytes(model.SerializeToString())
        return tmp_path / name

    return write


@pytest.fixture
def scaled_network(written):
    """A frame brought to unit power, a convolution of 2 to 4 channels and 3 taps, an activation, a mean, 4 to 3 classes."""
    rng = np.random.default_rng(0)

    def write(**options):
        node = helper.make_node
        nodes = [
            node("Mul", ["iq", "iq"], ["square"], name="scaling/Mul"),
            node("ReduceMean", ["square", "axes12"], ["power"], name="scaling/ReduceMean"),
            node("Sqrt", ["power"], ["rms"], name="scaling/Sqrt"),
            node("Div", ["iq", "rms"], ["unit"], name="scaling/Div"),
            node("Conv", ["unit", "w", "b"], ["c"], name="conv/Conv", pads=[1, 1]),
            node("Relu", ["c"], ["r"], name="conv/Relu"),
            node("ReduceMean", ["r", "axes2"], ["mean"], name="head/ReduceMean", keepdims=0),
            node("Gemm", ["mean", "v", "d"], ["logits"], name="head/Gemm"),
        ]
        weights = {
            "axes12": np.array([1, 2]),
            "axes2": np.array([2]),
            "w": rng.normal(size=(4, 2, 3)).astype(np.float32),
            "b": rng.normal(size=4).astype(np.float32),
            "v": rng.normal(size=(4, 3)).astype(np.float32),
            "d": rng.normal(size=3).astype(np.float32),
        }
        return written(nodes, weights, classes=3, **options)

    return write
