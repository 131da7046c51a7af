"""The runtimes, one file each. A runtime's library is imported in that file only, and only when it is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import RuntimeNotFoundError
from deploy.names import Precision
from deploy.runtimes.base import Float32, LayerTime, Runtime
from deploy.suggestion import did_you_mean

__all__ = ["RUNTIMES", "Float32", "LayerTime", "Runtime", "open_runtime", "version_here"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a model is to be opened: on ``threads``, for batches of ``batch`` (None: any), from a file of ``precision``."""

    threads: int = 1
    batch: int | None = None
    precision: Precision | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """A runtime: its file here, how what it imports is installed, and how it opens a model.

    Its file has ``version_here(name)``: the version, or RuntimeNotFoundError where it cannot run on this machine.
    """

    file: str
    install: str
    opened: Callable[[Any, Path, Asked], Runtime]


OPENVINO = 'pip install "thinwave[openvino]"'
ONNXRUNTIME_GPU = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
TENSORRT = 'pip install "thinwave[tensorrt]"'


def _onnxruntime(name: str, install: str) -> Known:
    return Known(
        file="onnxruntime",
        install=install,
        opened=lambda module, path, asked: module.OnnxRuntime(
            path, threads=asked.threads, name=name, precision=asked.precision
        ),
    )


def _openvino(*, bfloat16: bool) -> Known:
    return Known(
        file="openvino",
        install=OPENVINO,
        opened=lambda module, path, asked: module.OpenVino(
            path, threads=asked.threads, batch=asked.batch, bfloat16=bfloat16
        ),
    )


def _tensorrt(flavour: str) -> Known:
    return Known(
        file="tensorrt",
        install=TENSORRT,
        opened=lambda module, path, asked: module.TensorRt(
            path, flavour=flavour, batch=asked.batch, precision=asked.precision
        ),
    )


# A runtime is added with its file, one line here, and its name in deploy.results.
RUNTIMES: dict[str, Known] = {
    "onnxruntime": _onnxruntime("onnxruntime", "pip install onnxruntime"),
    "onnxruntime-cuda": _onnxruntime("onnxruntime-cuda", ONNXRUNTIME_GPU),
    "onnxruntime-tensorrt": _onnxruntime("onnxruntime-tensorrt", ONNXRUNTIME_GPU),
    "openvino": _openvino(bfloat16=False),
    "openvino-bf16": _openvino(bfloat16=True),
    "tensorrt": _tensorrt("tensorrt"),
    "tensorrt-rtx": _tensorrt("tensorrt-rtx"),
}


def open_runtime(
    name: str, path: Path, *, threads: int = 1, batch: int | None = None, precision: Precision | None = None
) -> Runtime:
    """Open the model at ``path`` in the runtime called ``name``, on ``threads`` threads.

    With a ``batch`` a runtime may prepare itself for frames in that number, and take no others; with the ``precision`` that
    the file was written in, TensorRT refuses to compute in a wider one.

    Raises RuntimeNotFoundError for a name that is not in :data:`RUNTIMES`, a library that is not installed and a machine that
    it does not run on, and RuntimeRefusedError for a file that the runtime refuses.
    """
    module = _imported(name)
    return RUNTIMES[name].opened(module, path, Asked(threads=threads, batch=batch, precision=precision))


def version_here(name: str) -> str:
    """The version of the runtime called ``name``; raises RuntimeNotFoundError where it cannot run here, with the way out."""
    return str(_imported(name).version_here(name))


def _imported(name: str) -> Any:
    if name not in RUNTIMES:
        raise RuntimeNotFoundError(
            f'no runtime is named "{name}"{did_you_mean(name, RUNTIMES)}; there are: {", ".join(RUNTIMES)}'
        )
    known = RUNTIMES[name]
    try:
        return importlib.import_module(f"deploy.runtimes.{known.file}")
    except ImportError as error:
        raise RuntimeNotFoundError(f"{name} cannot be imported ({error}); install it: {known.install}") from error
