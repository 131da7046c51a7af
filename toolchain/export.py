"""From a torch model to an ONNX file that computes the same, on any batch, with nothing of this machine in it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deploy.bundle import Parity
from deploy.runtimes import open_runtime
from toolchain.errors import ExportError
from toolchain.training import logits_of

# What TensorRT 10.3's parser and ONNX Runtime 1.19 both read.
OPSET = 18
INPUT, OUTPUT = "iq", "logits"

# Parity asked for in the logits, from float32 arithmetic in another order: of the largest of them, with which rounding errors
# grow, or absolute where the largest is below 1.
MOST_DIFFERENCE = 1e-4


def export_onnx(model: nn.Module, path: Path, *, classes: Sequence[str], length: int) -> None:
    """Write ``model`` to ``path`` in fp32: ``iq`` (batch, 2, ``length``) to ``logits`` (batch, classes), batch dynamic.

    The input scaling is inside the graph; the class names are in its metadata, in the order of the logits, as JSON.
    Equal weights give equal bytes.
    """
    # Traced with two frames: one alone would be taken for a constant.
    example = torch.zeros(2, 2, length)
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
    if program is None:
        raise ExportError(f"torch.onnx.export gave nothing for {type(model).__name__}")
    graph = program.model_proto
    _strip_metadata(graph)
    graph.producer_name, graph.producer_version = "thinwave", ""
    onnx.helper.set_model_props(graph, {"classes": json.dumps(list(classes))})
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def check_parity(model: nn.Module, path: Path, frames: NDArray[np.float32], *, threads: int = 1) -> Parity:
    """Compare the ONNX file at ``path`` in ONNX Runtime with ``model`` in torch on ``frames`` (n, 2, length).

    Raises ExportError when a logit differs by more than 1e-4 of the largest |logit| of torch's, or 1e-4 where that is larger,
    or when one frame gets another class.
    """
    expected = logits_of(model, frames).numpy()
    with open_runtime("onnxruntime", path, threads=threads) as runtime:
        got = runtime.run(frames)
    parity = parity_of(expected, got)
    most = most_difference(expected)
    if parity.max_abs_diff > most or parity.agreement < 1.0:
        raise ExportError(
            f"{path.name} does not compute what the model does: over {len(frames)} frames the logits differ by up to "
            f"{parity.max_abs_diff:.3g} (expected at most {most:.3g}: {MOST_DIFFERENCE:g} of the largest of torch's, or "
            f"{MOST_DIFFERENCE:g} if larger) and {parity.agreement:.2%} of the frames get the same class (expected all)"
        )
    return parity


def most_difference(expected: NDArray[np.float32]) -> float:
    """How far other logits may be from ``expected`` (n, classes): 1e-4 of the largest |logit|, or 1e-4 if that is larger."""
    return MOST_DIFFERENCE * max(1.0, float(np.abs(expected).max()))


def parity_of(expected: NDArray[np.float32], got: NDArray[np.float32]) -> Parity:
    """The largest difference between two sets of logits (n, classes), and the share of frames with the same argmax.

    Raises ExportError where one of them is not finite.
    """
    for source, logits in (("torch", expected), ("ONNX Runtime", got)):
        if not np.isfinite(logits).all():
            raise ExportError(f"{source} gives logits that are not finite; the weights are damaged or far too large")
    worst = np.abs(expected.astype(np.float64) - got.astype(np.float64)).max()
    same = expected.argmax(axis=1) == got.argmax(axis=1)
    return Parity(max_abs_diff=float(worst), agreement=float(same.mean()))


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
