"""Engines are built for real, ahead of time, by TensorRT-RTX; running one needs a GPU, and is not tested here.

What the inspector says is tested on its words, which are from:
- NVIDIA/TensorRT issue 4020, what ``trtexec --exportLayerInfo`` of TensorRT 10 wrote of a ResNet-18: REFORMAT, FUSED;
- NVIDIA's documentation, "Engine Inspector" (inference-library/engine-tools, TensorRT 10.16): CONVOLUTION;
- NVIDIA/TensorRT issue 4397, of TensorRT 10: FC, GEMM, LAYERNORM; its compiler's layers name types as "Half", "Float", "Int8";
- Torch-TensorRT's documentation, "Explicit typing": MULSUM, a linear layer for one row;
- Polygraphy 0.53 (tools/inspect/subtool/model/extractors/_trt.py): TensorRT 11 writes "Datatype" and "Format" apart.
"""

import importlib.util
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.engines import Engine
from deploy.errors import BundleError, RuntimeNotFoundError, RuntimeRefusedError
from deploy.gpu import first_gpu
from deploy.host import machine
from deploy.runtimes import open_runtime, tensorrt, version_here
from deploy.runtimes.tensorrt import build_engine, computing_types, covered, require_precision

# Polygraphy sets a timing cache, which TensorRT-RTX has no use for.
pytestmark = pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")


