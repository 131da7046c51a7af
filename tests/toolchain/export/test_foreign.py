"""Somebody else's ONNX files: other names, other opsets, weights in other places."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolchain.errors import ExportError
from toolchain.export.foreign import in_own_form
from toolchain.export.int8 import QUANTISED

node = helper.make_node
EYE = np.eye(2, 3, dtype=np.float32)


@pytest.fixture
def theirs(tmp_path):
    """Write a model from ``x`` (n, 2, 8) to ``y`` (n, 3); the path is returned."""

    def write(nodes, weights, *, opset=17, as_inputs=(), ends=("x", "y"), ir_version=8):
        listed = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(weights[name].dtype), weights[name].shape
            )
            for name in as_inputs
        ]
        graph = helper.make_graph(
            nodes,
            "theirs",
            [helper.make_tensor_value_info(ends[0], TensorProto.FLOAT, ["n", 2, 8]), *listed],
            [helper.make_tensor_value_info(ends[1], TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
        onnx.checker.check_model(model)
        (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "theirs.onnx"

    return write


def answers(model, frames):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: frames})[0]


def same(path):
    """The model in our form, of which it is shown that it computes what theirs does, and is called as ours are."""
    frames = np.random.default_rng(0).normal(size=(4, 2, 8)).astype(np.float32)
    model = in_own_form(path)
    np.testing.assert_allclose(answers(model, frames), answers(onnx.load(path), frames), rtol=1e-6)
    assert [each.name for each in model.graph.input] == ["iq"]
    assert [each.name for each in model.graph.output] == ["logits"]
    names = [each.name for each in model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    return model


def dense(weight="w"):
    return [node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0), node("MatMul", ["m", weight], ["y"])]


def test_ends_and_nodes_get_names(theirs):
    assert [each.name for each in same(theirs(dense(), {"w": EYE})).graph.node] == ["ReduceMean_0", "MatMul_1"]


def test_a_name_that_a_node_has_is_given_to_no_other(theirs):
    nodes = dense()
    nodes[0].name = "MatMul_1"
    assert [each.name for each in same(theirs(nodes, {"w": EYE})).graph.node] == ["MatMul_1", "MatMul_1_2"]


def test_names_of_ours_that_are_taken_inside_make_way(theirs):
    nodes = [
        node("Relu", ["x"], ["logits"]),
        node("ReduceMean", ["logits"], ["iq"], axes=[2], keepdims=0),
        node("MatMul", ["iq", "w"], ["y"]),
    ]
    same(theirs(nodes, {"w": EYE}))


def test_ends_that_are_called_as_ours_the_other_way_round(theirs):
    nodes = [node("ReduceMean", ["logits"], ["m"], axes=[2], keepdims=0), node("MatMul", ["m", "w"], ["iq"])]
    same(theirs(nodes, {"w": EYE}, ends=("logits", "iq")))


def test_constants_are_weights_wherever_they_stand(theirs):
    nodes = [
        node("Constant", [], ["w"], value=numpy_helper.from_array(EYE)),
        node("Identity", ["w"], ["again"]),
        node("Identity", ["again"], ["and_again"]),
        node("Constant", [], ["twos"], value_floats=[2.0, 2.0, 2.0]),
        node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0),
        node("MatMul", ["m", "and_again"], ["z"]),
        node("Mul", ["z", "twos"], ["y"]),
    ]
    model = same(theirs(nodes, {}))
    assert [each.op_type for each in model.graph.node] == ["ReduceMean", "MatMul", "Mul"]
    constants = {each.name for each in model.graph.initializer}
    assert all(each.input[1] in constants for each in model.graph.node if each.op_type in QUANTISED)


def test_weights_that_are_listed_as_inputs_are_none(theirs):
    same(theirs(dense(), {"w": EYE}, as_inputs=("w",), ir_version=3))


@pytest.mark.parametrize(("opset", "becomes"), [(9, 18), (11, 18), (13, 13), (17, 17)])
def test_an_opset_that_cannot_be_quantised_is_raised(theirs, opset, becomes):
    model = same(theirs(dense(), {"w": EYE}, opset=opset))
    assert model.opset_import[0].version == becomes


def test_an_opset_that_tensorrt_does_not_read_is_lowered(theirs):
    nodes = [node("ReduceMean", ["x", "axis"], ["m"], keepdims=0), node("MatMul", ["m", "w"], ["y"])]
    model = same(theirs(nodes, {"w": EYE, "axis": np.array([2])}, opset=22, ir_version=10))
    assert model.opset_import[0].version == 18


def test_graphs_inside_of_nodes_see_the_new_names(theirs):
    def branch(name, op):
        # The branches read what lies outside of them.
        output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["n", 2, 8])
        return helper.make_graph([node(op, ["x"], [f"{name}_out"])], name, [], [output])

    nodes = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "zero"], ["positive"]),
        node("If", ["positive"], ["b"], then_branch=branch("then", "Relu"), else_branch=branch("else", "Neg")),
        node("ReduceMean", ["b"], ["m"], axes=[2], keepdims=0),
        node("MatMul", ["m", "w"], ["y"]),
    ]
    same(theirs(nodes, {"w": EYE, "zero": np.float32(0)}))


def test_what_is_quantised_already_is_refused(theirs):
    weights = {"s": np.float32(0.1), "z": np.int8(0), "w": EYE}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("ReduceMean", ["d"], ["m"], axes=[2], keepdims=0),
        node("MatMul", ["m", "w"], ["y"]),
    ]
    with pytest.raises(
        ExportError, match=r"theirs\.onnx: is quantised already \(QuantizeLinear\); give the fp32 model"
    ):
        in_own_form(theirs(nodes, weights))


def test_half_precision_is_refused(theirs):
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("ReduceMean", ["h"], ["m"], axes=[2], keepdims=0),
        node("MatMul", ["m", "w"], ["z"]),
        node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(ExportError, match=r"has weights in half precision; give the fp32 model"):
        in_own_form(theirs(nodes, {"w": EYE.astype(np.float16)}))


def test_weights_in_a_file_that_is_missing_are_told(theirs, tmp_path):
    path = theirs(dense(), {"w": EYE})
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ExportError, match=r"theirs\.onnx: its weights are in another file, which is missing"):
        in_own_form(path)


@pytest.mark.parametrize("content", [b"", b"no ONNX at all", b"\x08\x09"])
def test_a_file_that_is_no_onnx_is_refused(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"bad\.onnx: is no ONNX model"):
        in_own_form(tmp_path / "bad.onnx")
