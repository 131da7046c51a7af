"""Tiny ONNX models with logits that can be worked out by hand, and bundles around them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.bundle import InputFormat, Manifest, ModelFile, sha256_of, write_manifest

LENGTH = 32
CLASSES = ("BPSK", "QPSK", "16QAM")
# Logits are the means over time of I and Q, times this.
HEAD = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]], dtype=np.float32)


def _write(path: Path, nodes: list, weights: dict, *, length: int | str, batch: int | str, classes: int | None) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, [batch, 2, length])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def mean_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model whose logits are the means of I and Q times HEAD, after ``depth`` convolutions that change nothing."""

    def write(
        name: str = "model.onnx", *, depth: int = 0, length: int | str = LENGTH, batch: int | str = "batch", head=HEAD
    ) -> Path:
        nodes, weights, at = [], {"head": np.asarray(head)}, "iq"
        identity = np.zeros((2, 2, 3), dtype=np.float32)
        identity[[0, 1], [0, 1], 1] = 1.0
        for layer in range(depth):
            weights[f"w{layer}"] = identity
            nodes.append(helper.make_node("Conv", [at, f"w{layer}"], [f"c{layer}"], pads=[1, 1]))
            at = f"c{layer}"
        nodes.append(helper.make_node("ReduceMean", [at], ["mean"], axes=[2], keepdims=0))
        nodes.append(helper.make_node("MatMul", ["mean", "head"], ["logits"]))
        return _write(
            tmp_path / name, nodes, weights, length=length, batch=batch, classes=int(weights["head"].shape[1])
        )

    return write


@pytest.fixture
def half_model(tmp_path: Path) -> Path:
    """Write the mean model with fp16 arithmetic between casts, float32 outside."""
    nodes = [
        helper.make_node("Cast", ["iq"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "w"], ["c"], pads=[1, 1]),
        helper.make_node("ReduceMean", ["c"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["out"]),
        helper.make_node("Cast", ["out"], ["logits"], to=TensorProto.FLOAT),
    ]
    weights = {"w": np.ones((2, 2, 3), dtype=np.float16), "head": HEAD.astype(np.float16)}
    return _write(tmp_path / "half.onnx", nodes, weights, length=LENGTH, batch="batch", classes=3)


@pytest.fixture
def int8_model(tmp_path: Path) -> Path:
    """Write a model whose convolution stands between quantise and dequantise nodes, as the exporter leaves it."""
    nodes = [
        helper.make_node("QuantizeLinear", ["iq", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wf"]),
        helper.make_node("Conv", ["x", "wf"], ["c"], pads=[1, 1]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["cx"]),
        helper.make_node("ReduceMean", ["cx"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
    ]
    weights = {
        "s": np.array(0.05, dtype=np.float32),
        "z": np.array(0, dtype=np.int8),
        "w": np.ones((2, 2, 3), dtype=np.int8),
        "head": HEAD,
    }
    return _write(tmp_path / "int8.onnx", nodes, weights, length=LENGTH, batch="batch", classes=3)


@pytest.fixture
def manifest_for() -> Callable[..., Manifest]:
    """Make the manifest of a folder that holds the given files by precision."""

    def make(folder: Path, files: dict[str, str], **changes: object) -> Manifest:
        precisions = {
            precision: ModelFile(
                file=name,
                size_bytes=(folder / name).stat().st_size,
                sha256=sha256_of(folder / name),
                params=6,
                macs=6,
            )
            for precision, name in files.items()
        }
        values = {
            "model": "mean",
            "classes": CLASSES,
            "input": InputFormat(shape=(2, LENGTH), scaling="none"),
            "precisions": precisions,
            "versions": {"thinwave": "0.1.0"},
        }
        return Manifest(**{**values, **changes})

    return make


@pytest.fixture
def bundle_folder(tmp_path: Path, mean_model, manifest_for) -> Callable[..., Path]:
    """Write a bundle with one fp32 model of ``depth`` convolutions, and return its folder."""

    def write(name: str = "bundle", *, depth: int = 1, **changes: object) -> Path:
        model = mean_model(f"{name}/fp32.onnx", depth=depth)
        write_manifest(model.parent, manifest_for(model.parent, {"fp32": model.name}, **changes))
        return model.parent

    return write


@pytest.fixture
def children_of() -> Callable[[int], list[int]]:
    """Find the processes that a process has started."""

    def find(parent: int) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # After the name, which may hold anything, in brackets: state, parent.
                _, fields = (folder / "stat").read_text().rsplit(")", 1)
            except OSError:
                continue
            if int(fields.split()[1]) == parent:
                found.append(int(folder.name))
        return found

    return find


@pytest.fixture
def tree() -> Callable[[Path, dict[str, str]], Path]:
    """Write a system's files, as those of /proc and /sys, below a folder that stands for the root."""

    def write(root: Path, files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return write
