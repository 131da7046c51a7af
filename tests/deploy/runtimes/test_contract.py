"""What every runtime keeps to; those are asked that run on any machine. What is a runtime's own is in its file."""

import re
import sys
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deploy.errors import MeasurementError, RuntimeNotFoundError, RuntimeRefusedError
from deploy.host import usable_cores
from deploy.names import RuntimeName
from deploy.runtimes import RUNTIMES, open_runtime, version_here
from deploy.runtimes.base import narrowest

HEAD = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]], dtype=np.float32)


@pytest.fixture(params=["onnxruntime", "openvino"])
def name(request):
    return request.param


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(size=(4, 2, 32)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_logits_are_those_of_the_model(name, mean_model, frames, threads):
    with open_runtime(name, mean_model(depth=2), threads=threads) as runtime:
        logits = runtime.run(frames)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, frames.mean(axis=2) @ HEAD, atol=1e-6)


def test_any_batch_runs(name, mean_model, frames):
    with open_runtime(name, mean_model()) as runtime:
        assert [runtime.run(frames[:n]).shape for n in (1, 4, 2)] == [(1, 3), (4, 3), (2, 3)]


def test_logits_belong_to_the_caller(name, mean_model, frames):
    with open_runtime(name, mean_model()) as runtime:
        first = runtime.run(frames[:1])
        kept = first.copy()
        runtime.run(frames[1:2])
    np.testing.assert_array_equal(first, kept)


def test_frames_are_only_read(name, mean_model, frames):
    frames.setflags(write=False)
    with open_runtime(name, mean_model()) as runtime:
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
def test_frames_that_do_not_fit_are_refused_with_both_shapes(name, mean_model, frames, shape, kind, got):
    with open_runtime(name, mean_model()) as runtime:
        runtime.run(frames[:1])
        with pytest.raises(RuntimeRefusedError, match=rf"got frames {got}, expected float32 \(batch, 2, 32\)"):
            runtime.run(np.zeros(shape, dtype=kind))
        # Good frames of the shape seen last still run.
        runtime.run(frames[:1])


@pytest.mark.parametrize("content", [b"", b"this is no ONNX", b"\x08\x09"])
def test_file_that_is_no_onnx_is_refused_and_nothing_is_printed(name, tmp_path, content, capfd):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(RuntimeRefusedError, match=rf"bad\.onnx: {name} cannot open this as an ONNX model: [^\n]+$"):
        open_runtime(name, path)
    assert capfd.readouterr() == ("", "")


def test_file_that_is_not_there_is_refused(name, tmp_path):
    with pytest.raises(RuntimeRefusedError, match=r"none\.onnx"):
        open_runtime(name, tmp_path / "none.onnx")


def test_model_with_another_signature_is_refused(name, tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, 8]) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", 2, 8])],
    )
    path = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(RuntimeRefusedError, match=r"the model's input is .*, .*; expected one float32"):
        open_runtime(name, path)


@pytest.mark.parametrize("rows", [1, 3])
def test_model_of_frames_that_are_not_i_and_q_is_refused(name, tmp_path, rows):
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["iq"], ["logits"], axes=[2], keepdims=0)],
        "rows",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["n", rows, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", rows])],
    )
    path = tmp_path / "rows.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    message = rf"rows\.onnx: takes frames \(batch, {rows}, 32\); expected \(batch, 2, length\): I and Q, then time$"
    with pytest.raises(RuntimeRefusedError, match=message):
        open_runtime(name, path)


def test_more_threads_than_cores_are_refused_before_anything_is_opened(name, tmp_path):
    cores = len(usable_cores())
    for threads in (0, cores + 1, 100_000):
        with pytest.raises(MeasurementError, match=rf"^{threads} threads were asked for; .* so give 1 to {cores}$"):
            open_runtime(name, tmp_path / "none.onnx", threads=threads)


def test_batch_that_the_model_was_fixed_to_is_told(name, mean_model):
    message = r"expected float32 \(2, 2, 32\)"
    with open_runtime(name, mean_model(batch=2)) as runtime, pytest.raises(RuntimeRefusedError, match=message):
        runtime.run(np.zeros((1, 2, 32), dtype=np.float32))


def test_closed_runtime_refuses_to_run(name, mean_model, frames):
    runtime = open_runtime(name, mean_model())
    runtime.run(frames)
    runtime.close()
    runtime.close()
    with pytest.raises(RuntimeRefusedError, match="the model is closed"):
        runtime.run(frames)


def test_precision_of_a_plain_model_is_fp32(name, mean_model, frames):
    with open_runtime(name, mean_model(depth=1)) as runtime:
        runtime.run(frames)
        assert runtime.precision == "fp32"


def test_precision_of_a_quantised_model_is_int8(name, int8_model, frames):
    with open_runtime(name, int8_model) as runtime:
        runtime.run(frames)
        assert runtime.precision == "int8"


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], "fp32"),
        (["fp32", "fp16"], "fp16"),
        (["bf16", "fp32"], "bf16"),
        (["fp32", "fp16", "int8", "bf16"], "int8"),
    ],
)
def test_narrowest_of_what_was_executed(kinds, expected):
    assert narrowest(iter(kinds)) == expected


