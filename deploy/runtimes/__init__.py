"""The runtimes, one file each. A runtime's library is imported in that file only, and only when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploy.errors import RuntimeNotFoundError
from deploy.runtimes.base import Float32, Runtime
from deploy.suggestion import did_you_mean

__all__ = ["RUNTIMES", "Float32", "Runtime", "open_runtime"]


def _open_onnxruntime(path: Path, threads: int) -> Runtime:
    try:
        from deploy.runtimes.onnxruntime import OnnxRuntime
    except ImportError as error:
        raise RuntimeNotFoundError(
            f"onnxruntime cannot be imported ({error}); install it: pip install onnxruntime"
        ) from error
    return OnnxRuntime(path, threads=threads)


# A runtime is added with its file and one line here.
RUNTIMES: dict[str, Callable[[Path, int], Runtime]] = {
    "onnxruntime": _open_onnxruntime,
}


def open_runtime(name: str, path: Path, *, threads: int = 1) -> Runtime:
    """Open the model at ``path`` in the runtime called ``name``, on ``threads`` threads.

    Raises RuntimeNotFoundError for a name that is not in :data:`RUNTIMES` or a library that is not installed, and
    RuntimeRefusedError for a file that the runtime refuses.
    """
    if name not in RUNTIMES:
        raise RuntimeNotFoundError(
            f'no runtime is named "{name}"{did_you_mean(name, RUNTIMES)}; there are: {", ".join(RUNTIMES)}'
        )
    return RUNTIMES[name](path, threads)
