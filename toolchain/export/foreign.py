"""Somebody else's ONNX file, brought to the form that thinwave's own have: what follows knows one form.

Weights are initialisers, nodes have names that differ, the input is ``iq``, the output ``logits``, the opset one that
quantisation can be written in and TensorRT 10.3 reads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deploy.errors import first_line
from toolchain.errors import ExportError
from toolchain.export.graph import free_name, rename, replace
from toolchain.export.onnx_file import INPUT, OPSET, OUTPUT

# int8 by channel needs 13; TensorRT 10.3's parser reads up to 20.
OPSETS = range(13, 21)
LEAST_IR = 4
# What says that a file is in integers already.
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "Integer")
NARROW = {TensorProto.FLOAT16: "half precision", TensorProto.BFLOAT16: "bfloat16"}


def in_own_form(path: Path) -> ModelProto:
    """Read the fp32 ONNX model at ``path``, of one input and one output, and bring it to the form that the module says.

    Raises ExportError for a file that is no ONNX model, that is not in fp32, or whose opset cannot be brought to one of
    :data:`OPSETS`.
    """
    model = _read(path)
    _require_fp32(path, model)
    model = _of_known_opset(path, model)
    # Before, every initialiser had to be an input too.
    model.ir_version = max(model.ir_version, LEAST_IR)
    graph = model.graph
    _weights_as_initialisers(graph)
    _rename_ends(graph)
    _name_nodes(graph)
    del graph.value_info[:]
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx's errors have no base of their own
        raise ExportError(f"{path}: cannot be brought to the form of thinwave's files: {first_line(error)}") from error
    return model


def _read(path: Path) -> ModelProto:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}") from error
    except onnx.checker.ValidationError as error:
        if "external" in str(error).lower() or "Data of TensorProto" in str(error):
            raise ExportError(
                f"{path}: its weights are in another file, which is missing: {first_line(error)}"
            ) from error
        raise ExportError(f"{path}: is no ONNX model: {first_line(error)}") from error
    except Exception as error:  # protobuf's and onnx's errors have no base of their own
        raise ExportError(f"{path}: is no ONNX model: {first_line(error)}") from error
    return model


def _require_fp32(path: Path, model: ModelProto) -> None:
    if quantised := [node.op_type for node in model.graph.node if any(word in node.op_type for word in QUANTISED)]:
        raise ExportError(f"{path}: is quantised already ({quantised[0]}); give the fp32 model that it was made from")
    if narrow := [NARROW[each.data_type] for each in model.graph.initializer if each.data_type in NARROW]:
        raise ExportError(f"{path}: has weights in {narrow[0]}; give the fp32 model that it was made from")


def _of_known_opset(path: Path, model: ModelProto) -> ModelProto:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset in OPSETS:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter's errors have no base of their own
        raise ExportError(
            f"{path}: is of opset {opset}, and cannot be brought to {OPSET}: {first_line(error)}; export it anew"
        ) from error


def _weights_as_initialisers(graph: GraphProto) -> None:
    """Let what is constant be an initialiser, and no initialiser an input."""
    outputs = {output.name for output in graph.output}
    constants = {tensor.name for tensor in graph.initializer}
    kept: list[NodeProto] = []
    same: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] not in outputs and (value := _constant(node)) is not None:
            graph.initializer.append(value)
            constants.add(node.output[0])
        elif node.op_type == "Identity" and node.input[0] in constants and node.output[0] not in outputs:
            same[node.output[0]] = same.get(node.input[0], node.input[0])
            constants.add(node.output[0])
        else:
            kept.append(node)
    replace(graph.node, kept)
    replace(graph.input, [each for each in graph.input if each.name not in constants])
    rename(graph, same)


def _constant(node: NodeProto) -> TensorProto | None:
    """What a node Constant gives, None for what is no tensor of numbers."""
    (attribute,) = node.attribute
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return tensor
    kind = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    if attribute.name not in kind:
        return None
    return numpy_helper.from_array(
        np.array(helper.get_attribute_value(attribute), dtype=kind[attribute.name]), node.output[0]
    )


def _rename_ends(graph: GraphProto) -> None:
    """Call the one input ``iq`` and the one output ``logits``; what was called so before gets out of the way."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for name in (INPUT, OUTPUT):
        if name in taken and name not in names:
            names[name] = free_name(f"{name}_inside", taken)
    rename(graph, names)


def _name_nodes(graph: GraphProto) -> None:
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        node.name = free_name(node.name or f"{node.op_type}_{number}", taken)
        taken.add(node.name)
