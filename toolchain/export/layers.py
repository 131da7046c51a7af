"""The layers of an ONNX file, a row a node: what each multiplies, reads and writes for one frame.

The convention of :mod:`toolchain.cost`: the products of convolutions, matrices and recurrent layers count, one
multiply-accumulate (MAC) each. Bytes are those that a runtime moves that fuses nothing but quantisation: a tensor that is
quantised on its way to a layer, or right after it, counts as the integers that it becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from deploy.bundle import Layer, sum_if_known
from deploy.names import Precision
from toolchain.errors import ExportError

Shape = tuple[int, ...]

# What a runtime folds into the layers beside it.
QUANTISING = ("QuantizeLinear", "DequantizeLinear")
# Operators of other graphs, of which what is inside is not looked at, and one that can be any product.
UNKNOWN = ("If", "Loop", "Scan", "Einsum", "DeformConv")


@dataclass(frozen=True)
class Tensor:
    """What is known of a value for one frame; ``constant``: it is in the file, the same for every frame.

    ``shape`` is None where it depends on what is in the frame, and so is ``size_bytes``.
    """

    shape: Shape | None
    size_bytes: int | None
    constant: bool


def layers_of(model: ModelProto) -> tuple[Layer, ...]:
    """The layers of ``model`` in the order in which they run.

    ``macs`` is None for an operator of which nobody here knows the products, and bytes are where a shape depends on the frame.

    Raises ExportError for a model whose shapes for one frame contradict each other.
    """
    graph = _inferred(model)
    tensors = _tensors(graph)
    makers = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def read(name: str) -> Tensor:
        """The value as it lies in memory before it is read: before a DequantizeLinear."""
        maker = makers.get(name)
        return read(maker.input[0]) if maker is not None and maker.op_type == "DequantizeLinear" else tensors[name]

    def written(name: str) -> Tensor:
        """The value as it is written: after a QuantizeLinear, where nobody else reads it."""
        following = users.get(name, [])
        quantised = bool(following) and all(node.op_type == "QuantizeLinear" for node in following)
        return tensors[following[0].output[0]] if quantised else tensors[name]

    rows = []
    for node in graph.node:
        if node.op_type in (*QUANTISING, "Constant"):
            continue
        inputs = [read(name) for name in node.input if name]
        outputs = [written(name) for name in node.output if name]
        rows.append(
            Layer(
                name=node.name,
                op=node.op_type,
                macs=_macs(node, tensors),
                macs_on_padding=_macs_on_padding(node, tensors),
                bytes_in=sum_if_known(each.size_bytes for each in inputs if not each.constant),
                bytes_out=sum_if_known(each.size_bytes for each in outputs),
                bytes_weights=sum_if_known(each.size_bytes for each in inputs if each.constant),
            )
        )
    return tuple(rows)


def precision_of(model: ModelProto) -> Precision:
    """What a file is written in: int8 where anything in it is quantised, fp16 where a weight is in half precision."""
    if any(node.op_type in QUANTISING for node in model.graph.node):
        return "int8"
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    return "fp16" if TensorProto.FLOAT16 in kinds else "fp32"


def _inferred(model: ModelProto) -> onnx.GraphProto:
    """The graph for a batch of one, with the type and shape of every value."""
    one = ModelProto()
    one.CopyFrom(model)
    graph = one.graph
    del graph.value_info[:]
    for tensor in graph.input:
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    for tensor in graph.output:
        tensor.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(one, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"the shapes inside the model cannot be told for one frame: {error}") from error


def _tensors(graph: onnx.GraphProto) -> Mapping[str, Tensor]:
    tensors = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        known = kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)
        shape = tuple(dim.dim_value for dim in kind.shape.dim) if known else None
        tensors[value.name] = Tensor(shape, _size_bytes(shape, kind.elem_type), constant=False)
    constants = [*graph.initializer, *(c for node in graph.node if (c := _constant(node)) is not None)]
    for tensor in constants:
        shape = tuple(tensor.dims)
        tensors[tensor.name] = Tensor(shape, _size_bytes(shape, tensor.data_type), constant=True)
    return tensors


def _constant(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or not node.attribute[0].HasField("t"):
        return None
    value = node.attribute[0].t
    return TensorProto(dims=value.dims, data_type=value.data_type, name=node.output[0])


def _size_bytes(shape: Shape | None, kind: int) -> int | None:
    return None if shape is None else prod(shape) * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize


def _macs(node: NodeProto, tensors: Mapping[str, Tensor]) -> int | None:
    if node.op_type in PRODUCTS:
        inputs = [tensors[name].shape if name else () for name in node.input]
        output = tensors[next(filter(None, node.output))].shape
        shapes = [shape for shape in inputs if shape is not None]
        if output is None or len(shapes) < len(inputs):
            return None
        return PRODUCTS[node.op_type](node, shapes, output)
    return None if node.domain not in ("", "ai.onnx") or node.op_type in UNKNOWN else 0


def _macs_on_padding(node: NodeProto, tensors: Mapping[str, Tensor]) -> int:
    """Of a convolution's products those of a tap that lies beyond the edge of what is convolved; 0 where no shape says."""
    if node.op_type != "Conv":
        return 0
    read, weight = (tensors[name].shape for name in node.input[:2])
    output = tensors[node.output[0]].shape
    if read is None or weight is None or output is None:
        return 0
    pairs = inside = 1
    for axis in _window_axes(node, read[2:], weight[2:], output[2:]):
        pairs *= axis.outputs * axis.taps
        inside *= axis.pairs_inside
    return (pairs - inside) * output[0] * output[1] * weight[1]


