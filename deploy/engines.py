"""Engines that TensorRT built, kept beside the model under what they belong to, and opened only where they were built.

An engine belongs to a GPU, a TensorRT and a platform, and to the ONNX file that it was built from: all of that is its
fingerprint, and one that does not match is built again. Opening an engine runs code in it. So this account keeps a list of
the engines that it built, outside the bundle, and an engine that came along with a bundle is not opened.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.bundle import sha256_of
from deploy.errors import BundleError

FOLDER = "engines"
TIMING_CACHE = "timing.cache"


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What an engine belongs to. ``gpu`` is its name and compute capability, ``batches`` are least, best and most."""

    runtime: str
    version: str
    platform: str
    gpu: str
    onnx_sha256: str
    batches: tuple[int, int, int]

    @property
    def key(self) -> str:
        """The name of its file, without the suffix."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.runtime}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def engine_for(model: Path, fingerprint: Fingerprint, build: Callable[[Path], bytes]) -> Path:
    """The engine of the ONNX file ``model``, built where there is none of this ``fingerprint`` that this account built.

    ``build`` is told where TensorRT's timings are kept, which make the next build shorter. Raises BundleError where the
    engine cannot be written; what was there stays as it was.
    """
    folder = model.parent / FOLDER
    path = folder / f"{fingerprint.key}.engine"
    if path.is_file() and _built_here(sha256_of(path)):
        return path
    try:
        _records().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(
            f"{_records()}: which engines were built here cannot be noted there: {error.strerror or error}; name another "
            "cache folder with XDG_CACHE_HOME"
        ) from error
    try:
        folder.mkdir(exist_ok=True)
        content = build(folder / TIMING_CACHE)
        # Noted first: an engine that is not noted would be built again and again.
        (_records() / hashlib.sha256(content).hexdigest()).touch()
        _write(path, content)
        _write(path.with_suffix(".json"), (json.dumps(asdict(fingerprint), indent=2) + "\n").encode())
    except OSError as error:
        raise BundleError(
            f"{folder}: the engine cannot be kept there: {error.strerror or error}; make room, or copy the bundle to a folder "
            "that may be written to"
        ) from error
    return path


def _write(path: Path, content: bytes) -> None:
    """Write the file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _records() -> Path:
    """An empty file an engine, named by its SHA-256."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "thinwave" / "engines"


def _built_here(digest: str) -> bool:
    return (_records() / digest).is_file()
