"""The project's own ``.h5``: frames, labels and SNRs in HDF5, readable without loading them all.

Root attributes: ``format`` "thinwave-frames", ``version`` 1, ``classes`` (text, one each), ``sample_rate_hz`` (absent
if unknown), ``made_by`` (how the frames came to be), ``content_sha256``. Datasets: ``iq`` float32 (N, 2, length), chunked
by whole frames, ``label`` int64 (N,), ``snr_db`` float32 (N,). Nothing is compressed: noise does not compress, and a
file's size then bounds what its header may claim.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset, from_memory
from deploy.progress import Progress, silent
from toolchain.errors import DatasetError

FORMAT = "thinwave-frames"
VERSION = 1
# Small, for a training batch takes its frames from all over the file and HDF5 reads whole chunks.
CHUNK_BYTES = 64 << 10
# Headers, indices, and the unfilled end of the last chunk.
_OVERHEAD_BYTES = 128 << 10
_BLOCK_BYTES = 16 << 20
# HDF5's own limit for an attribute that is kept with the header.
_MOST_ATTRIBUTE_BYTES = 64 << 10
_LAYOUT = {"iq": ("f", 4, 3), "label": ("i", 8, 1), "snr_db": ("f", 4, 1)}
_WAY_OUT = "Make the file again, with write_h5 of toolchain.data"


def write_h5(
    path: Path,
    *,
    iq: NDArray[np.float32],
    label: NDArray[np.int64],
    snr_db: NDArray[np.float32],
    classes: Sequence[str],
    sample_rate_hz: float | None,
    made_by: str,
) -> None:
    """Write frames (N, 2, length), their labels (N,) and SNRs in dB (N,) to ``path``, which appears only when complete.

    ``made_by`` says how the frames were made, in one line. Raises :class:`DatasetError` where the parts do not fit
    together, a frame is not finite, or the file cannot be written.
    """
    if iq.ndim != 3 or iq.shape[1] != 2 or iq.dtype != np.float32 or len(iq) == 0:
        raise DatasetError(f"{path.name}: iq of shape {iq.shape}, {iq.dtype}; expected float32 (N, 2, length)")
    # The reader's own rules for labels, SNRs and classes: what is written can be opened.
    dataset = Dataset(
        source=path.name,
        format=FORMAT,
        classes=tuple(classes),
        labels=label,
        snr_db=snr_db,
        length=iq.shape[2],
        sample_rate_hz=sample_rate_hz,
        read=from_memory(iq),
    )
    if len(dataset) != len(iq):
        raise DatasetError(f"{path.name}: {len(iq)} frames and {len(dataset)} labels; expected one label a frame")
    if sample_rate_hz is not None and not (np.isfinite(sample_rate_hz) and sample_rate_hz > 0):
        raise DatasetError(f"{path.name}: a sample rate of {sample_rate_hz} Hz; expected a positive number, or None")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        _require_room(path, iq.nbytes + 12 * len(iq) + _OVERHEAD_BYTES)
        with h5py.File(unfinished, "w") as file:
            file.attrs["format"] = _fixed_text([FORMAT])[0]
            file.attrs["version"] = VERSION
            file.attrs["classes"] = _fixed_text(dataset.classes)
            if sample_rate_hz is not None:
                file.attrs["sample_rate_hz"] = float(sample_rate_hz)
            file.attrs["made_by"] = _fixed_text([made_by])[0]
            file["label"] = dataset.labels.astype("<i8")
            file["snr_db"] = dataset.snr_db.astype("<f4")
            frame_bytes = 2 * dataset.length * 4
            chunk = (max(1, min(len(iq), CHUNK_BYTES // frame_bytes)), 2, dataset.length)
            stored = file.create_dataset("iq", iq.shape, dtype="<f4", chunks=chunk)
            digest = _header_digest(dataset)
            for start, stop in _blocks(iq.shape):
                block = np.ascontiguousarray(iq[start:stop], dtype="<f4")
                if not np.isfinite(block).all():
                    raise DatasetError(
                        f"{path.name}: frames {start} to {stop - 1} hold NaN or infinity; expected numbers"
                    )
                stored[start:stop] = block
                digest.update(block.data)
            file.attrs["content_sha256"] = _fixed_text([digest.hexdigest()])[0]
        unfinished.replace(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _require_room(path: Path, needed_bytes: int) -> None:
    # Asked before, because HDF5 ends the whole process when the disk fills up under it.
    if shutil.disk_usage(path.parent).free < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_h5(path: Path) -> Dataset:
    """Open the project's own ``.h5``: labels and SNRs in memory, frames read from the file when asked for.

    The file is opened anew for each reading, so that no handle stays open and a set can go to another process.
    Raises :class:`DatasetError` where the header and the file disagree; frames are not read here: :func:`verify_h5`.
    """
    with _opened(path) as file:
        _check_layout(file, path)
        return Dataset(
            source=path.name,
            format=FORMAT,
            classes=_classes(file, path),
            labels=file["label"][()],
            snr_db=file["snr_db"][()],
            length=file["iq"].shape[2],
            sample_rate_hz=_sample_rate_hz(file, path),
            read=partial(_read_frames, path.resolve(), file["iq"].shape),
        )


def verify_h5(path: Path, *, progress: Progress = silent) -> None:
    """Read the whole file once and compare its content with the hash written into it.

    Raises :class:`DatasetError` where they differ, or where the file cannot be opened or read.
    """
    dataset = open_h5(path)
    digest = _header_digest(dataset)
    with _opened(path) as file:
        written = _attribute(file, "content_sha256")
        for start, stop in _blocks(file["iq"].shape):
            digest.update(np.ascontiguousarray(file["iq"][start:stop], dtype="<f4").data)
            progress(stop, len(dataset), "checking content")
    if digest.hexdigest().encode() != written:
        raise DatasetError(
            f"{path.name}: its content has SHA-256 {digest.hexdigest()}, the file says {written!a}: it was changed "
            f"or damaged since it was written. {_WAY_OUT}"
        )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    # What h5py raises for a damaged file depends on where the damage is.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise DatasetError(
            f"{path.name}: HDF5 cannot read it: {error}. The file is damaged or cut off. {_WAY_OUT}"
        ) from error


def _check_layout(file: h5py.File, path: Path) -> None:
    """Compare what the header claims with the file, before anything of a claimed size is allocated."""
    if _attribute(file, "format") != FORMAT.encode():
        raise DatasetError(
            f"{path.name}: an HDF5 file that thinwave did not write, with {', '.join(list(file)[:8]) or 'no members'}; "
            f'expected the attribute format = "{FORMAT}"'
        )
    if _attribute(file, "version") != VERSION:
        raise DatasetError(
            f"{path.name}: version {_attribute(file, 'version')} of the format; this program reads {VERSION}. "
            f"Update thinwave, or make the file again"
        )
    for name, (kind, item_bytes, axes) in _LAYOUT.items():
        # A link to another file, or a virtual or external dataset, would read what the user did not name.
        if name not in file or not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise DatasetError(f"{path.name}: has no dataset {name}; expected {', '.join(_LAYOUT)}. {_WAY_OUT}")
        stored = file[name]
        if not isinstance(stored, h5py.Dataset) or stored.is_virtual or stored.external:
            raise DatasetError(f"{path.name}: {name} is no dataset of this file itself. {_WAY_OUT}")
        if stored.dtype.kind != kind or stored.dtype.itemsize != item_bytes or len(stored.shape or ()) != axes:
            raise DatasetError(
                f"{path.name}: {name} is {stored.dtype} of shape {stored.shape}; expected "
                f"{np.dtype(f'{kind}{item_bytes}')} with {axes} axes. {_WAY_OUT}"
            )
        stored_bytes = stored.id.get_storage_size()
        if stored.id.get_create_plist().get_nfilters() or not stored.nbytes <= stored_bytes <= path.stat().st_size:
            raise DatasetError(
                f"{path.name}: {name} claims {stored.nbytes} bytes, {stored_bytes} are stored in a file of "
                f"{path.stat().st_size}: it is compressed, incomplete or damaged. {_WAY_OUT}"
            )
    shapes = {name: file[name].shape for name in _LAYOUT}
    frames, rows, length = shapes["iq"]
    if rows != 2 or length < 1 or frames < 1 or shapes["label"] != (frames,) or shapes["snr_db"] != (frames,):
        raise DatasetError(
            f"{path.name}: shapes {shapes}; expected iq (N, 2, length), label (N,), snr_db (N,). {_WAY_OUT}"
        )


def _classes(file: h5py.File, path: Path) -> tuple[str, ...]:
    names = _attribute(file, "classes")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DatasetError(f"{path.name}: has no list of classes; expected the attribute classes. {_WAY_OUT}")
    return tuple(name.decode() for name in names)


def _fixed_text(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Text as UTF-8 of a fixed length: HDF5's other kind sends its library round in circles where a file is damaged."""
    encoded = [text.encode() for text in texts]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(1, *map(len, encoded))))


