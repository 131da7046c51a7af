"""The runtimes, one file each. A runtime's library is imported in that file only, and only when it is opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.affinity import cores_for
from deploy.errors import RuntimeNotFoundError
from deploy.names import Precision
from deploy.runtimes.base import Float32, LayerTime, Runtime
from deploy.suggestion import none_named

__all__ = ["RUNTIMES", "Float32", "LayerTime", "Runtime", "open_runtime", "version_here"]


@dataclass(frozen=True)
class Known:
    """A runtime: its file here, and how what it imports is installed.

    The file has ``open_model(name, path, threads=, batch=, precision=)``, which does :func:`open_runtime`, and
    ``version_here(name)``: the version, or RuntimeNotFoundError where it cannot run on this machine.
    """

    file: str
    install: str


ONNXRUNTIME_GPU = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
OPENVINO = 'pip install "thinwave[openvino]"'

# A runtime is added with its file, one line here, and its name in deploy.names.
RUNTIMES: dict[str, Known] = {
    "onnxruntime": Known("onnxruntime", "pip install onnxruntime"),
    "onnxruntime-cuda": Known("onnxruntime", ONNXRUNTIME_GPU),
    "onnxruntime-tensorrt": Known("onnxruntime", ONNXRUNTIME_GPU),
    "openvino": Known("openvino", OPENVINO),
    "openvino-bf16": Known("openvino", OPENVINO),
    "tensorrt": Known("tensorrt", 'pip install "thinwave[tensorrt]"'),
    "tensorrt-rtx": Known("tensorrt", "pip install polygraphy tensorrt-rtx-cu12-bindings tensorrt-rtx-cu12-libs"),
}


def open_runtime(
    name: str, path: Path, *, threads: int = 1, batch: int | None = None, precision: Precision | None = None
) -> Runtime:
    """Open the model at ``path`` in the runtime called ``name``, on ``threads`` threads.

    With a ``batch`` a runtime may prepare itself for frames in that number, and take no others; with the ``precision`` that
    the file was written in, TensorRT refuses to compute in a wider one.

    Raises MeasurementError for more threads than this process may use cores, RuntimeNotFoundError for a name that is not in
    :data:`RUNTIMES`, a library that is not installed and a machine that it does not run on, and RuntimeRefusedError for a file
    that the runtime refuses.
    """
    # Before anything is imported: a runtime starts as many as it is told, and with thousands does not come back.
    cores_for(threads)
    runtime: Runtime = _imported(name).open_model(name, path, threads=threads, batch=batch, precision=precision)
    return runtime


def version_here(name: str) -> str:
    """The version of the runtime called ``name``; raises RuntimeNotFoundError where it cannot run here, with the way out."""
    return str(_imported(name).version_here(name))


def _imported(name: str) -> Any:
    if name not in RUNTIMES:
        raise RuntimeNotFoundError(none_named("runtime", name, RUNTIMES))
    known = RUNTIMES[name]
    try:
        return importlib.import_module(f"deploy.runtimes.{known.file}")
    except ImportError as error:
        raise RuntimeNotFoundError(f"{name} cannot be imported ({error}); install it: {known.install}") from error
