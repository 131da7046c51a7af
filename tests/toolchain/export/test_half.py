import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deploy.runtimes import open_runtime
from toolchain.errors import ExportError
from toolchain.export import to_half
from toolchain.export.half import largest_values


@pytest.fixture
def frames():
    return np.random.default_rng(1).normal(size=(16, 2, 8)).astype(np.float32)


def kinds_of(path):
    """The element type of every value."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def run(path, frames):
    with open_runtime("onnxruntime", path) as runtime:
        return runtime.run(frames)


def test_all_behind_the_scaling_is_half_precision_and_frames_and_logits_are_not(scaled_network, tmp_path, frames):
    to_half(scaled_network(), tmp_path / "fp16.onnx", frames)
    kinds = kinds_of(tmp_path / "fp16.onnx")
    assert {kinds[name] for name in ("iq", "square", "power", "rms", "unit", "logits")} == {TensorProto.FLOAT}
    assert {kinds[name] for name in ("c", "r", "mean", "logits_inner")} == {TensorProto.FLOAT16}
    weights = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "fp16.onnx").graph.initializer}
    assert {weights[f"{name}_half"] for name in "wbvd"} == {TensorProto.FLOAT16}


def test_logits_are_those_of_float32_to_the_precision_of_half(scaled_network, tmp_path, frames):
    source = scaled_network()
    to_half(source, tmp_path / "fp16.onnx", frames)
    expected, got = run(source, frames), run(tmp_path / "fp16.onnx", frames)
    assert 0 < np.abs(expected - got).max() < 4e-3 * np.abs(expected).max()


def test_frames_of_a_radios_integers_do_not_overflow(scaled_network, tmp_path, frames):
    to_half(scaled_network(), tmp_path / "fp16.onnx", frames)
    large = run(tmp_path / "fp16.onnx", 30_000 * frames)
    np.testing.assert_allclose(large, run(tmp_path / "fp16.onnx", frames), atol=1e-2)


def test_a_constant_that_both_parts_read_is_there_in_both_types(written, tmp_path, frames):
    node = helper.make_node
    nodes = [
        node("Mul", ["iq", "two"], ["a"], name="a"),
        node("Conv", ["a", "w"], ["b"], name="b"),
        node("Mul", ["b", "two"], ["c"], name="c"),
        node("Mul", ["c", "two"], ["d"], name="d"),
        node("ReduceMean", ["d", "axis"], ["logits"], name="e", keepdims=0),
    ]
    weights = {"two": np.float32(2), "w": np.ones((3, 2, 1), np.float32), "axis": np.array([2])}
    source = written(nodes, weights, classes=3)
    to_half(source, tmp_path / "fp16.onnx", frames)
    np.testing.assert_allclose(run(tmp_path / "fp16.onnx", frames), run(source, frames), rtol=1e-2, atol=1e-2)


def test_equal_files_give_equal_bytes(scaled_network, tmp_path, frames):
    source = scaled_network()
    for name in ("one.onnx", "two.onnx"):
        to_half(source, tmp_path / name, frames)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_weights_that_half_precision_cannot_hold_are_refused(written, tmp_path, frames):
    nodes = [
        helper.make_node("Conv", ["iq", "w"], ["c"], name="c"),
        helper.make_node("ReduceMean", ["c", "axis"], ["logits"], name="m", keepdims=0),
    ]
    source = written(nodes, {"w": np.full((3, 2, 1), 1e5, np.float32), "axis": np.array([2])}, classes=3)
    with pytest.raises(ExportError, match=r"w holds values beyond 65504, the largest of fp16"):
        to_half(source, tmp_path / "fp16.onnx", frames)
    assert not (tmp_path / "fp16.onnx").exists()


def test_values_that_half_precision_cannot_hold_are_refused(written, tmp_path, frames):
    """ONNX Runtime computes fp16 files in float32 on the processor: their answers would show nothing."""
    nodes = [
        helper.make_node("Conv", ["iq", "w"], ["c"], name="c"),
        helper.make_node("ReduceMean", ["c", "axis"], ["logits"], name="m", keepdims=0),
    ]
    source = written(nodes, {"w": np.full((3, 2, 1), 6e4, np.float32), "axis": np.array([2])}, classes=3)
    assert largest_values(source, frames)["c"] == pytest.approx(6e4 * np.abs(frames.sum(axis=1)).max(), rel=1e-6)
    with pytest.raises(ExportError, match=r"fp16\.onnx: c reaches .* the largest of fp16 is 65504; leave fp16 out"):
        to_half(source, tmp_path / "fp16.onnx", frames)
    assert not (tmp_path / "fp16.onnx").exists()


def test_values_before_the_scaling_may_be_as_large_as_they_are(scaled_network, tmp_path, frames):
    to_half(scaled_network(), tmp_path / "fp16.onnx", 1e6 * frames)
    assert (tmp_path / "fp16.onnx").exists()


def test_names_that_are_taken_are_left_alone(written, tmp_path, frames):
    node = helper.make_node
    nodes = [
        node("Conv", ["iq", "w"], ["logits_inner"], name="a"),
        node("Conv", ["logits_inner", "w_half"], ["iq_half"], name="b"),
        node("ReduceMean", ["iq_half", "axis"], ["logits"], name="c", keepdims=0),
    ]
    weights = {
        "w": np.ones((3, 2, 1), np.float32),
        "w_half": np.ones((3, 3, 1), np.float32),
        "axis": np.array([2]),
    }
    source = written(nodes, weights, classes=3)
    to_half(source, tmp_path / "fp16.onnx", frames)
    np.testing.assert_allclose(run(tmp_path / "fp16.onnx", frames), run(source, frames), rtol=1e-2, atol=1e-2)


def test_a_model_without_weights_is_refused(written, tmp_path, frames):
    source = written(
        [helper.make_node("ReduceMean", ["iq", "axis"], ["logits"], keepdims=0)], {"axis": np.array([2])}, classes=2
    )
    with pytest.raises(ExportError, match="has no layer that fp16 is written for"):
        to_half(source, tmp_path / "fp16.onnx", frames)
