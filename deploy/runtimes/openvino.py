"""OpenVINO on the processor, compiled for latency: one stream, ``threads`` threads, the batch fixed where it is known.

The arithmetic is asked for by name. Left to itself, OpenVINO computes in bfloat16 on processors that have it, whatever the
file says.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import Core, Tensor, Type, properties
from openvino.frontend import FrontEndManager
from openvino.properties import hint

from deploy.errors import RuntimeNotFoundError, RuntimeRefusedError
from deploy.names import Executed, Precision
from deploy.runtimes.base import Float32, LayerTime, Runtime, narrowest

# What OpenVINO calls the layers that do a model's arithmetic, and their types.
COMPUTING = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "LSTM", "GRU", "RNN")
TYPES: dict[str, Executed] = {"i8": "int8", "u8": "int8", "bf16": "bf16", "f16": "fp16", "f32": "fp32"}
# The mean holds the first runs too, which are cold: of so many times the runs asked for they are a small part.
COLD_RUNS_OUTWEIGHED = 5
MILLISECOND = timedelta(milliseconds=1)


class OpenVino(Runtime):
    """An ONNX model with one input (batch, 2, length) and one output (batch, classes), both float32."""

    version = openvino.get_version().partition("-")[0]

    def __init__(self, path: Path, *, threads: int = 1, batch: int | None = None, bfloat16: bool = False) -> None:
        """Open the model at ``path``; with a ``batch`` it is compiled for that one alone.

        What is not quantised is computed in float32, or in bfloat16 where that is asked for.

        Raises RuntimeNotFoundError where this processor has no bfloat16, and RuntimeRefusedError where OpenVINO refuses the
        model, or its inputs are others.
        """
        self._core = Core()
        self.name = "openvino-bf16" if bfloat16 else "openvino"
        version_here(self.name)
        self._batch = batch
        self._settings = {
            hint.performance_mode(): hint.PerformanceMode.LATENCY,
            hint.inference_precision(): Type.bf16 if bfloat16 else Type.f32,
            # Who measures pins the process itself.
            hint.enable_cpu_pinning(): False,
            properties.inference_num_threads(): threads,
            properties.num_streams(): 1,
        }
        self._compiled, shape = self._compile(path, self._settings)
        super().__init__(path, shape)
        self._request = self._compiled.create_infer_request()
        self._frames = np.empty(0, np.float32)

    def _run(self, frames: Float32) -> Float32:
        try:
            # An array of its own, set once a shape: to hand it a new one at every run takes a fifth of a small model's time.
            if frames.shape != self._frames.shape:
                self._frames = np.empty_like(frames)
                self._request.set_input_tensor(Tensor(self._frames, shared_memory=True))
            np.copyto(self._frames, frames)
            self._request.infer(share_outputs=True)
        except RuntimeError as error:
            raise RuntimeRefusedError(f"{self.path}: openvino could not run the model: {error}") from error
        # The request's, and written over by the next run.
        logits: Float32 = self._request.get_output_tensor(0).data.copy()
        return logits

    def _executed(self, shape: tuple[int, ...]) -> Executed:
        """From the graph that was compiled: OpenVINO chooses types when it compiles, not when it runs."""
        return narrowest(
            TYPES.get(_said(node, "runtimePrecision"), "fp32")
            for node in self._compiled.get_runtime_model().get_ops()
            if any(word in _said(node, "layerType") for word in COMPUTING)
        )

    def _layer_times(self, frames: Float32, runs: int) -> list[LayerTime]:
        """One value a layer: OpenVINO tells the mean of all runs so far in whole microseconds, and leaves out what makes 0."""
        compiled, _ = self._compile(self.path, {**self._settings, properties.enable_profiling(): True})
        ran = sorted(compiled.get_runtime_model().get_ops(), key=lambda node: int(_said(node, "execOrder")))
        covers = {
            node.get_friendly_name(): tuple(filter(None, _said(node, "originalLayersNames").split(","))) for node in ran
        }
        request = compiled.create_infer_request()
        for _ in range(COLD_RUNS_OUTWEIGHED * runs):
            request.infer(frames, share_inputs=True)
        told = {info.node_name: info for info in request.profiling_info if info.status == info.Status.EXECUTED}
        return [
            LayerTime(
                name=name,
                op=told[name].exec_type,
                covers=covers[name],
                times_ms=np.array([told[name].real_time / MILLISECOND]),
            )
            for name in covers
            if name in told
        ]

    def _release(self) -> None:
        self._request = self._compiled = None

    def _compile(self, path: Path, settings: dict[str, Any]) -> tuple[Any, list[int | None]]:
        refused = f"{path}: openvino cannot open this as an ONNX model"
        # Asked first: of a file that is none, read_model tries every format that it knows, and those write on stderr.
        if not path.is_file() or not FrontEndManager().load_by_framework("onnx").supported(str(path)):
            raise RuntimeRefusedError(f"{refused}: it is none, or cannot be read")
        try:
            model = self._core.read_model(path)
            shape = _signature(path, model)
            if self._batch is not None and shape[0] is None:
                model.reshape([self._batch, *(-1 if size is None else size for size in shape[1:])])
                shape[0] = self._batch
            return self._core.compile_model(model, "CPU", settings), shape
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise RuntimeRefusedError(f"{refused}: {reason}") from error


def open_model(name: str, path: Path, *, threads: int, batch: int | None, precision: Precision | None) -> OpenVino:
    """Open the model in the runtime called ``name``; of the ``precision`` of the file OpenVINO needs no word."""
    return OpenVino(path, threads=threads, batch=batch, bfloat16=name == "openvino-bf16")


def version_here(name: str) -> str:
    """The version; raises RuntimeNotFoundError for bfloat16 on a processor where OpenVINO does not compute in it."""
    if name == "openvino-bf16" and "BF16" not in Core().get_property("CPU", properties.device.capabilities()):
        raise RuntimeNotFoundError("this processor has no bfloat16; take the runtime openvino")
    return str(OpenVino.version)


def _signature(path: Path, model: Any) -> list[int | None]:
    """The shape of the frames; raises RuntimeRefusedError where the model is not one from frames to logits."""
    for what, tensors, dimensions in (("input", model.inputs, 3), ("output", model.outputs, 2)):
        good = len(tensors) == 1 and tensors[0].element_type == Type.f32 and len(tensors[0].partial_shape) == dimensions
        if not good:
            got = ", ".join(f"{tensor.element_type.to_string()} {tensor.partial_shape}" for tensor in tensors)
            raise RuntimeRefusedError(
                f"{path}: the model's {what} is {got}; expected one float32 tensor of {dimensions} dimensions"
            )
    return [size.get_length() if size.is_static else None for size in model.inputs[0].partial_shape]


def _said(node: Any, name: str) -> str:
    """What the compiled graph notes of a node."""
    noted = node.get_rt_info()
    return str(noted[name].value if hasattr(noted[name], "value") else noted[name]) if name in noted else ""
