"""ONNX Runtime on the processor.

Sessions are set for one stream of frames: all graph optimisations, one operator at a time, ``threads`` threads inside
an operator. Two settings about spinning, which matter from two threads on:

- ``session.intra_op.allow_spinning`` stays on, ONNX Runtime's default: within a run the workers wait for their next
  piece of work spinning, as they will in use. Off, every operator pays a wake-up: 40 convolutions on two threads took
  an eighth longer at the median here.
- ``session.force_spinning_stop`` is on: the workers stop spinning when the run ends. By default they go on for a while,
  and when two models are measured in turns on the same cores, the workers of one take the other's time. It also keeps
  the next run from finding workers still awake, which it would not when frames come one by one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from deploy.errors import RuntimeRefusedError
from deploy.results import Precision
from deploy.runtimes.base import Float32, Runtime

# Errors and worse only: a child's last line on stderr should be what went wrong, not a warning about an initialiser.
LOG_SEVERITY_ERROR = 3

# An operator does the model's arithmetic if its name holds one of these: FusedConv, QLinearConv, QGemm, MatMulInteger.
COMPUTING = ("Conv", "Gemm", "MatMul", "LSTM", "GRU", "RNN")


class OnnxRuntime(Runtime):
    """An ONNX model with one input (batch, 2, length) and one output (batch, classes), both float32."""

    name = "onnxruntime"
    version = onnxruntime.__version__

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Open the model at ``path``; raises RuntimeRefusedError where ONNX Runtime refuses it or its inputs are others."""
        self._path, self._threads = path, threads
        self._session: Any = _open(path, _options(threads))
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        _require_signature(path, "input", inputs, dimensions=3)
        _require_signature(path, "output", outputs, dimensions=2)
        self._input, self._outputs = inputs[0].name, [outputs[0].name]
        self._expected: list[int | str | None] = inputs[0].shape
        self._accepted: tuple[int, ...] | None = None

    def run(self, frames: Float32) -> Float32:
        """Return the logits (batch, classes); see :meth:`Runtime.run`."""
        # The full check is made once a shape: it would be a visible part of a run of 10 µs.
        if frames.shape != self._accepted or frames.dtype != np.float32:
            self._require(frames)
        try:
            logits: Float32 = self._session.run(self._outputs, {self._input: frames})[0]
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise RuntimeRefusedError(f"{self._path}: onnxruntime could not run the model: {error}") from error
        self._accepted = frames.shape
        return logits

    @property
    def length(self) -> int | None:
        """The samples of a frame; None where the model takes any."""
        size = self._expected[-1]
        return size if isinstance(size, int) else None

    @cached_property
    def precision(self) -> Precision:
        """The narrowest type that arithmetic ran in, from ONNX Runtime's own trace of one run.

        The file does not tell: on processors without half-precision arithmetic an fp16 graph is executed in fp32.
        """
        if self._accepted is None:
            raise RuntimeRefusedError(
                f"{self._path}: the precision executed is known after the first run, and there was none"
            )
        return _narrowest(_traced_types(self._path, self._threads, self._input, self._accepted))

    def close(self) -> None:
        """Let the session go."""
        self._session = None
        self._accepted = None

    def _require(self, frames: Float32) -> None:
        if self._session is None:
            raise RuntimeRefusedError(f"{self._path}: the model is closed")
        fits = frames.ndim == 3 and all(
            not isinstance(size, int) or size == got for size, got in zip(self._expected, frames.shape, strict=True)
        )
        if not fits or frames.dtype != np.float32 or not frames.size:
            expected = ", ".join(str(size if size is not None else "any") for size in self._expected)
            raise RuntimeRefusedError(
                f"{self._path}: got frames {frames.dtype} {frames.shape}, "
                f"expected float32 ({expected}): batch, iq, length"
            )


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = LOG_SEVERITY_ERROR
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _open(path: Path, options: Any) -> Any:
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise RuntimeRefusedError(f"{path}: onnxruntime cannot open this as an ONNX model: {error}") from error


def _require_signature(path: Path, what: str, tensors: list[Any], *, dimensions: int) -> None:
    got = ", ".join(f"{tensor.name} {tensor.type} {tensor.shape}" for tensor in tensors)
    one = len(tensors) == 1 and tensors[0].type == "tensor(float)"
    if not one or len(tensors[0].shape or [None] * dimensions) != dimensions:
        raise RuntimeRefusedError(
            f"{path}: the model's {what} is {got}; expected one float32 tensor of {dimensions} dimensions"
        )


def _traced_types(path: Path, threads: int, name: str, shape: tuple[int, ...]) -> Iterator[str]:
    """Yield the types of the inputs of every computing operator, as a session run once with profiling saw them."""
    with tempfile.TemporaryDirectory(prefix="thinwave-") as folder:
        options = _options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        session = _open(path, options)
        session.run(None, {name: np.zeros(shape, np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    for event in events:
        arguments = event.get("args", {})
        if any(word in arguments.get("op_name", "") for word in COMPUTING):
            yield from (kind for tensor in arguments.get("input_type_shape", ()) for kind in tensor)


def _narrowest(types: Iterator[str]) -> Precision:
    seen = set(types)
    if seen & {"int8", "uint8"}:
        return "int8"
    return "fp16" if "float16" in seen else "fp32"
