import numpy as np
import pytest

from deploy.errors import RuntimeNotFoundError, RuntimeRefusedError
from deploy.host import machine
from deploy.runtimes import open_runtime

HEAD = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]], dtype=np.float32)


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(size=(4, 2, 32)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_logits_are_those_of_the_model(mean_model, frames, threads):
    with open_runtime("onnxruntime", mean_model(depth=2), threads=threads) as runtime:
        logits = runtime.run(frames)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, frames.mean(axis=2) @ HEAD, atol=1e-6)


def test_any_batch_runs(mean_model, frames):
    with open_runtime("onnxruntime", mean_model()) as runtime:
        assert [runtime.run(frames[:n]).shape for n in (1, 4, 2)] == [(1, 3), (4, 3), (2, 3)]


def test_logits_belong_to_the_caller(mean_model, frames):
    with open_runtime("onnxruntime", mean_model()) as runtime:
        first = runtime.run(frames[:1])
        kept = first.copy()
        runtime.run(frames[1:2])
    np.testing.assert_array_equal(first, kept)


def test_frames_are_only_read(mean_model, frames):
    frames.setflags(write=False)
    with open_runtime("onnxruntime", mean_model()) as runtime:
        runtime.run(frames)


@pytest.mark.parametrize(
    ("shape", "kind", "got"),
    [
        ((1, 2, 31), "float32", r"float32 \(1, 2, 31\)"),
        ((1, 1, 32), "float32", r"float32 \(1, 1, 32\)"),
        ((2, 32), "float32", r"float32 \(2, 32\)"),
        ((0, 2, 32), "float32", r"float32 \(0, 2, 32\)"),
        ((1, 2, 32), "float64", r"float64 \(1, 2, 32\)"),
    ],
)
def test_frames_that_do_not_fit_are_refused_with_both_shapes(mean_model, frames, shape, kind, got):
    with open_runtime("onnxruntime", mean_model()) as runtime:
        runtime.run(frames[:1])
        with pytest.raises(RuntimeRefusedError, match=rf"got frames {got}, expected float32 \(batch, 2, 32\)"):
            runtime.run(np.zeros(shape, dtype=kind))
        # Good frames of the shape seen last still run.
        runtime.run(frames[:1])


@pytest.mark.parametrize("content", [b"", b"this is no ONNX", b"\x08\x09"])
def test_file_that_is_no_onnx_is_refused(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(RuntimeRefusedError, match=r"bad\.onnx: onnxruntime cannot open this as an ONNX model"):
        open_runtime("onnxruntime", path)


def test_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RuntimeRefusedError, match=r"none\.onnx"):
        open_runtime("onnxruntime", tmp_path / "none.onnx")


def test_model_with_another_signature_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, 8]) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", 2, 8])],
    )
    path = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(
        RuntimeRefusedError, match=r"the model's input is a tensor\(float\).*, b .*; expected one float32"
    ):
        open_runtime("onnxruntime", path)


def test_failure_inside_the_model_is_told(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    # The graph promises any length, and its head takes 8 samples only.
    head = numpy_helper.from_array(np.ones((16, 3), dtype=np.float32), "head")
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["iq"], ["flat"]), helper.make_node("MatMul", ["flat", "head"], ["logits"])],
        "fixed inside",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["batch", 2, "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [head],
    )
    path = tmp_path / "fixed.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with open_runtime("onnxruntime", path) as runtime:
        assert runtime.run(np.ones((1, 2, 8), dtype=np.float32)).tolist() == [[16.0, 16.0, 16.0]]
        with pytest.raises(RuntimeRefusedError, match=r"fixed\.onnx: onnxruntime could not run the model"):
            runtime.run(np.ones((1, 2, 9), dtype=np.float32))


def test_batch_that_the_model_was_fixed_to_is_told(mean_model):
    message = r"expected float32 \(2, 2, 32\)"
    with open_runtime("onnxruntime", mean_model(batch=2)) as runtime, pytest.raises(RuntimeRefusedError, match=message):
        runtime.run(np.zeros((1, 2, 32), dtype=np.float32))


def test_closed_runtime_refuses_to_run(mean_model, frames):
    runtime = open_runtime("onnxruntime", mean_model())
    runtime.run(frames)
    runtime.close()
    runtime.close()
    with pytest.raises(RuntimeRefusedError, match="the model is closed"):
        runtime.run(frames)


def test_version_is_the_packages(mean_model):
    import onnxruntime

    with open_runtime("onnxruntime", mean_model()) as runtime:
        assert (runtime.name, runtime.version) == ("onnxruntime", onnxruntime.__version__)


def test_precision_of_a_plain_model_is_fp32(mean_model, frames):
    with open_runtime("onnxruntime", mean_model(depth=1)) as runtime:
        runtime.run(frames)
        assert runtime.precision == "fp32"


def test_precision_of_a_quantised_model_is_int8(int8_model, frames):
    with open_runtime("onnxruntime", int8_model) as runtime:
        runtime.run(frames)
        assert runtime.precision == "int8"


@pytest.mark.skipif(machine() != "x86_64", reason="Arm processors have half-precision arithmetic")
def test_half_precision_model_is_told_to_run_in_fp32_where_the_processor_has_no_half(half_model, frames):
    with open_runtime("onnxruntime", half_model) as runtime:
        runtime.run(frames)
        assert runtime.precision == "fp32"


def test_precision_is_not_known_before_the_first_run(mean_model):
    with (
        open_runtime("onnxruntime", mean_model()) as runtime,
        pytest.raises(RuntimeRefusedError, match="after the first run"),
    ):
        _ = runtime.precision


def test_reading_the_precision_leaves_no_file(mean_model, frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_runtime("onnxruntime", mean_model()) as runtime:
        runtime.run(frames)
        _ = runtime.precision
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_unknown_runtime_is_told_with_the_one_that_was_meant(tmp_path):
    with pytest.raises(RuntimeNotFoundError, match=r'no runtime is named "onxruntime", did you mean "onnxruntime"\?'):
        open_runtime("onxruntime", tmp_path / "m.onnx")


def test_runtime_that_is_not_installed_is_told_with_the_way_out(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "deploy.runtimes.onnxruntime", raising=False)
    with pytest.raises(RuntimeNotFoundError, match="pip install onnxruntime"):
        open_runtime("onnxruntime", tmp_path / "m.onnx")
