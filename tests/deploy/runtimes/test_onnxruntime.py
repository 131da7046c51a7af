import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.errors import RuntimeNotFoundError, RuntimeRefusedError
from deploy.host import machine
from deploy.runtimes import open_runtime, version_here
from deploy.runtimes.onnxruntime import OnnxRuntime


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(size=(4, 2, 32)).astype(np.float32)


def test_version_is_the_packages(mean_model):
    with open_runtime("onnxruntime", mean_model()) as runtime:
        assert (runtime.name, runtime.version) == ("onnxruntime", onnxruntime.__version__)


@pytest.mark.skipif(machine() != "x86_64", reason="Arm processors have half-precision arithmetic")
def test_half_precision_model_is_told_to_run_in_fp32_where_the_processor_has_no_half(half_model, frames):
    with open_runtime("onnxruntime", half_model) as runtime:
        runtime.run(frames)
        assert runtime.precision == "fp32"


def test_failure_inside_the_model_is_told(tmp_path):
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


def test_half_precision_file_is_run_without_the_pass_that_ends_the_process(half_model, steady_frames):
    frames = steady_frames([(0.5, 0.25)])
    with open_runtime("onnxruntime", half_model, precision="fp16") as runtime:
        np.testing.assert_array_equal(runtime.run(frames), [[0.5, 0.5, -0.25]])
        assert {"Conv", "MatMul"} <= {layer.op for layer in runtime.layer_times(frames, 1)}


def test_a_run_in_a_devices_memory_gives_the_same_logits_there(mean_model, frames):
    """Of the processor as the device, which has nothing to move: what is called on a GPU is the same."""
    with OnnxRuntime(mean_model()) as model:
        assert model.on_device(frames) is None
        (logits,) = model._bound_to(frames, "cpu")().copy_outputs_to_cpu()
        np.testing.assert_array_equal(logits, model.run(frames))


def test_watching_leaves_no_file(mean_model, frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with open_runtime("onnxruntime", mean_model()) as runtime:
        runtime.run(frames)
        _ = runtime.precision
        runtime.layer_times(frames, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_model_whose_precision_was_read_is_let_go(mean_model, frames):
    with open_runtime("onnxruntime", mean_model()) as runtime:
        runtime.run(frames)
        assert runtime.precision == "fp32"
    gone = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert gone() is None


def test_precision_is_read_from_one_trace_a_shape(mean_model, frames, monkeypatch):
    traced = []
    trace = OnnxRuntime._trace
    monkeypatch.setattr(OnnxRuntime, "_trace", lambda self, *a, **b: traced.append(1) or trace(self, *a, **b))
    with open_runtime("onnxruntime", mean_model()) as runtime:
        for batch in (1, 1, 2):
            runtime.run(frames[:batch])
            assert (runtime.precision, runtime.precision) == ("fp32", "fp32")
    assert len(traced) == 2


@pytest.mark.parametrize(
    "first",
    ["from deploy.runtimes import open_runtime", "import toolchain.export\nfrom onnxruntime import quantization"],
)
def test_telemetry_is_off_and_leaves_no_file(mean_model, tmp_path, first):
    """In a process of its own: ONNX Runtime decides when it is imported, by whatever part."""
    code = (
        f"import sys\n{first}\n"
        "from pathlib import Path\n"
        "from deploy.runtimes import open_runtime\n"
        "open_runtime('onnxruntime', Path(sys.argv[1])).close()"
    )
    # CI is one of the variables by which it switches itself off.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code, mean_model()], env=environment, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_layers_have_the_names_of_their_nodes_and_every_run(int8_model, frames):
    with open_runtime("onnxruntime", int8_model) as runtime:
        layers = {layer.covers: layer for layer in runtime.layer_times(frames, 3)}
    # Its own name for the convolution in integers has a number behind it.
    assert layers["conv0",].op == "QLinearConv"
    assert layers["to_logits",].op == "MatMul"
    assert {len(layer.times_ms) for layer in layers.values()} == {3}


def test_activation_that_was_fused_goes_by_the_convolutions_name(tmp_path, frames):
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["iq", "w"], ["c"], pads=[1, 1], name="first/Conv"),
            helper.make_node("Relu", ["c"], ["r"], name="first/Relu"),
            helper.make_node("ReduceMean", ["r"], ["logits"], axes=[2], keepdims=0, name="mean"),
        ],
        "fused",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["batch", 2, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.ones((3, 2, 3), dtype=np.float32), "w")],
    )
    path = tmp_path / "fused.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with open_runtime("onnxruntime", path) as runtime:
        layers = [(layer.op, layer.covers) for layer in runtime.layer_times(frames, 1)]
    assert layers == [("FusedConv", ("first/Conv",)), ("ReduceMean", ("mean",))]


@pytest.mark.parametrize(
    ("name", "provider"),
    [("onnxruntime-cuda", "CUDAExecutionProvider"), ("onnxruntime-tensorrt", "TensorrtExecutionProvider")],
)
def test_provider_that_is_not_there_is_told_with_the_way_out(mean_model, name, provider):
    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has the {provider}")
    message = rf"^this onnxruntime [\d.]+ has no {provider}; install .*: pip uninstall onnxruntime && pip install onnxruntime-"
    for ask in (lambda: version_here(name), lambda: open_runtime(name, mean_model())):
        with pytest.raises(RuntimeNotFoundError, match=message):
            ask()


def test_runtime_that_is_not_installed_is_told_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "deploy.runtimes.onnxruntime", raising=False)
    with pytest.raises(RuntimeNotFoundError, match="pip install onnxruntime"):
        open_runtime("onnxruntime", tmp_path / "m.onnx")