@dataclass(frozen=True)
class _WindowAxis:
    """How a kernel of ``taps`` goes over one axis of ``size`` values, to give ``outputs``."""

    size: int
    taps: int
    outputs: int
    stride: int
    dilation: int
    pad: int

    @property
    def pairs_inside(self) -> int:
        """The pairs of an output and a tap of which the tap lies on a value."""
        starts = range(-self.pad, self.outputs * self.stride - self.pad, self.stride)
        return sum(0 <= start + tap * self.dilation < self.size for start in starts for tap in range(self.taps))


def _window_axes(node: NodeProto, sizes: Shape, taps: Shape, outputs: Shape) -> list[_WindowAxis]:
    told = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    ones = [1] * len(sizes)
    strides, dilations = told.get("strides", ones), told.get("dilations", ones)
    auto = told.get("auto_pad", b"NOTSET")
    pads = told.get("pads", [0] * len(sizes)) if auto in (b"NOTSET", b"VALID") else []
    axes = []
    for at, (size, kernel, count) in enumerate(zip(sizes, taps, outputs, strict=True)):
        lacking = max(0, (count - 1) * strides[at] + (kernel - 1) * dilations[at] + 1 - size)
        # What is added of itself is shared between both ends, the odd one at the end that the name says.
        pad = pads[at] if pads else (lacking + (auto == b"SAME_LOWER")) // 2
        axes.append(_WindowAxis(size, kernel, count, strides[at], dilations[at], pad))
    return axes


def _convolution(_node: NodeProto, shapes: list[Shape], output: Shape) -> int:
    """Each output is a sum over a kernel, of a weight (out, channels in a group, *size)."""
    return prod(output) * prod(shapes[1][1:])


def _transposed(_node: NodeProto, shapes: list[Shape], _output: Shape) -> int:
    return prod(shapes[0]) * prod(shapes[1][1:])


def _gemm(node: NodeProto, shapes: list[Shape], output: Shape) -> int:
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(output) * shapes[0][0 if turned else -1]


def _recurrent(_node: NodeProto, shapes: list[Shape], _output: Shape) -> int:
    """Each step takes the inputs (steps, batch, n) to all gates, by W (directions, gates, n), and the state by R."""
    return prod(shapes[0][:2]) * (prod(shapes[1]) + prod(shapes[2]))


PRODUCTS: dict[str, Callable[[NodeProto, list[Shape], Shape], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "MatMul": lambda _node, shapes, output: prod(output) * shapes[0][-1],
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
"""The operators whose products are counted: name -> (node, shapes of its inputs, shape of its first output) -> MACs."""
