"""The family: small networks that between them hold what AMR models are made of, in several widths, lengths and depths.

They are none of the zoo's models, so that an estimate of one of those is a prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from toolchain.export.onnx_file import INPUT, OPSET, OUTPUT

CLASSES = 11
IR_VERSION = 9


@dataclass(frozen=True)
class Member:
    """A network of the family: a name, and how long its frames are."""

    name: str
    length: int
    model: ModelProto

    def write(self, folder: Path) -> Path:
        """Write it as ``NAME.onnx`` into ``folder``; return the path."""
        path = folder / f"{self.name}.onnx"
        onnx.save(self.model, path)
        return path


class _Graph:
    """Nodes and weights as they come; what :meth:`add` gives is the name of its output."""

    def __init__(self, length: int) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.length = length
        self._rng = np.random.default_rng(0)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, *shape: int) -> str:
        # Small enough that no value grows or dies out over many layers.
        values = self._rng.normal(0.0, 1.0 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        return self.constant(values)

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, into: int, out: int, kernel: tuple[int, ...], strides: Sequence[int] | None = None) -> str:
        pads = [size // 2 for size in kernel] * 2
        strides = strides or [1] * len(kernel)
        return self.add("Conv", x, self.weight(out, into, *kernel), self.weight(out), pads=pads, strides=strides)

    def head(self, x: str, width: int) -> str:
        """The mean over all positions, and a dense layer."""
        pooled = self.add("Flatten", self.add("GlobalAveragePool", x))
        return self.add("Gemm", pooled, self.weight(CLASSES, width), self.weight(CLASSES), transB=1)

    def model(self, logits: str) -> ModelProto:
        self.nodes.append(helper.make_node("Identity", [logits], [OUTPUT], name="answer"))
        graph = helper.make_graph(
            self.nodes,
            "family",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 2, self.length])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", CLASSES])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def family() -> Iterator[Member]:
    """Every member."""
    # Widths that fill a vector, as those of most networks do, and some that do not, as channel pruning leaves them.
    for width, length, depth in product((12, 16, 32, 64, 96), (96, 384, 1536), (4, 16)):
        yield Member(f"residual1d-{width}x{length}x{depth}", length, _residual(width, length, depth, (3,)))
    for rows, width, length, depth in product((1, 2), (12, 32, 64), (96, 640), (4, 12)):
        name = f"residual2d-{rows}x{width}x{length}x{depth}"
        yield Member(name, length, _residual(width, length, depth, (3, 3), rows))
    for width, length, depth in product((24, 80, 192), (96, 640), (3, 6)):
        yield Member(f"chain1d-{width}x{length}x{depth}", length, _chain(width, length, depth, (5,)))
    for width, length in product((48, 160), (96, 640)):
        yield Member(f"chain2d-{width}x{length}", length, _chain(width, length, 4, (2, 3)))
    for width, length in product((64, 256, 1024, 2048, 3072), (96, 640)):
        yield Member(f"dense-{width}x{length}", length, _dense(width, length, 3))
    for width, length, depth in product((48, 96), (96, 384), (2, 6)):
        yield Member(f"attention-{width}x{length}x{depth}", length, _attention(width, length, depth))


def _image(graph: _Graph, dimensions: int) -> tuple[str, int]:
    """The frame as it is, or as an image of one channel; with the number of its channels."""
    if dimensions == 1:
        return INPUT, 2
    return graph.add("Unsqueeze", INPUT, graph.constant(np.array([1], np.int64))), 1


def _residual(width: int, length: int, depth: int, kernel: tuple[int, ...], rows: int = 2) -> ModelProto:
    """Residual layers; an image keeps its two ``rows``, or the first layer makes one of them."""
    graph = _Graph(length)
    x, channels = _image(graph, len(kernel))
    strides = [1] * len(kernel) if rows == 2 else [2, *[1] * (len(kernel) - 1)]
    x = graph.add("Relu", graph.conv(x, channels, width, kernel, strides))
    for _ in range(depth // 2):
        branch = graph.add("Relu", graph.conv(x, width, width, kernel))
        x = graph.add("Relu", graph.add("Add", graph.conv(branch, width, width, kernel), x))
    return graph.model(graph.head(x, width))


def _chain(width: int, length: int, depth: int, kernel: tuple[int, ...]) -> ModelProto:
    graph = _Graph(length)
    x, channels = _image(graph, len(kernel))
    for number in range(depth):
        x = graph.add("Relu", graph.conv(x, channels if number == 0 else width, width, kernel))
        if number % 2:
            # Over time alone: an image of a frame has two rows.
            size = [1] * (len(kernel) - 1) + [2]
            x = graph.add("MaxPool", x, kernel_shape=size, strides=size)
    return graph.model(graph.head(x, width))


def _dense(width: int, length: int, depth: int) -> ModelProto:
    graph = _Graph(length)
    x, features = graph.add("Flatten", INPUT), 2 * length
    for _ in range(depth):
        x = graph.add("Relu", graph.add("Gemm", x, graph.weight(width, features), graph.weight(width), transB=1))
        features = width
    return graph.model(graph.add("Gemm", x, graph.weight(CLASSES, width), graph.weight(CLASSES), transB=1))


def _attention(width: int, length: int, depth: int, heads: int = 4, patch: int = 8) -> ModelProto:
    """Encoder layers with the norm in front, on patches of the frame."""
    graph = _Graph(length)

    def norm(x: str) -> str:
        scale = graph.constant(np.ones(width, np.float32))
        return graph.add("LayerNormalization", x, scale, graph.constant(np.zeros(width, np.float32)), axis=-1)

    def linear(x: str, into: int, out: int) -> str:
        return graph.add("Add", graph.add("MatMul", x, graph.weight(into, out)), graph.weight(out))

    def split(x: str) -> str:
        shape = graph.constant(np.array([0, 0, heads, width // heads], np.int64))
        return graph.add("Transpose", graph.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    patches = graph.add("Conv", INPUT, graph.weight(width, 2, patch), kernel_shape=[patch], strides=[patch])
    x = graph.add("Transpose", patches, perm=[0, 2, 1])
    for _ in range(depth):
        inner = norm(x)
        query, key, value = (split(linear(inner, width, width)) for _ in range(3))
        scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
        mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
        joined = graph.add(
            "Reshape",
            graph.add("Transpose", mixed, perm=[0, 2, 1, 3]),
            graph.constant(np.array([0, 0, width], np.int64)),
        )
        x = graph.add("Add", x, linear(joined, width, width))
        wide = graph.add("Relu", linear(norm(x), width, 4 * width))
        x = graph.add("Add", x, linear(wide, 4 * width, width))
    pooled = graph.add("ReduceMean", x, graph.constant(np.array([1], np.int64)), keepdims=0)
    return graph.model(graph.add("Gemm", pooled, graph.weight(CLASSES, width), graph.weight(CLASSES), transB=1))
