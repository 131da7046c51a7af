import json
from contextlib import nullcontext

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from deploy.runtimes import open_runtime
from toolchain.errors import ExportError
from toolchain.export import check_parity, export_onnx, most_difference, parity_of
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


def test_parity_holds_for_the_exported_model(pair, frames):
    parity = check_parity(*pair, frames)
    assert parity.agreement == 1.0
    assert parity.max_abs_diff < 1e-4


def test_a_file_that_computes_something_else_fails(pair, frames, without_units):
    model, path = pair
    other = without_units(model, ["stages.2.1"])
    with pytest.raises(
        ExportError, match=r"over 32 frames the logits differ by up to .* \(expected at most 0\.000\d+: "
    ):
        check_parity(other, path, frames)


def test_parity_is_the_largest_difference_and_the_share_of_equal_decisions():
    expected = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    got = np.array([[1, 2, 3.5], [2, 2.25, 1]], np.float32)
    assert parity_of(expected, got).model_dump() == {"max_abs_diff": 1.0, "agreement": 0.5}
    got[0, 0] = np.nan
    with pytest.raises(ExportError, match="ONNX Runtime gives logits that are not finite"):
        parity_of(expected, got)


@pytest.mark.parametrize(("largest", "most"), [(0.0, 1e-4), (0.5, 1e-4), (1.0, 1e-4), (1000.0, 0.1), (-50.0, 5e-3)])
def test_logits_may_differ_in_proportion_to_the_largest_and_by_no_less_than_an_absolute_bound(largest, most):
    assert most_difference(np.array([[0, 0.25], [largest, -0.25]], np.float32)) == pytest.approx(most)


class Constant(torch.nn.Module):
    """The same logits for every frame."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, iq):
        return self.logits.expand(len(iq), -1)


def constant_file(logits, path):
    """An ONNX file that computes the same as ``Constant``: a dense layer without weights, over one sample."""
    nodes = [helper.make_node("Flatten", ["iq"], ["flat"]), helper.make_node("Gemm", ["flat", "w", "b"], ["logits"])]
    shapes = {"iq": ["batch", 2, 1], "logits": ["batch", len(logits)]}
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    values = {"w": np.zeros((2, len(logits)), np.float32), "b": np.array(logits, np.float32)}
    weights = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "constant", [ends["iq"]], [ends["logits"]], weights)
    opset = helper.make_opsetid("", 18)
    path.write_bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        ([0.5, 0.0], [0.5, 0.9e-4], None),
        ([0.5, 0.0], [0.5, 1.1e-4], r"differ by up to 0\.00011 \(expected at most 0\.0001: 0\.0001 of the largest"),
        ([2.0, -1000.0], [2.09, -1000.0], None),
        ([2.0, -1000.0], [2.11, -1000.0], r"differ by up to 0\.11 \(expected at most 0\.1: 0\.0001 of the largest"),
        # Near enough, and another class.
        ([1000.0, 999.99], [1000.0, 1000.01], r"and 0\.00% of the frames get the same class \(expected all\)"),
    ],
)
def test_parity_is_asked_for_in_proportion_to_the_logits_and_of_every_class(expected, got, message, tmp_path):
    constant_file(got, tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=message) if message else nullcontext():
        check_parity(Constant(expected), tmp_path / "m.onnx", np.ones((3, 2, 1), np.float32))
