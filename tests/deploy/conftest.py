"""Tiny ONNX models with logits that can be worked out by hand, and bundles around them.

A frame whose I is ``a`` all along and whose Q is ``b`` has the logits (a, 2b, b - a): see HEAD.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.bundle import InputFormat, Manifest, ModelFile, NamedFile, Reference, write_manifest

LENGTH = 32
CLASSES = ("BPSK", "QPSK", "16QAM")
# Logits are the means over time of I and Q, times this.
HEAD = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]], dtype=np.float32)
# A convolution with this changes nothing.
IDENTITY = np.zeros((2, 2, 3), dtype=np.float32)
IDENTITY[[0, 1], [0, 1], 1] = 1.0
# (I, Q) of the reference frames. Their logits are (1, 0, -1), (0, 2, 1), (1, 0, -1), and (1, 0, -1), (0, 2, 1), (-1, 0, 1):
# all but the third, at 0 dB, get the class of their label, 0 1 2 0 1 2.
POINTS = ((1, 0), (0, 1), (1, 0), (1, 0), (0, 1), (-1, 0))
LABELS = (0, 1, 2, 0, 1, 2)
SNR_DB = (0.0, 0.0, 0.0, 10.0, 10.0, 10.0)


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
        for layer in range(depth):
            weights[f"w{layer}"] = IDENTITY
            nodes.append(helper.make_node("Conv", [at, f"w{layer}"], [f"c{layer}"], pads=[1, 1], name=f"conv{layer}"))
            at = f"c{layer}"
        nodes.append(helper.make_node("ReduceMean", [at], ["mean"], axes=[2], keepdims=0, name="over_time"))
        nodes.append(helper.make_node("MatMul", ["mean", "head"], ["logits"], name="to_logits"))
        return _write(
            tmp_path / name, nodes, weights, length=length, batch=batch, classes=int(weights["head"].shape[1])
        )

    return write


@pytest.fixture
def half_model(tmp_path: Path) -> Path:
    """Write the mean model with fp16 arithmetic between casts, float32 outside."""
    nodes = [
        helper.make_node("Cast", ["iq"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "w"], ["c"], pads=[1, 1], name="conv0"),
        helper.make_node("ReduceMean", ["c"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["out"]),
        helper.make_node("Cast", ["out"], ["logits"], to=TensorProto.FLOAT),
    ]
    weights = {"w": IDENTITY.astype(np.float16), "head": HEAD.astype(np.float16)}
    return _write(tmp_path / "half.onnx", nodes, weights, length=LENGTH, batch="batch", classes=3)


@pytest.fixture
def int8_model(tmp_path: Path) -> Path:
    """Write the mean model, its convolution between quantise and dequantise nodes, as the exporter leaves it.

    A step is 1/16, so that frames of whole numbers from -7 to 7 are computed exactly. Of its 8 channels 6 are zero: OpenVINO
    2026.4 gives zeros for all but the first two frames of a batch where quantised values of fewer are averaged.
    """
    weights_of_8, head_of_8 = np.zeros((8, 2, 3), dtype=np.int8), np.zeros((8, 3), dtype=np.float32)
    weights_of_8[:2], head_of_8[:2] = 16 * IDENTITY, HEAD
    nodes = [
        helper.make_node("QuantizeLinear", ["iq", "s", "z"], ["q"], name="quantise_iq"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"], name="dequantise_iq"),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wf"], name="dequantise_weights"),
        helper.make_node("Conv", ["x", "wf"], ["c"], pads=[1, 1], name="conv0"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"], name="quantise_c"),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["cx"], name="dequantise_c"),
        helper.make_node("ReduceMean", ["cx"], ["mean"], axes=[2], keepdims=0, name="over_time"),
        helper.make_node("MatMul", ["mean", "head"], ["logits"], name="to_logits"),
    ]
    weights = {
        "s": np.array(1 / 16, dtype=np.float32),
        "z": np.array(0, dtype=np.int8),
        "w": weights_of_8,
        "head": head_of_8,
    }
    return _write(tmp_path / "int8.onnx", nodes, weights, length=LENGTH, batch="batch", classes=3)


@pytest.fixture
def steady_frames() -> Callable[..., np.ndarray]:
    """Make frames that do not change in time, of (I, Q) each: float32 (n, 2, LENGTH)."""

    def make(points: Sequence[tuple[float, float]] = POINTS, length: int = LENGTH) -> np.ndarray:
        return np.repeat(np.array(points, dtype=np.float32)[:, :, None], length, axis=2)

    return make


@pytest.fixture
def write_reference(steady_frames) -> Callable[..., Path]:
    """Write a bundle's reference frames: those of POINTS, with the mean model's logits, or what is given instead."""

    def write(folder: Path, points: Sequence[tuple[float, float]] = POINTS, **changes: object) -> Path:
        arrays = {
            "iq": steady_frames(points),
            "label": np.array(LABELS if points is POINTS else [0] * len(points)),
            "snr_db": np.array(SNR_DB if points is POINTS else [0.0] * len(points), dtype=np.float32),
            "classes": np.array(CLASSES),
            "logits": np.array([(a, 2 * b, b - a) for a, b in points], dtype=np.float32),
        }
        arrays = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "reference.npz", **arrays)
        return folder / "reference.npz"

    return write


@pytest.fixture
def manifest_for() -> Callable[..., Manifest]:
    """Make the manifest of a folder that holds the given files by precision, and ``reference.npz`` where it is there."""

    def make(folder: Path, files: dict[str, str], **changes: object) -> Manifest:
        precisions = {
            precision: ModelFile(**NamedFile.facts(folder / name), params=6, macs=6)
            for precision, name in files.items()
        }
        reference = folder / "reference.npz"
        if reference.is_file() and "reference" not in changes:
            with np.load(reference) as arrays:
                changes["reference"] = Reference(**NamedFile.facts(reference), frames=len(arrays["iq"]))
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
def bundle_folder(tmp_path: Path, mean_model, manifest_for, write_reference) -> Callable[..., Path]:
    """Write a bundle with one fp32 model of ``depth`` convolutions and reference frames, and return its folder."""

    def write(name: str = "bundle", *, depth: int = 1, **changes: object) -> Path:
        model = mean_model(f"{name}/fp32.onnx", depth=depth)
        write_reference(model.parent)
        write_manifest(model.parent, manifest_for(model.parent, {"fp32": model.name}, **changes))
        return model.parent

    return write


@pytest.fixture
def three_precisions(tmp_path: Path, mean_model, half_model, int8_model, manifest_for, write_reference) -> Path:
    """Write a bundle with the mean model in fp32, fp16 and int8, all exact on its reference frames."""
    folder = mean_model("three/fp32.onnx", depth=1).parent
    (folder / "fp16.onnx").write_bytes(half_model.read_bytes())
    (folder / "int8.onnx").write_bytes(int8_model.read_bytes())
    write_reference(folder)
    files = {precision: f"{precision}.onnx" for precision in ("fp32", "fp16", "int8")}
    write_manifest(folder, manifest_for(folder, files))
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of a given size: a real full disk. Mounting one needs root."""
    folder = tmp_path / "full"
    folder.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "x", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
            pytest.skip("needs the right to mount a small tmpfs")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False, stderr=subprocess.DEVNULL)


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
def dying_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    """Let every process that opens a model end as one does whose native code reads what is not there."""
    script = tmp_path / "dying" / "die.py"
    script.parent.mkdir()
    script.write_text("import os, sys\nsys.stdin.readline()\nos.kill(os.getpid(), 11)\n")

    @contextmanager
    def dying() -> Iterator[None]:
        with monkeypatch.context() as changed:
            changed.setattr("deploy.latency.CHILD", (str(script),))
            yield

    return dying()


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
