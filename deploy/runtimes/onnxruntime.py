"""ONNX Runtime, on the processor or with another of its execution providers.

Sessions are set for one stream of frames: all graph optimisations, one operator at a time, ``threads`` threads inside
an operator. Two settings about spinning, which matter from two threads on:

- ``session.intra_op.allow_spinning`` stays on, ONNX Runtime's default: within a run the workers wait for their next
  piece of work spinning, as they will in use. Off, every operator pays a wake-up: 40 convolutions on two threads took
  an eighth longer at the median here.
- ``session.force_spinning_stop`` is on: the workers stop spinning when the run ends. By default they go on for a while,
  and when two models are measured in turns on the same cores, the workers of one take the other's time. It also keeps
  the next run from finding workers still awake, which it would not when frames come one by one.

ONNX Runtime's telemetry is switched off, unless the environment says otherwise: from 1.29 on the packages for Linux keep an
identifier of the device in the user's cache folder, and send what is opened to Microsoft.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from deploy.errors import RuntimeNotFoundError, RuntimeRefusedError
from deploy.names import Executed, Precision
from deploy.runtimes import RUNTIMES
from deploy.runtimes.base import Float32, LayerTime, Runtime, narrowest

# Errors and worse only: a child's last line on stderr should be what went wrong, not a warning about an initialiser.
LOG_SEVERITY_ERROR = 3

# An operator does the model's arithmetic if its name holds one of these: FusedConv, QLinearConv, QGemm, MatMulInteger.
COMPUTING = ("Conv", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
# Its types that are narrower than float.
TYPES: dict[str, Executed] = {"int8": "int8", "uint8": "int8", "bfloat16": "bf16", "float16": "fp16"}

# The execution provider behind each of the runtimes here.
PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}

WARM_UP_RUNS = 20
# What ends the name of a node's own time in a trace.
KERNEL = "_kernel_time"


class OnnxRuntime(Runtime):
    """An ONNX model with one input (batch, 2, length) and one output (batch, classes), both float32."""

    version = onnxruntime.__version__

    def __init__(
        self, path: Path, *, threads: int = 1, name: str = "onnxruntime", precision: Precision | None = None
    ) -> None:
        """Open the model at ``path`` with the execution provider that ``name`` has in :data:`PROVIDERS`.

        ``precision`` is what the file was written in, where that is known.

        Raises RuntimeNotFoundError where this ONNX Runtime has no such provider, and RuntimeRefusedError where it refuses the
        model, does not use the provider, or the model's inputs are others.
        """
        version_here(name)
        self.name, self._threads, self._provider = name, threads, (provider := PROVIDERS[name])
        # With half-precision convolutions before LayerNorms this pass ends the process (1.31, on x86): a Transformer's.
        self._without = ["NchwcTransformer"] if precision == "fp16" else None
        self._session: Any = _open(path, _options(threads), provider, self._without)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        _require_signature(path, "input", inputs, dimensions=3)
        _require_signature(path, "output", outputs, dimensions=2)
        super().__init__(path, [size if isinstance(size, int) else None for size in inputs[0].shape])
        self._executed_in: dict[tuple[int, ...], Executed] = {}
        self._input, self._outputs = inputs[0].name, [outputs[0].name]

    def _run(self, frames: Float32) -> Float32:
        try:
            logits: Float32 = self._session.run(self._outputs, {self._input: frames})[0]
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise RuntimeRefusedError(f"{self.path}: onnxruntime could not run the model: {error}") from error
        return logits

    def _on_device(self, frames: Float32) -> Callable[[], object] | None:
        return None if self._provider == PROVIDERS["onnxruntime"] else self._bound_to(frames, "cuda")

    def _bound_to(self, frames: Float32, device: str) -> Callable[[], object]:
        """A run from and to the memory of ``device``."""
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input, onnxruntime.OrtValue.ortvalue_from_numpy(frames, device, 0))
        binding.bind_output(self._outputs[0], device)

        def run() -> object:
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            return binding

        return run

    def _executed(self, shape: tuple[int, ...]) -> Executed:
        """From ONNX Runtime's own trace of one run: on processors without half precision an fp16 graph runs in fp32."""
        if shape not in self._executed_in:
            events = self._trace(np.zeros(shape, np.float32), runs=1)
            self._executed_in[shape] = narrowest(_computing_types(events))
        return self._executed_in[shape]

    def _layer_times(self, frames: Float32, runs: int) -> list[LayerTime]:
        times: dict[tuple[str, str], list[float]] = {}
        for event in self._trace(frames, WARM_UP_RUNS + runs):
            name, kind = event["name"], event.get("args", {}).get("op_name")
            if kind and name.endswith(KERNEL):
                times.setdefault((name.removesuffix(KERNEL), kind), []).append(event["dur"] / 1e3)
        return [
            # The first ones warm up.
            LayerTime(name=name, op=kind, covers=(name.partition("_token_")[0],), times_ms=np.array(values[-runs:]))
            for (name, kind), values in times.items()
        ]

    def _release(self) -> None:
        self._session = None

    def _trace(self, frames: Float32, runs: int) -> list[dict[str, Any]]:
        """The events of ``runs`` runs of a session of its own, which watches itself."""
        with tempfile.TemporaryDirectory(prefix="thinwave-") as folder:
            options = _options(self._threads)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "trace")
            session = _open(self.path, options, self._provider, self._without)
            for _ in range(runs):
                session.run(None, {self._input: frames})
            events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return events


def open_model(name: str, path: Path, *, threads: int, batch: int | None, precision: Precision | None) -> OnnxRuntime:
    """Open the model in the runtime called ``name``; ONNX Runtime prepares for no ``batch``."""
    return OnnxRuntime(path, threads=threads, name=name, precision=precision)


def version_here(name: str) -> str:
    """The version; raises RuntimeNotFoundError where the installed ONNX Runtime lacks the provider of ``name``."""
    provider = PROVIDERS[name]
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeNotFoundError(
            f"this onnxruntime {onnxruntime.__version__} has no {provider}; install the one for NVIDIA GPUs in its place: "
            f"{RUNTIMES[name].install}"
        )
    return str(onnxruntime.__version__)


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


def _open(path: Path, options: Any, provider: str, without: list[str] | None) -> Any:
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider], disabled_optimizers=without)
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise RuntimeRefusedError(f"{path}: onnxruntime cannot open this as an ONNX model: {error}") from error
    if provider not in session.get_providers():
        # It falls back on the processor with no more than a line in its log.
        raise RuntimeRefusedError(f"{path}: onnxruntime has the {provider} and could not start it; its log says why")
    return session


def _require_signature(path: Path, what: str, tensors: list[Any], *, dimensions: int) -> None:
    got = ", ".join(f"{tensor.name} {tensor.type} {tensor.shape}" for tensor in tensors)
    one = len(tensors) == 1 and tensors[0].type == "tensor(float)"
    if not one or len(tensors[0].shape or [None] * dimensions) != dimensions:
        raise RuntimeRefusedError(
            f"{path}: the model's {what} is {got}; expected one float32 tensor of {dimensions} dimensions"
        )


def _computing_types(events: list[dict[str, Any]]) -> Iterator[Executed]:
    """Yield the types of the inputs of every operator that computes."""
    for event in events:
        arguments = event.get("args", {})
        if any(word in arguments.get("op_name", "") for word in COMPUTING):
            yield from (TYPES.get(kind, "fp32") for tensor in arguments.get("input_type_shape", ()) for kind in tensor)