def _attribute(file: h5py.File, name: str) -> object:
    """Read a root attribute, a number, bytes or a list of them; None where it is missing, huge or of another kind."""
    if name in file.attrs:
        claim = file.attrs.get_id(name)
        if claim.dtype.kind in "Sifu" and claim.get_storage_size() <= _MOST_ATTRIBUTE_BYTES:
            value: object = np.asarray(file.attrs[name]).tolist()
            return value
    return None


def _sample_rate_hz(file: h5py.File, path: Path) -> float | None:
    if "sample_rate_hz" not in file.attrs:
        return None
    rate_hz = _attribute(file, "sample_rate_hz")
    if not isinstance(rate_hz, float) or not (np.isfinite(rate_hz) and rate_hz > 0):
        raise DatasetError(f"{path.name}: a sample rate of {rate_hz!a} Hz; expected a positive number. {_WAY_OUT}")
    return rate_hz


def _read_frames(
    path: Path, shape: tuple[int, int, int], indices: NDArray[np.int64], gathered: NDArray[np.float32]
) -> None:
    """Gather frames in any order: sorted, then each run of neighbours in one reading, at most a block at a time."""
    order = np.argsort(indices, kind="stable")
    ascending = indices[order]
    with _opened(path) as file:
        stored = file["iq"]
        if stored.shape != shape:
            raise DatasetError(
                f"{path.name}: iq is now {stored.shape} and was {shape}: the file was replaced while in use"
            )
        frames_per_block = max(1, _BLOCK_BYTES // (shape[1] * shape[2] * 4))
        # A gap of up to a chunk costs less to read over than a second reading costs to start.
        gap = (stored.chunks or (1,))[0]
        start = 0
        while start < ascending.size:
            reach = np.searchsorted(ascending, ascending[start] + frames_per_block)
            steps = np.diff(ascending[start:reach])
            breaks = np.flatnonzero(steps > gap)
            stop = start + 1 + int(breaks[0] if breaks.size else steps.size)
            first = int(ascending[start])
            run = stored[first : int(ascending[stop - 1]) + 1]
            gathered[order[start:stop]] = run[ascending[start:stop] - first]
            start = stop


def _header_digest(dataset: Dataset) -> hashlib._Hash:
    """Begin the content hash: SHA-256 of a line of JSON, the labels, the SNRs, then all frames, little-endian."""
    header = {
        "classes": list(dataset.classes),
        "sample_rate_hz": dataset.sample_rate_hz,
        "shape": [len(dataset), 2, dataset.length],
    }
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode() + b"\n")
    digest.update(dataset.labels.astype("<i8").tobytes())
    digest.update(dataset.snr_db.astype("<f4").tobytes())
    return digest


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    step = max(1, _BLOCK_BYTES // (shape[1] * shape[2] * 4))
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])
