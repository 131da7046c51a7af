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

__all__ = ["RUNTIMES", "Float32", "LayerTime", "Runtime", "import_runtime", "open_runtime"]


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


@dataclass(frozen=True, kw_only=True)
class Known:
    """A runtime: what it is imported from, how that is installed, and how it opens a file."""

    module: str
    install: str
    opened: Callable[[Path, Asked], Runtime]


GPU_BUILD = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
OPENVINO = 'pip install "thinwave[openvino]"'
# A runtime is added with its file, one line here, and its name in deploy.results.
RUNTIMES: dict[str, Known] = {
    "onnxruntime": Known(
        module="onnxruntime", install="pip install onnxruntime", opened=_onnxruntime("CPUExecutionProvider")
    ),
    "onnxruntime-cuda": Known(module="onnxruntime", install=GPU_BUILD, opened=_onnxruntime("CUDAExecutionProvider")),
    "onnxruntime-tensorrt": Known(
        module="onnxruntime", install=GPU_BUILD, opened=_onnxruntime("TensorrtExecutionProvider")
    ),
    "openvino": Known(module="openvino", install=OPENVINO, opened=_openvino(bfloat16=False)),
    "openvino-bf16": Known(module="openvino", install=OPENVINO, opened=_openvino(bfloat16=True)),
    "tensorrt": Known(module="polygraphy", install='pip install "thinwave[tensorrt]"', opened=_tensorrt("tensorrt")),
    "tensorrt-rtx": Known(
        module="polygraphy", install="pip install polygraphy tensorrt-rtx-cu12", opened=_tensorrt("tensorrt-rtx")
    ),
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
    import_runtime(name)
    return RUNTIMES[name].opened(path, Asked(threads=threads, batch=batch, precision=precision))


def import_runtime(name: str) -> None:
    """Import the library behind the runtime called ``name``; raises RuntimeNotFoundError where there is none."""
    if name not in RUNTIMES:
        raise RuntimeNotFoundError(
            f'no runtime is named "{name}"{did_you_mean(name, RUNTIMES)}; there are: {", ".join(RUNTIMES)}'
        )
    known = RUNTIMES[name]
    try:
        importlib.import_module(known.module)
    except ImportError as error:
        raise RuntimeNotFoundError(f"{name} cannot be imported ({error}); install it: {known.install}") from error