@pytest.fixture(autouse=True)
def account(tmp_path, monkeypatch):
    """Let this account's list of what it built be one of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def rtx():
    """TensorRT-RTX, or skip."""
    # Not imported: it asks once, when it is imported, which of the two TensorRTs it serves.
    if importlib.util.find_spec("polygraphy") is None:
        pytest.skip("needs polygraphy")
    return pytest.importorskip("tensorrt_rtx_bindings", reason="needs the TensorRT-RTX wheels", exc_type=ImportError)


@pytest.fixture
def built(rtx):
    """Build an engine."""
    return lambda path, **asked: build_engine(path, flavour="tensorrt-rtx", **asked)


@pytest.fixture
def no_gpu():
    if not isinstance(first_gpu(), str):
        pytest.skip("this machine has a GPU")


def fingerprint(engine):
    return json.loads(engine.with_suffix(".json").read_text())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_engine_is_built_in_every_precision_where_no_gpu_is(three_precisions, built, rtx, precision):
    model = three_precisions / f"{precision}.onnx"
    engine = built(model, batch=8)
    assert engine.parent == three_precisions / "engines"
    said = fingerprint(engine)
    assert said.pop("onnx_sha256") in (three_precisions / "manifest.json").read_text()
    assert said == {
        "runtime": "tensorrt-rtx",
        "version": rtx.__version__,
        "platform": f"linux-{machine()}",
        "gpu": "any",
        "batches": [1, 8, 64],
    }
    # It holds code: more than the hundreds of bytes of the model.
    assert engine.stat().st_size > 10 * model.stat().st_size
    assert sorted(path.suffix for path in engine.parent.iterdir()) == [".engine", ".json"]


def test_engine_is_built_once(mean_model, built):
    path = mean_model(depth=1)
    first = built(path)
    kept = first.stat()
    assert built(path) == first
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


def test_engine_of_a_model_that_changed_is_another(mean_model, built):
    first = built(mean_model(depth=1))
    second = built(mean_model(depth=2))
    assert first != second
    assert fingerprint(first)["onnx_sha256"] != fingerprint(second)["onnx_sha256"]


@pytest.mark.parametrize(("batch", "batches"), [(None, [1, 1, 64]), (64, [1, 64, 64]), (1000, [1, 64, 64])])
def test_engine_takes_up_to_64_frames_and_is_tuned_for_the_batch(mean_model, built, batch, batches):
    assert fingerprint(built(mean_model(), batch=batch))["batches"] == batches


def test_engine_that_this_account_did_not_build_is_built_again(mean_model, built, tmp_path, monkeypatch):
    engine = built(mean_model())
    content = engine.read_bytes()
    engine.write_bytes(b"code of somebody else")
    assert built(mean_model()) == engine
    assert engine.stat().st_size == len(content)
    before = engine.stat().st_ino
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another account"))
    built(mean_model())
    assert engine.stat().st_ino != before


@pytest.mark.parametrize("content", [b"", b"this is no ONNX", b"\x08\x09"])
def test_file_that_is_no_onnx_is_refused_in_one_message(tmp_path, built, content, capfd):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(RuntimeRefusedError, match=r"bad\.onnx: tensorrt-rtx ") as refused:
        built(path)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "engines").iterdir()) == []


def write_sum(path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, 8]) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", 2, 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_model_of_two_inputs_is_refused(tmp_path, built):
    write_sum(tmp_path / "sum.onnx")
    with pytest.raises(RuntimeRefusedError, match=r"sum\.onnx: tensorrt-rtx finds no ONNX model of one input"):
        built(tmp_path / "sum.onnx")


def test_operator_that_tensorrt_does_not_have_is_refused_in_one_message(tmp_path, built, capfd):
    head = numpy_helper.from_array(np.ones((64, 3), dtype=np.float32), "head")
    graph = helper.make_graph(
        [
            helper.make_node("Secret", ["iq"], ["x"], domain="com.example"),
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "head"], ["logits"]),
        ],
        "secret",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["batch", 2, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [head],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "secret.onnx")
    with pytest.raises(RuntimeRefusedError, match=r"secret\.onnx: tensorrt-rtx refuses the model: ") as refused:
        built(tmp_path / "secret.onnx")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_model_for_any_length_is_refused(mean_model, built):
    with pytest.raises(RuntimeRefusedError, match="length"):
        built(mean_model(length="length"))


def test_model_of_frames_that_are_not_i_and_q_is_refused(tmp_path, built):
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["iq"], ["logits"], axes=[2], keepdims=0)],
        "rows",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["n", 3, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "rows.onnx"
    )
    with pytest.raises(RuntimeRefusedError, match=r"takes frames \(any, 3, 32\); expected .* \(any, 2, length\)"):
        built(tmp_path / "rows.onnx")


def test_model_for_one_frame_at_a_time_is_refused_by_its_batch(mean_model, built):
    with pytest.raises(RuntimeRefusedError, match="batch"):
        built(mean_model(batch=1))


def test_folder_that_may_not_be_written_to_is_told(small_disk, mean_model, built):
    folder = small_disk("1m")
    (folder / "fp32.onnx").write_bytes(mean_model().read_bytes())
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with pytest.raises(
        BundleError, match=r"engines: the engine cannot be kept there: Read-only file system; .*copy the"
    ):
        built(folder / "fp32.onnx")


def test_full_disk_leaves_the_bundle_as_it_was(small_disk, mean_model, built):
    folder = small_disk("64k")
    (folder / "fp32.onnx").write_bytes(mean_model().read_bytes())
    with pytest.raises(
        BundleError, match="engines: the engine cannot be kept there: No space left on device; make room"
    ):
        built(folder / "fp32.onnx")
    assert list((folder / "engines").iterdir()) == []
    assert (folder / "fp32.onnx").read_bytes() == mean_model().read_bytes()


def test_running_an_engine_without_a_gpu_is_refused_with_the_reason(mean_model, rtx, no_gpu):
    path = mean_model()
    with pytest.raises(RuntimeNotFoundError, match=r"^tensorrt-rtx [\d.]+ runs on an NVIDIA GPU: .*`build` needs none"):
        open_runtime("tensorrt-rtx", path)
    # Nothing is built that nobody asked for.
    assert [each.name for each in path.parent.glob("engines*")] == []


def test_tensorrt_that_is_not_installed_is_told_with_the_pip_line(mean_model, rtx, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for ask in (lambda: open_runtime("tensorrt", mean_model()), lambda: build_engine(mean_model())):
        with pytest.raises(
            RuntimeNotFoundError, match=r'^tensorrt cannot be imported .*pip install "thinwave\[tensorrt\]"'
        ):
            ask()


def test_polygraphy_that_is_not_installed_is_told_with_the_pip_line(rtx, monkeypatch):
    monkeypatch.setitem(sys.modules, "polygraphy", None)
    with pytest.raises(
        RuntimeNotFoundError, match=r"No module named 'polygraphy'.*pip install polygraphy tensorrt-rtx"
    ):
        version_here("tensorrt-rtx")


@pytest.mark.parametrize("version", ["8.6.2", "10.2.0.post1"])
def test_tensorrt_that_is_too_old_is_told(rtx, monkeypatch, version):
    # Only the real one's version is looked at; there is none that is too old to be had here.
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=version))
    with pytest.raises(RuntimeNotFoundError, match=rf"tensorrt {version} is too old; expected 10\.3 or newer.*trtexec"):
        version_here("tensorrt")


def test_tensorrt_without_a_gpu_builds_nothing(mean_model, built, no_gpu):
    # In a process of its own: which TensorRT Polygraphy serves is settled when it is imported.
    code = (
        "import sys, types\n"
        "from pathlib import Path\n"
        "from deploy.runtimes import tensorrt\n"
        "sys.modules['tensorrt'] = types.SimpleNamespace(__version__='10.3.0')\n"
        "tensorrt._imported = lambda flavour: (tensorrt._tensorrt(flavour), None)\n"
        "tensorrt.build_engine(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, mean_model()], capture_output=True, text=True, check=False)
    assert "RuntimeNotFoundError: tensorrt builds on the GPU that it builds for: no NVIDIA" in done.stderr


def test_process_that_opened_one_tensorrt_opens_no_other(mean_model, built, monkeypatch):
    built(mean_model())
    monkeypatch.setenv("POLYGRAPHY_USE_TENSORRT_RTX", "1")
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0"))
    with pytest.raises(
        RuntimeNotFoundError, match="tensorrt: in this process Polygraphy was imported for the other TensorRT"
    ):
        build_engine(mean_model())


def test_what_is_opened_is_what_was_compared_with_the_note(tmp_path, monkeypatch):
    """Of stand-ins for TensorRT, which opens no engine without a GPU: the file is not read a second time."""
    opened = []

    class EngineOpenedError(Exception):
        pass

    def engine_from_bytes(content):
        opened.append(content)
        raise EngineOpenedError

    polygraphy = SimpleNamespace(EngineFromBytes=engine_from_bytes)
    monkeypatch.setattr(tensorrt, "version_here", lambda name: "10.3.0")
    monkeypatch.setattr(tensorrt, "_imported", lambda flavour: (SimpleNamespace(__version__="10.3.0"), polygraphy))
    monkeypatch.setattr(tensorrt, "_refusals", lambda path, flavour: nullcontext())
    engine = Engine(path=tmp_path / "not there.engine", content=b"verified")
    monkeypatch.setattr(tensorrt, "_engine_of", lambda path, **asked: engine)
    with pytest.raises(EngineOpenedError):
        open_runtime("tensorrt", tmp_path / "m.onnx")
    assert opened == [b"verified"]


def tensors(*types, key="Format/Datatype"):
    return [{"Name": str(number), "Dimensions": [1, 2, 32], key: kind} for number, kind in enumerate(types)]


def layer(kind, *types, **fields):
    return {"Name": "a", "LayerType": kind, "Inputs": tensors(*types), "Outputs": tensors("Float"), **fields}


FUSED_NAME = "resnetv15_conv0_fwd + resnetv15_batchnorm0_fwd + resnetv15_relu0_fwd + resnetv15_pool0_fwd"
REFORMAT = {
    "Name": f"Reformatting CopyNode for Input Tensor 0 to {FUSED_NAME}",
    "LayerType": "Reformat",
    "Inputs": [{"Name": "data", "Dimensions": [1, 3, 224, 224], "Format/Datatype": "Row major linear FP32"}],
    "Outputs": [{"Name": "r", "Dimensions": [1, 3, 224, 224], "Format/Datatype": "Row major Int8 format"}],
    "Metadata": "",
}
FUSED = {
    "Name": FUSED_NAME,
    "LayerType": "CaskConvActPool",
    "Inputs": [{"Name": "r", "Dimensions": [1, 3, 224, 224], "Format/Datatype": "Row major Int8 format"}],
    "Outputs": [{"Name": "o", "Dimensions": [1, 64, 56, 56], "Format/Datatype": "Row major Int8 format"}],
}
FC = {
    "Name": "__myl_Fc_myl0_69",
    "LayerType": "fusion",
    "Inputs": tensors("Half"),
    "TacticName": "sm80_xmma_gemm_f16f16_f16f16_f16_nn_n_tilesize32x32x64_stage6_warpsize2x2x1_tensor16x8x16_by_fusion_tactic",
    "Metadata": "[ONNX Layer: /encoder/layers.9/pos_ff/dense/MatMul][ONNX Layer: /encoder/layers.9/pos_ff/Mul]",
}
GEMM = {
    "Name": "/encoder/layers_9/pos_ff/output/MatMul_myl0_70",
    "LayerType": "gemm",
    "Inputs": tensors("Half"),
}
LAYERNORM = {
    "Name": "__myl_AddCastMeanSubMulMeanAddSqrtDivMulCastMulAdd_myl0_68",
    "LayerType": "kgen",
    "Inputs": tensors("Half", "Half"),
    # An "fc" that is hexadecimal is no fully connected layer.
    "TacticName": "__myl_AddCastMeanSubMulMeanAddSqrtDivMulCastMulAdd_0xf2543fcff9f104bbb1655b0183afb47",
    "Metadata": "[ONNX Layer: /encoder/layers.9/mha/output/Add]",
}
MULSUM = {
    "Name": "__myl_MulSum_myl0_0",
    "LayerType": "kgen",
    "Inputs": tensors("Float", "Float"),
    "TacticName": "__myl_MulSum_0xfa6c1858aea1b13b03f90165d7149ec6",
    "Metadata": "",
}
CONVOLUTION = {
    "Name": "res4_branch2a_1 + res4_branch2a_bn_1",
    "LayerType": "CaskConvolution",
    "Inputs": tensors("Thirty-two wide channel vectorized row major Int8 format."),
}


@pytest.mark.parametrize(
    ("layers", "kinds"),
    [
        ([], []),
        ([REFORMAT, FUSED], ["int8"]),
        ([CONVOLUTION], ["int8"]),
        ([LAYERNORM, FC, GEMM], ["fp16", "fp16"]),
        ([MULSUM], ["fp32"]),
        ([layer("CaskConvolution", "Row major linear FP32")], ["fp32"]),
        ([layer("CaskGemmConvolution", "Row major linear FP16 format")], ["fp16"]),
        ([layer("correlation", "BFloat16")], ["bf16"]),
        ([layer("CaskConvolution", "Row major linear BF16 format")], ["bf16"]),
        ([layer("gemm", kind) for kind in ("Float", "Half", "Int8")], ["fp32", "fp16", "int8"]),
        # What it writes is for the next.
        ([layer("gemm", "Float", Outputs=tensors("Half"))], ["fp32"]),
        # What moves data computes nothing.
        ([layer(kind, "Int8") for kind in ("Reformat", "NoOp", "Shuffle", "Constant", "Cast")], []),
        # Nor do those that quantise and dequantise, though they read integers, and bear a convolution's name.
        ([layer("kgen", "Int8"), layer("Scale", "Int8"), layer("kgen", "Int8", Name="__myl_CastMul_myl0_3")], []),
        ([layer("kgen", "Int8", Name="conv1/Conv_output_0_DequantizeLinear_myl0_4")], []),
        ([layer("kgen", "Int8", Name="conv1.weight_QuantizeLinear + block/conv1/Conv_myl0_3")], ["int8"]),
        # An activation in a module called conv is none.
        ([layer("PointWiseV2", "Half", Name="PWN(conv/Relu)"), layer("kgen", "Half", Name="conv/Relu_myl0_1")], []),
        ([{**layer("gemm"), "Inputs": tensors("Half", key="Datatype")}], ["fp16"]),
        ([{**layer("gemm"), "Inputs": [{"Datatype": "Half", "Format": "Row major linear FP16 format"}]}], ["fp16"]),
        ([{"Name": "a", "LayerType": "gemm"}], ["fp32"]),
        ([{"Name": "a"}, {}], []),
    ],
)
def test_types_are_those_that_the_computing_layers_read(layers, kinds):
    assert computing_types(layers) == kinds


@pytest.mark.parametrize(
    ("precision", "kinds"),
    [
        (None, []),
        ("fp32", []),
        ("fp32", ["fp32", "fp32"]),
        ("fp16", ["fp16", "fp32"]),
        # Layers that cost accuracy stay float.
        ("int8", ["int8", "fp32", "fp32", "fp32"]),
    ],
)
def test_engine_that_computes_in_the_precision_of_its_file_is_taken(tmp_path, precision, kinds):
    require_precision(tmp_path / "m.onnx", precision, kinds, maker="tensorrt 10.3.0")


@pytest.mark.parametrize(
    ("precision", "kinds", "told"),
    [
        ("fp16", ["fp16", "fp32", "fp32"], "1 of 3 convolutions and matrix products compute in fp16"),
        ("fp16", ["bf16"], "0 of 1 convolutions and matrix products compute in fp16"),
        ("int8", ["fp16", "fp32"], "0 of 2 convolutions and matrix products compute in int8"),
    ],
)
def test_silent_fall_back_is_refused_with_how_much_of_it_was_narrow(precision, kinds, told):
    message = rf"^m\.onnx: the file is {precision}, and tensorrt 10\.3\.0 made an engine .* {told}; take the fp32 file$"
    with pytest.raises(RuntimeRefusedError, match=message):
        require_precision(Path("m.onnx"), precision, kinds, maker="tensorrt 10.3.0")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_precision_that_cannot_be_verified_is_refused_and_said_to_be_so(precision):
    message = r"names no convolution or matrix product of its engine, .* was not verified; take the fp32 file$"
    with pytest.raises(RuntimeRefusedError, match=message):
        require_precision(Path("m.onnx"), precision, [], maker="tensorrt 10.3.0")


def test_nodes_are_those_of_the_metadata():
    metadata = "[ONNX Layer: /conv1/Conv]\x1e[ONNX Layer: /relu/Relu]"
    assert covered({"Name": "__myl_ConvRelu_myl0_1", "Metadata": metadata}) == ("/conv1/Conv", "/relu/Relu")


@pytest.mark.parametrize("metadata", [{}, {"Metadata": ""}])
def test_nodes_without_metadata_are_those_of_the_name(metadata):
    assert covered({"Name": "conv_a + relu_a", **metadata}) == ("conv_a", "relu_a")


def test_layer_that_only_reformats_covers_no_node():
    assert not set(covered(REFORMAT)) & set(covered(FUSED))
