"""Engines for the machine at hand, built beforehand."""

from __future__ import annotations

from pathlib import Path

from deploy.bundle import Bundle
from deploy.names import Precision
from deploy.progress import Progress, silent
from deploy.runtimes.tensorrt import build_engine


def build_engines(
    bundle: Bundle, runtime: str, *, precision: Precision | None = None, batch: int = 1, progress: Progress = silent
) -> dict[Precision, Path]:
    """Build what is not there yet of an engine a precision, or of the one that is asked for, tuned for ``batch``.

    Raises BundleError for a precision that the bundle does not hold and where an engine cannot be kept, RuntimeNotFoundError
    where this TensorRT is not here, and RuntimeRefusedError where it refuses a model.
    """
    wanted = tuple(bundle.manifest.precisions) if precision is None else (precision,)
    built: dict[Precision, Path] = {}
    for number, each in enumerate(wanted):
        progress(number, len(wanted), each)
        built[each] = build_engine(bundle.path_of(each), flavour=runtime, batch=batch)
    return built
