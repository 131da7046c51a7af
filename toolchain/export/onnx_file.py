"""From a torch model to an ONNX file that computes the same, on any batch, with nothing of this machine in it."""

from __future__ import annotations

import ast
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import nn

from deploy.errors import first_line
from toolchain.errors import ExportError

# What TensorRT 10.3's parser and ONNX Runtime 1.19 both read.
OPSET = 18
INPUT, OUTPUT = "iq", "logits"


def export_onnx(model: nn.Module, path: Path, *, classes: Sequence[str], length: int) -> None:
    """Write ``model`` to ``path`` in fp32: ``iq`` (batch, 2, ``length``) to ``logits`` (batch, classes), batch dynamic.

    The input scaling is inside the graph; the class names are in its metadata, in the order of the logits, as JSON. Nodes
    are named after the modules that they come from: ``stages.0.1.branch.0/Conv``. Equal weights give equal bytes.

    Raises ExportError for a model that the exporter cannot trace.
    """
    # Traced with two frames: one alone would be taken for a constant.
    example = torch.zeros(2, 2, length)
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                model.eval(),
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter fails in many ways on code that it cannot trace
        raise ExportError(
            f"{type(model).__name__} cannot be written as ONNX: {_reason(error)}; write its forward without what depends on "
            "values, such as .item() or an if on a tensor"
        ) from error
    if program is None:
        raise ExportError(f"torch.onnx.export gave nothing for {type(model).__name__}")
    graph = program.model_proto
    _name_after_modules(graph)
    _strip_metadata(graph)
    graph.producer_name, graph.producer_version = "thinwave", ""
    onnx.helper.set_model_props(graph, {"classes": json.dumps(list(classes))})
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def _reason(error: BaseException) -> str:
    """What lies at the bottom of an exporter's error: above it are pages on how to ask torch for help."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _name_after_modules(model: onnx.ModelProto) -> None:
    """Give each node the path of its module and its operator as a name: what people, and a profile's rows, know it by."""
    weights = {tensor.name for tensor in model.graph.initializer}
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        # A normalisation that was folded into a convolution is written down as the convolution's place.
        own = next((name.rpartition(".")[0] for name in node.input if name in weights and "." in name), None)
        module = _scope(node) if own is None else own
        name = f"{module}/{node.op_type}" if module else node.op_type
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _scope(node: onnx.NodeProto) -> str:
    """The path of the innermost module that ``node`` was traced in, "" where that is the model itself."""
    noted = {entry.key: entry.value for entry in node.metadata_props}
    scopes = ast.literal_eval(noted.get("pkg.torch.onnx.name_scopes", "[]"))
    # The last is the operation's own name.
    return str(scopes[-2]) if len(scopes) > 1 else ""


def _strip_metadata(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes for debugging: source paths, stack traces, the traced program."""
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    for part in (graph.node, graph.initializer, graph.input, graph.output, graph.value_info):
        for item in part:
            del item.metadata_props[:]
            item.doc_string = ""
    model.doc_string = graph.doc_string = ""


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's advice about packages that it did not need, and its own deprecations, off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
