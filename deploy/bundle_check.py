"""Does a bundle work here: its files are those of the manifest, and each opens and answers in the runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.bundle import Bundle
from deploy.errors import BundleError
from deploy.noise import noise_frames
from deploy.results import Precision
from deploy.runtimes import open_runtime

# More than one frame: a model exported with a fixed batch is found.
CHECKED_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """One model file that works: its precision, and the one that the runtime executed it in."""

    precision: Precision
    path: Path
    size_bytes: int
    executed: Precision


def check_bundle(bundle: Bundle, runtime: str) -> list[FileCheck]:
    """Open every file of an opened bundle in ``runtime``, run one batch through it, and look at the logits.

    Raises RuntimeNotFoundError or RuntimeRefusedError where a file does not open or run, and BundleError where the
    logits are not finite or not as many as the manifest names classes.
    """
    _, length = bundle.manifest.input.shape
    frames = noise_frames(CHECKED_BATCH, length, np.random.default_rng(0))
    expected = (CHECKED_BATCH, len(bundle.manifest.classes))
    checks = []
    for precision, entry in bundle.manifest.precisions.items():
        path = bundle.path_of(precision)
        with open_runtime(runtime, path) as model:
            logits = model.run(frames)
            if logits.shape != expected:
                raise BundleError(
                    f"{path}: {CHECKED_BATCH} frames gave logits {logits.shape}, expected {expected}: "
                    f"the manifest names {expected[1]} classes"
                )
            if not np.isfinite(logits).all():
                raise BundleError(f"{path}: the logits of noise of unit power are not finite")
            executed = model.precision
        checks.append(FileCheck(precision=precision, path=path, size_bytes=entry.size_bytes, executed=executed))
    return checks
