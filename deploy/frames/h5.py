"""The project's own ``.h5``: frames, labels and SNRs in HDF5, readable without loading them all.

Root attributes: ``format`` "thinwave-frames", ``version`` 1, ``classes`` (text, one each), ``sample_rate_hz`` (absent
if unknown), ``made_by`` (how the frames came to be), ``content_sha256``. Datasets: ``iq`` float32 (N, 2, length), chunked
by whole frames, ``label`` int64 (N,), ``snr_db`` float32 (N,), and ``own_test`` uint8 (N,) where the set has a test part
of its own. Nothing is compressed: noise does not compress, and a file's size then bounds what its header may claim.
``toolchain.data.write_h5`` writes it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import DatasetError
from deploy.frames.dataset import Dataset
from deploy.frames.gathering import block_frames, gather
from deploy.frames.hdf5 import Hdf5File, open_hdf5
from deploy.frames.hdf5_dataset import Hdf5Dataset
from deploy.progress import Progress, silent

FORMAT = "thinwave-frames"
VERSION = 1
# Small, for a training batch takes its frames from all over the file.
CHUNK_BYTES = 64 << 10
BLOCK_BYTES = 16 << 20
_LAYOUT = {"iq": ("<f4", 3), "label": ("<i8", 1), "snr_db": ("<f4", 1)}
_WAY_OUT = "Make the file again: thinwave data convert"


def is_own(file: Hdf5File) -> bool:
    """Whether thinwave wrote the file."""
    return bool(file.attributes.get("format") == FORMAT.encode())


def open_h5(file: Hdf5File | Path) -> Dataset:
    """Open the project's own ``.h5``: labels and SNRs in memory, frames read from the file when asked for.

    Raises :class:`DatasetError` where the header and the file disagree; frames are not read here: :func:`verify_h5`.
    """
    file = open_hdf5(file) if isinstance(file, Path) else file
    name = file.path.name
    iq, label, snr_db = _arrays(file)
    return Dataset(
        source=name,
        format=FORMAT,
        classes=_classes(file),
        labels=label.read_all(),
        snr_db=snr_db.read_all(),
        length=iq.shape[2],
        sample_rate_hz=_sample_rate_hz(file),
        own_test=_own_test(file, iq.shape[0]),
        block_frames=block_frames(8 * iq.shape[2]),
        read=partial(_read_frames, iq),
    )


def verify_h5(path: Path, *, progress: Progress = silent) -> None:
    """Read the whole file once and compare its content with the hash written into it.

    Raises :class:`DatasetError` where they differ, or where the file cannot be opened or read.
    """
    file = open_hdf5(path)
    dataset, (iq, _, _) = open_h5(file), _arrays(file)
    digest = content_digest(dataset)
    for start, stop in blocks(len(dataset), dataset.length):
        digest.update(np.ascontiguousarray(iq.read(start, stop), dtype="<f4").data)
        progress(stop, len(dataset), "checking content")
    if digest.hexdigest().encode() != file.attributes.get("content_sha256"):
        raise DatasetError(
            f"{path.name}: its content has SHA-256 {digest.hexdigest()}, the file says "
            f"{_shown(file.attributes.get('content_sha256'))}: it was changed or damaged since it was written. {_WAY_OUT}"
        )


def content_digest(dataset: Dataset) -> hashlib._Hash:
    """Begin the content hash: SHA-256 of a line of JSON, the labels, the SNRs, then all frames, little-endian.

    Between SNRs and frames stand the truth values of ``own_test``, a byte each, where there are any.
    """
    header = {
        "classes": list(dataset.classes),
        "sample_rate_hz": dataset.sample_rate_hz,
        "shape": [len(dataset), 2, dataset.length],
    }
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode() + b"\n")
    digest.update(dataset.labels.astype("<i8").tobytes())
    digest.update(dataset.snr_db.astype("<f4").tobytes())
    if dataset.own_test is not None:
        digest.update(dataset.own_test.astype("u1").tobytes())
    return digest


def blocks(frames: int, length: int) -> Iterator[tuple[int, int]]:
    """Cut ``frames`` of ``length`` samples into blocks of at most 16 MiB: start, stop."""
    step = max(1, BLOCK_BYTES // (8 * length))
    for start in range(0, frames, step):
        yield start, min(start + step, frames)


def _arrays(file: Hdf5File) -> list[Hdf5Dataset]:
    name = file.path.name
    if not is_own(file):
        raise DatasetError(
            f"{name}: an HDF5 file that thinwave did not write, with {', '.join([*file.datasets][:8]) or 'no members'}; "
            f'expected the attribute format = "{FORMAT}"'
        )
    if file.attributes.get("version") != VERSION:
        raise DatasetError(
            f"{name}: version {_shown(file.attributes.get('version'))} of the format; this program reads {VERSION}. "
            f"Update thinwave, or make the file again"
        )
    found = []
    for member, (kind, axes) in _LAYOUT.items():
        if member not in file.datasets:
            why = f"its {member} is not readable: {file.unreadable[member]}" if member in file.unreadable else ""
            raise DatasetError(
                f"{name}: {why or f'has no dataset {member}'}; expected {', '.join(_LAYOUT)}. {_WAY_OUT}"
            )
        stored = file.datasets[member]
        if stored.dtype != np.dtype(kind) or len(stored.shape) != axes:
            raise DatasetError(
                f"{name}: {member} is {stored.dtype} of shape {stored.shape}; expected {np.dtype(kind)} with {axes} axes. "
                f"{_WAY_OUT}"
            )
        if not stored.in_place:
            raise DatasetError(f"{name}: {member} is compressed, or not in chunks of whole frames. {_WAY_OUT}")
        found.append(stored)
    shapes = {member: stored.shape for member, stored in zip(_LAYOUT, found, strict=True)}
    frames, rows, length = shapes["iq"]
    if rows != 2 or length < 1 or frames < 1 or shapes["label"] != (frames,) or shapes["snr_db"] != (frames,):
        raise DatasetError(f"{name}: shapes {shapes}; expected iq (N, 2, length), label (N,), snr_db (N,). {_WAY_OUT}")
    return found


def _classes(file: Hdf5File) -> tuple[str, ...]:
    names: Any = file.attributes.get("classes")
    try:
        return tuple(name.decode() for name in names)
    # None, a number, or a byte that is no text.
    except (TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file.path.name}: has no list of classes in UTF-8; expected the attribute classes. {_WAY_OUT}"
        ) from error


def _sample_rate_hz(file: Hdf5File) -> float | None:
    if "sample_rate_hz" not in file.attributes:
        return None
    rate_hz = file.attributes["sample_rate_hz"]
    if not isinstance(rate_hz, float) or not (math.isfinite(rate_hz) and rate_hz > 0):
        raise DatasetError(
            f"{file.path.name}: a sample rate of {_shown(rate_hz)} Hz; expected a positive number. {_WAY_OUT}"
        )
    return rate_hz


def _shown(value: Any) -> str:
    """A value of the file in a message: printable, and not of any length."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _own_test(file: Hdf5File, frames: int) -> NDArray[np.bool_] | None:
    if "own_test" in file.unreadable:
        raise DatasetError(f"{file.path.name}: its own_test is not readable: {file.unreadable['own_test']}. {_WAY_OUT}")
    if "own_test" not in file.datasets:
        return None
    stored = file.datasets["own_test"]
    if stored.shape != (frames,) or stored.dtype != np.uint8 or not stored.in_place:
        raise DatasetError(
            f"{file.path.name}: own_test is {stored.dtype} of shape {stored.shape}; expected uint8 ({frames},). {_WAY_OUT}"
        )
    kept: NDArray[np.bool_] = stored.read_all() != 0
    return kept


def _read_frames(iq: Hdf5Dataset, indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    gather(indices, out, iq.read, frame_bytes=8 * iq.shape[2])
