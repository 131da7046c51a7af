"""Engines that TensorRT built, kept beside the model under what they belong to, and opened only where they were built.

An engine belongs to a GPU, a TensorRT and a platform, and to the ONNX file that it was built from: all of that is its
fingerprint, and one that does not match is built again. Opening an engine runs code in it. So this account notes, in its own
cache folder, the hash of each engine that it built and the fingerprint that it was built for: an engine that came along with
a bundle, or was built of another model, is not opened. TensorRT's timings, which it opens as trustingly, are in that folder
too. A bundle is somebody else's: nothing is written through a link in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.errors import BundleError

FOLDER = "engines"


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
        return f"{self.runtime}-{_short_hash(asdict(self))}"

    @property
    def timings_key(self) -> str:
        """The name of the timings that help to build it: those of one TensorRT on one kind of GPU, whatever the model."""
        return f"{self.runtime}-{_short_hash([self.runtime, self.version, self.platform, self.gpu])}"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that this account built: its file, and the ``content`` that was compared with the note, to be opened."""

    path: Path
    content: bytes


def engine_for(model: Path, fingerprint: Fingerprint, build: Callable[[Path], bytes]) -> Engine:
    """The engine of the ONNX file ``model``, built where there is none of this ``fingerprint`` that this account built.

    ``build`` is told where TensorRT's timings are read from and written to, which make the next build shorter. Raises
    BundleError where the engine cannot be written, or its folder leads out of the bundle; what was there stays as it was.
    """
    folder = model.parent / FOLDER
    path = folder / f"{fingerprint.key}.engine"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(
            f"{folder}: is a link or no folder, and engines are written only into a folder of the bundle itself; remove it"
        )
    try:
        if path.is_file() and _note(fingerprint, content := path.read_bytes()).is_file():
            return Engine(path=path, content=content)
        _make_account_folder()
        folder.mkdir(exist_ok=True)
        content = _built(fingerprint, build)
        # Noted first: an engine that is not noted would be built again and again.
        _note(fingerprint, content).touch()
        _write(path, content)
        _write(path.with_suffix(".json"), (json.dumps(asdict(fingerprint), indent=2) + "\n").encode())
    except OSError as error:
        raise BundleError(
            f"{folder}: the engine cannot be kept there: {error.strerror or error}; make room, or copy the bundle to a folder "
            "that may be written to"
        ) from error
    return Engine(path=path, content=content)


def _built(fingerprint: Fingerprint, build: Callable[[Path], bytes]) -> bytes:
    """Build with a copy of this account's timings, and keep what they became."""
    kept = _account_folder() / f"{fingerprint.timings_key}.timings"
    with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
        timings = Path(scratch) / "timings"
        # They only save time: without them, and where they cannot be kept, there is an engine all the same.
        with contextlib.suppress(OSError):
            timings.write_bytes(kept.read_bytes())
        try:
            content = build(timings)
        except Exception:
            # Timings that were damaged fail in TensorRT, in its words.
            if not timings.exists():
                raise
            timings.unlink()
            content = build(timings)
        with contextlib.suppress(OSError):
            _write(kept, timings.read_bytes())
    return content


def _write(path: Path, content: bytes) -> None:
    """Write the file whole or not at all; what is there is replaced, and a link is not followed."""
    # A name that nobody could foresee, and "x": a file or link of that name would be an error.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with unfinished.open("xb") as file:
            file.write(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _note(fingerprint: Fingerprint, content: bytes) -> Path:
    """An empty file that says: this account built ``content`` for the fingerprint."""
    return _account_folder() / f"{fingerprint.key}-{hashlib.sha256(content).hexdigest()}"


def _account_folder() -> Path:
    """The notes and timings of this account. XDG_CACHE_HOME is heeded as its specification says: where it is absolute."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "thinwave" / "engines"


def _make_account_folder() -> None:
    try:
        _account_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(
            f"{_account_folder()}: which engines were built here cannot be noted there: {error.strerror or error}; name "
            "another cache folder with XDG_CACHE_HOME"
        ) from error


def _short_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
