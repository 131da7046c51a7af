import sys

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.errors import RuntimeNotFoundError, RuntimeRefusedError
from deploy.runtimes import open_runtime, version_here

BFLOAT16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(size=(4, 2, 32)).astype(np.float32)


def test_version_is_the_packages_without_the_build():
    assert version_here("openvino") == openvino.__version__.partition("-")[0]


def test_batch_that_it_was_prepared_for_is_the_only_one(mean_model, frames):
    with open_runtime("openvino", mean_model(depth=1), batch=2) as runtime:
        assert runtime.run(frames[:2]).shape == (2, 3)
        for wrong in (1, 4):
            assert runtime.batch == 2
            with pytest.raises(
                RuntimeRefusedError, match=rf"got frames float32 \({wrong}, 2, 32\), expected float32 \(2, 2, "
            ):
                runtime.run(frames[:wrong])


def test_batch_that_the_model_was_fixed_to_goes_before_the_one_asked_for(mean_model, frames):
    with open_runtime("openvino", mean_model(batch=1), batch=2) as runtime:
        assert runtime.run(frames[:1]).shape == (1, 3)


@pytest.mark.parametrize("batch", [None, 4])
def test_precision_is_the_one_asked_for_whatever_the_processor_has(mean_model, half_model, int8_model, frames, batch):
    executed = {}
    for path in (mean_model(depth=1), half_model, int8_model):
        with open_runtime("openvino", path, batch=batch) as runtime:
            runtime.run(frames)
            executed[path.stem] = runtime.precision
    # Half precision is for processors that have it; in float32 it loses nothing.
    assert executed == {"model": "fp32", "half": "fp32", "int8": "int8"}


def test_bfloat16_is_executed_where_the_processor_has_it_and_refused_elsewhere(mean_model, int8_model, steady_frames):
    if not BFLOAT16:
        with pytest.raises(RuntimeNotFoundError, match="this processor has no bfloat16; take the runtime openvino"):
            open_runtime("openvino-bf16", mean_model())
        return
    # 257/256 lies between the bfloat16 1 and 1 + 1/128.
    frames = steady_frames([(257 / 256, 0)])
    with open_runtime("openvino", mean_model(depth=1)) as runtime:
        assert runtime.run(frames)[0, 0] == pytest.approx(257 / 256, abs=1e-6)
    with open_runtime("openvino-bf16", mean_model(depth=1)) as runtime:
        assert runtime.name == "openvino-bf16"
        assert runtime.run(frames)[0, 0] in (1.0, 1 + 1 / 128)
        assert runtime.precision == "bf16"
    # What is quantised stays so.
    with open_runtime("openvino-bf16", int8_model) as runtime:
        runtime.run(frames)
        assert runtime.precision == "int8"


@pytest.fixture
def fused_model(tmp_path):
    """Write two convolutions with what is fused into them, for frames of 16384 samples."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(size=(16, 2, 3)),
        "w1": rng.normal(size=(16, 16, 3)),
        "head": rng.normal(size=(16, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["iq", "w0"], ["c0"], pads=[1, 1], name="first/Conv"),
        helper.make_node("Relu", ["c0"], ["r0"], name="first/Relu"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], pads=[1, 1], name="second/Conv"),
        helper.make_node("Add", ["c1", "r0"], ["a"], name="second/Add"),
        helper.make_node("Relu", ["a"], ["r1"], name="second/Relu"),
        helper.make_node("ReduceMean", ["r1"], ["m"], axes=[2], keepdims=0, name="mean"),
        helper.make_node("MatMul", ["m", "head"], ["logits"], name="to_logits"),
    ]
    graph = helper.make_graph(
        nodes,
        "fused",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["batch", 2, 16384])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    path = tmp_path / "fused.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_layers_name_the_nodes_that_were_fused(fused_model):
    with open_runtime("openvino", fused_model, batch=1) as runtime:
        layers = runtime.layer_times(np.ones((1, 2, 16384), dtype=np.float32), 3)
    nodes = [node for layer in layers for node in layer.covers]
    # Every node once, in the order in which they ran.
    named = ("first/Conv", "first/Relu", "second/Conv", "second/Add", "second/Relu", "mean")
    assert [node for node in nodes if node in named] == list(named)
    (first,) = [layer for layer in layers if "first/Conv" in layer.covers]
    assert first.covers == ("first/Conv", "first/Relu")


def test_layers_that_are_openvinos_own_cover_no_node(int8_model, frames):
    frames = np.tile(frames, (256, 1, 1))
    with open_runtime("openvino", int8_model) as runtime:
        assert not [layer.name for layer in runtime.layer_times(frames, 2) if "" in layer.covers]


def test_last_layer_goes_by_the_output_that_it_makes(fused_model):
    with open_runtime("openvino", fused_model, batch=1) as runtime:
        layers = runtime.layer_times(np.ones((1, 2, 16384), dtype=np.float32), 3)
    assert "logits" in layers[-1].covers


def test_openvino_that_is_not_installed_is_told_with_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "deploy.runtimes.openvino", raising=False)
    with pytest.raises(RuntimeNotFoundError, match=r'openvino cannot be imported .*pip install "thinwave\[openvino\]"'):
        open_runtime("openvino", tmp_path / "m.onnx")