def test_precision_is_not_known_before_the_first_run(name, mean_model):
    with (
        open_runtime(name, mean_model()) as runtime,
        pytest.raises(RuntimeRefusedError, match="after the first run"),
    ):
        _ = runtime.precision


def test_unknown_runtime_is_told_with_the_one_that_was_meant(tmp_path):
    with pytest.raises(RuntimeNotFoundError, match=r'no runtime is named "onxruntime", did you mean "onnxruntime"\?'):
        open_runtime("onxruntime", tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("onnxruntime", "pip install onnxruntime"),
        ("onnxruntime-cuda", "pip uninstall onnxruntime && pip install onnxruntime-gpu"),
        ("openvino-bf16", 'pip install "thinwave[openvino]"'),
        ("tensorrt", 'pip install "thinwave[tensorrt]"'),
        ("tensorrt-rtx", "pip install polygraphy tensorrt-rtx-cu12-bindings tensorrt-rtx-cu12-libs"),
    ],
)
def test_runtime_that_cannot_be_imported_is_told_with_how_it_is_installed(monkeypatch, name, install):
    monkeypatch.setitem(sys.modules, f"deploy.runtimes.{RUNTIMES[name].file}", None)
    with pytest.raises(
        RuntimeNotFoundError, match=rf"^{name} cannot be imported .*; install it: {re.escape(install)}$"
    ):
        version_here(name)


def test_names_are_those_of_the_records_and_of_the_command_line():
    assert tuple(RUNTIMES) == get_args(RuntimeName)


def test_version_is_told_by_the_runtime_and_without_opening_it(name, mean_model):
    with open_runtime(name, mean_model()) as runtime:
        assert (runtime.name, runtime.version) == (name, version_here(name))


def test_batch_is_the_models(name, mean_model):
    with open_runtime(name, mean_model("fixed.onnx", batch=2)) as runtime:
        assert runtime.batch == 2
    with open_runtime(name, mean_model("any.onnx")) as runtime:
        assert runtime.batch is None


def test_length_is_the_models(name, mean_model):
    with open_runtime(name, mean_model("fixed.onnx")) as runtime:
        assert runtime.length == 32
    with open_runtime(name, mean_model("any.onnx", length="length")) as runtime:
        assert runtime.length is None


def test_frames_of_any_length_run_where_the_model_takes_them(name, mean_model):
    with open_runtime(name, mean_model(length="length")) as runtime:
        for length in (8, 50):
            logits = runtime.run(np.ones((1, 2, length), dtype=np.float32))
            np.testing.assert_allclose(logits, [[1, 2, 0]], atol=1e-6)


def test_runtime_that_was_prepared_for_a_batch_runs_it(name, mean_model, frames):
    with open_runtime(name, mean_model(depth=1), batch=4) as runtime:
        np.testing.assert_allclose(runtime.run(frames), frames.mean(axis=2) @ HEAD, atol=1e-6)


def test_quantised_model_answers_as_the_one_it_came_from(name, int8_model, steady_frames):
    with open_runtime(name, int8_model) as runtime:
        logits = runtime.run(steady_frames([(3, -2), (-7, 7), (0.5, 1)]))
    np.testing.assert_allclose(logits, [[3, -4, -5], [-7, 14, 14], [0.5, 2, 0.5]], atol=1e-6)


@pytest.fixture
def long_frames():
    # So long that no layer takes less than a microsecond, which is the least that OpenVINO tells.
    return np.random.default_rng(0).normal(size=(2, 2, 16384)).astype(np.float32)


def test_layers_are_timed_in_the_order_in_which_they_ran(name, mean_model, long_frames):
    with open_runtime(name, mean_model(depth=3, length=16384)) as runtime:
        layers = runtime.layer_times(long_frames, 5)
    known = [node for layer in layers for node in layer.covers if node.startswith("conv")]
    assert known == ["conv0", "conv1", "conv2"]
    convolutions = [layer for layer in layers if set(layer.covers) & set(known)]
    assert all("conv" in layer.op.lower() for layer in convolutions)
    for layer in convolutions:
        # OpenVINO tells one mean.
        assert layer.times_ms.shape == ((5,) if name == "onnxruntime" else (1,))
        assert layer.times_ms.dtype == np.float64
        assert (layer.times_ms > 0).all()


def test_timing_layers_leaves_the_model_as_it_was(name, mean_model, frames):
    with open_runtime(name, mean_model(depth=1)) as runtime:
        before = runtime.run(frames)
        runtime.layer_times(frames, 2)
        np.testing.assert_array_equal(runtime.run(frames), before)


def test_layers_of_frames_that_do_not_fit_are_refused(name, mean_model):
    with open_runtime(name, mean_model()) as runtime, pytest.raises(RuntimeRefusedError, match="got frames float32"):
        runtime.layer_times(np.zeros((1, 2, 31), dtype=np.float32), 2)


def test_layers_of_a_closed_model_are_refused(name, mean_model, frames):
    runtime = open_runtime(name, mean_model())
    runtime.close()
    with pytest.raises(RuntimeRefusedError, match="the model is closed"):
        runtime.layer_times(frames, 2)
