import json

import numpy as np
import onnx
import pytest
import torch

from deploy.runtimes import open_runtime
from toolchain.errors import ExportError
from toolchain.export import export_onnx
from toolchain.training import logits_of

CLASSES = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")


@pytest.fixture(scope="module")
def pair(tmp_path_factory, without_units):
    """A model and its file; exporting takes seconds, so once."""
    model = _model(without_units)
    path = tmp_path_factory.mktemp("onnx") / "fp32.onnx"
    export_onnx(model, path, classes=CLASSES, length=64)
    return model, path


def _model(without_units):
    from toolchain.models import create_model

    full = create_model("resnet1d20", classes=5, length=64, generator=torch.Generator().manual_seed(3)).eval()
    return without_units(full, ["stages.0.1", "stages.1.0", "stages.2.2"])


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_the_file_takes_any_batch(pair, batch):
    model, path = pair
    frames = np.random.default_rng(batch).normal(size=(batch, 2, 64)).astype(np.float32)
    with open_runtime("onnxruntime", path) as runtime:
        got = runtime.run(frames)
    assert got.shape == (batch, 5)
    assert np.abs(got - logits_of(model, frames).numpy()).max() < 1e-4


def test_scaling_is_inside_the_graph(pair, frames):
    _, path = pair
    with open_runtime("onnxruntime", path) as runtime:
        assert np.allclose(runtime.run(frames), runtime.run(frames * 1000), atol=1e-4)


def test_the_metadata_holds_the_classes_and_nothing_of_this_machine(pair):
    _, path = pair
    graph = onnx.load(path)
    assert {entry.key: json.loads(entry.value) for entry in graph.metadata_props} == {"classes": list(CLASSES)}
    for part in (
        graph.graph.node,
        graph.graph.initializer,
        graph.graph.input,
        graph.graph.output,
        graph.graph.value_info,
    ):
        assert not any(item.metadata_props or item.doc_string for item in part)
    content = path.read_bytes()
    for trace in (b".py", b"toolchain", b"stack_trace", str(path.parent).encode()):
        assert trace not in content
    assert graph.graph.input[0].name == "iq"
    assert graph.graph.output[0].name == "logits"
    assert graph.opset_import[0].version == 18


def test_equal_weights_give_equal_bytes(pair, tmp_path, without_units):
    export_onnx(_model(without_units), tmp_path / "again.onnx", classes=CLASSES, length=64)
    assert (tmp_path / "again.onnx").read_bytes() == pair[1].read_bytes()


def test_parity_holds_for_the_exported_model(pair, frames, held_to_parity):
    parity = held_to_parity(*pair, frames)
    assert parity.agreement == 1.0
    assert parity.max_abs_diff < 1e-4


def test_a_file_that_computes_something_else_fails(pair, frames, without_units, held_to_parity):
    model, path = pair
    other = without_units(model, ["stages.2.1"])
    with pytest.raises(
        ExportError, match=r"over 32 frames the logits differ by up to .* \(expected at most 0\.000\d+: "
    ):
        held_to_parity(other, path, frames)


def test_nodes_are_named_after_the_modules_that_they_come_from(pair):
    names = [node.name for node in onnx.load(pair[1]).graph.node]
    assert len(set(names)) == len(names)
    # The convolution's place, not that of the normalisation that was folded into it.
    for name in (
        "scaling/Pow",
        "stem.0/Conv",
        "stages.0.0.branch.0/Conv",
        "stages.0.0.branch.2/Relu",
        "stages.0.0/Add",
    ):
        assert name in names
    assert names[-1] == "head.2/Gemm"
