"""From an fp32 ONNX file to one that computes in half precision: strongly typed, float32 outside.

ONNX Runtime's own converter casts the input to half precision whatever is asked to stay float32, and names two casts alike
where two nodes share a constant.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deploy.runtimes.onnxruntime import LOG_SEVERITY_ERROR
from toolchain.errors import ExportError
from toolchain.export.graph import free_name, graphs_in, rename, value_names

# A layer with one of these has left the frames' own scale behind.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
FLOAT, HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
SUFFIX = {FLOAT: "_float", HALF: "_half"}
LARGEST = float(np.finfo(np.float16).max)
# What is run to see all values inside, which are kept until it is done.
FRAMES_AT_ONCE = 8


def to_half(source: Path, path: Path, frames: NDArray[np.float32]) -> None:
    """Write the fp32 model at ``source`` to ``path`` in fp16, with casts after its input and before its output.

    What comes before the first layers with weights stays float32: there a frame is brought to unit power, and the squares of
    a radio's integers overflow half precision. The types are those in the file, as TensorRT's strongly typed route wants them.

    ``frames`` (n, 2, length) are run in float32 to see that no value overflows: ONNX Runtime computes fp16 files in float32
    on most processors, and would never show it.

    Raises ExportError for weights and values that are too large for half precision, for a model without layers that have
    weights, and for what cannot be written in it.
    """
    model = onnx.load(source)
    outputs = _set_apart(model)
    stays = before_weights(model)
    if all(name in stays for node in model.graph.node for name in node.output):
        raise ExportError(f"{path.name}: has no layer that fp16 is written for ({', '.join(WEIGHTED)} with weights)")
    half = _Half(model)
    for node in model.graph.node:
        half.add(node, FLOAT if all(name in stays for name in node.output) else HALF)
    for name, inner in outputs.items():
        half.nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}/Cast", to=FLOAT))
    half.write_into(model)
    _require_in_range(source, path.name, stays, frames)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path.name}: cannot be written in fp16: {error}; leave fp16 out") from error
    path.write_bytes(model.SerializeToString(deterministic=True))


def before_weights(model: ModelProto) -> set[str]:
    """The names of the values that no layer with weights comes before: a frame, on its way to its scale."""
    constants = {tensor.name for tensor in model.graph.initializer}
    before = {tensor.name for tensor in model.graph.input}
    for node in model.graph.node:
        weighted = node.op_type in WEIGHTED and any(name in constants for name in node.input)
        if not weighted and all(name in before or name in constants for name in node.input if name):
            before.update(node.output)
    return before


class _Half:
    """A graph on its way to half precision: the nodes so far, all constants, and the type that each value has now."""

    def __init__(self, model: ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        self.nodes: list[NodeProto] = []
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.input, *inferred.value_info)}
        kinds.update({name: tensor.data_type for name, tensor in self._constants.items()})
        self._kinds = {name: kind for name, kind in kinds.items() if kind == FLOAT}
        self._taken = value_names(model.graph)
        self._there: dict[tuple[str, int], str] = {}

    def add(self, node: NodeProto, kind: int) -> None:
        """Let ``node`` compute in ``kind``."""
        for position, name in enumerate(node.input):
            node.input[position] = self._value(name, kind)
        if any(True for _ in graphs_in(node)):
            raise ExportError(f"{node.name} ({node.op_type}) holds a graph of its own, which fp16 is not written for")
        for attribute in node.attribute:
            if kind == HALF and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = HALF
            if kind == HALF and attribute.type == AttributeProto.TENSOR and attribute.t.data_type == FLOAT:
                attribute.t.CopyFrom(_halved(attribute.t, attribute.t.name))
        self.nodes.append(node)
        self._kinds.update({name: kind for name in node.output if name in self._kinds})

    def write_into(self, model: ModelProto) -> None:
        """Make this the graph of ``model``."""
        used = {name for node in self.nodes for name in node.input}
        graph = model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(tensor for name, tensor in self._constants.items() if name in used)

    def _value(self, name: str, kind: int) -> str:
        """The name under which the value ``name`` is there in ``kind``; what is no float stays what it is."""
        if self._kinds.get(name, kind) == kind:
            return name
        there = self._there.get((name, kind), "")
        if not there:
            there = self._there[name, kind] = free_name(name + SUFFIX[kind], self._taken)
            self._taken.add(there)
            self._kinds[there] = kind
            if name in self._constants:
                self._constants[there] = _halved(self._constants[name], there)
            else:
                self.nodes.append(helper.make_node("Cast", [name], [there], name=f"{there}/Cast", to=kind))
        return there


def _set_apart(model: ModelProto) -> dict[str, str]:
    """Rename what the outputs are made of, and say how: output -> the value that it is made of now."""
    taken = value_names(model.graph)
    inner = {output.name: free_name(f"{output.name}_inner", taken) for output in model.graph.output}
    rename(model.graph, inner, ends=False)
    return inner


def _require_in_range(source: Path, name: str, stays: set[str], frames: NDArray[np.float32]) -> None:
    """Raise ExportError where a value that is to be half precision is beyond it on ``frames``."""
    for value, largest in largest_values(source, frames).items():
        if value not in stays and largest > LARGEST:
            raise ExportError(
                f"{name}: {value} reaches {largest:.3g} on the reference frames, and the largest of fp16 is {LARGEST:g}; "
                "leave fp16 out"
            )


def largest_values(source: Path, frames: NDArray[np.float32]) -> dict[str, float]:
    """The largest finite magnitude of every float value inside the fp32 model at ``source`` on ``frames`` (n, 2, length)."""
    model = onnx.load(source)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    ends = {output.name for output in model.graph.output}
    inside = [value for value in inferred.value_info if value.type.tensor_type.elem_type == FLOAT]
    model.graph.output.extend(helper.make_empty_tensor_value_info(value.name) for value in inside)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_SEVERITY_ERROR
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [*ends, *(value.name for value in inside)]
    largest = dict.fromkeys(names, 0.0)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        values = session.run(names, {model.graph.input[0].name: frames[start : start + FRAMES_AT_ONCE]})
        for name, array in zip(names, values, strict=True):
            largest[name] = max(largest[name], _largest(array))
    return largest


def _largest(values: NDArray[np.float32]) -> float:
    """The largest magnitude, but for what is not finite: masks hold infinities, and half precision does too."""
    return float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0))


def _halved(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if _largest(values) > LARGEST:
        raise ExportError(f"{tensor.name} holds values beyond {LARGEST:g}, the largest of fp16; leave fp16 out")
    return numpy_helper.from_array(values.astype(np.float16), name)
