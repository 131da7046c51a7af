"""The runtimes, one file each. A runtime's library is imported in that file only, and only when it is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import RuntimeNotFoundError
from deploy.results import Precision
from deploy.runtimes.base import Float32, LayerTime, Runtime
from deploy.suggestion import did_you_mean

__all__ = ["RUNTIMES", "Float32", "LayerTime", "Runtime", "open_runtime"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a model is to be opened: on so many ``threads``, for batches of ``batch`` (None: any), from a file of ``precision``."""

    threads: int = 1
    batch: int | None = None
    precision: Precision | None = None


def _onnxruntime(provider: str) -> Callable[[Path, Asked], Runtime]:
    def opened(path: Path, asked: Asked) -> Runtime:
        from deploy.runtimes.onnxruntime import OnnxRuntime

        return OnnxRuntime(path, threads=asked.threads, provider=provider)

    return opened


def _openvino(*, bfloat16: bool) -> Callable[[Path, Asked], Runtime]:
    def opened(path: Path, asked: Asked) -> Runtime:
        from deploy.runtimes.openvino import OpenVino

        return OpenVino(path, threads=asked.threads, batch=asked.batch, bfloat16=bfloat16)

    return opened


def _tensorrt(flavour: str) -> Callable[[Path, Asked], Runtime]:
    def opened(path: Path, asked: Asked) -> Runtime:
        from deploy.runtimes.tensorrt import TensorRt

        return TensorRt(path, flavour=flavour, batch=asked.batch, precision=asked.precision)

    return opened


# A runtime is added with its file and one line here: its name, what it is imported from, how that is installed, how it opens.
RUNTIMES: dict[str, tuple[str, str, Callable[[Path, Asked], Runtime]]] = {
    "onnxruntime": ("onnxruntime", "pip install onnxruntime", _onnxruntime("CPUExecutionProvider")),
    "onnxruntime-cuda": ("onnxruntime", "pip install onnxruntime-gpu", _onnxruntime("CUDAExecutionProvider")),
    "onnxruntime-tensorrt": ("onnxruntime", "pip install onnxruntime-gpu", _onnxruntime("TensorrtExecutionProvider")),
    "openvino": ("openvino", 'pip install "thinwave[openvino]"', _openvino(bfloat16=False)),
    "openvino-bf16": ("openvino", 'pip install "thinwave[openvino]"', _openvino(bfloat16=True)),
    "tensorrt": ("polygraphy", 'pip install "thinwave[tensorrt]"', _tensorrt("tensorrt")),
    "tensorrt-rtx": ("polygraphy", "pip install polygraphy tensorrt-rtx-cu12", _tensorrt("tensorrt-rtx")),
}


def open_runtime(
    name: str, path: Path, *, threads: int = 1, batch: int | None = None, precision: Precision | None = None
) -> Runtime:
    """Open the model at ``path`` in the runtime called ``name``, on ``threads`` threads.

    With a ``batch`` a runtime may prepare itself for frames in that number, and take no others; with the ``precision`` that
    the file was written in, TensorRT refuses to compute in a wider one.

    Raises RuntimeNotFoundError for a name that is not in :data:`RUNTIMES` or a library that is not installed, and
    RuntimeRefusedError for a file that the runtime refuses.
    """
    if name not in RUNTIMES:
        raise RuntimeNotFoundError(
            f'no runtime is named "{name}"{did_you_mean(name, RUNTIMES)}; there are: {", ".join(RUNTIMES)}'
        )
    module, install, opened = RUNTIMES[name]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise RuntimeNotFoundError(f"{name} cannot be imported ({error}); install it: {install}") from error
    return opened(path, Asked(threads=threads, batch=batch, precision=precision))
