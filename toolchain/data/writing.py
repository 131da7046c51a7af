"""Writing the project's own ``.h5``; what is in it, and reading it: :mod:`deploy.frames.h5`."""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset, from_memory
from deploy.frames.h5 import CHUNK_BYTES, FORMAT, VERSION, blocks, content_digest
from deploy.progress import Progress, silent
from toolchain.errors import DatasetError

# Headers, indices, and the unfilled end of the last chunk.
_OVERHEAD_BYTES = 128 << 10


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
    described = Dataset(
        source=path.name,
        format=FORMAT,
        classes=tuple(classes),
        labels=label,
        snr_db=snr_db,
        length=iq.shape[2],
        sample_rate_hz=sample_rate_hz,
        read=from_memory(iq),
    )
    if len(described) != len(iq):
        raise DatasetError(f"{path.name}: {len(iq)} frames and {len(described)} labels; expected one label a frame")
    write_blocks(path, described, (iq[start:stop] for start, stop in blocks(len(iq), iq.shape[2])), made_by=made_by)


def convert_to_h5(dataset: Dataset, path: Path, *, made_by: str, progress: Progress = silent) -> None:
    """Write ``dataset`` to ``path``, whatever format it was read from, 16 MiB at a time; raises as :func:`write_h5`."""
    frames = (dataset.frames(np.arange(*part)) for part in blocks(len(dataset), dataset.length))
    write_blocks(path, dataset, frames, made_by=made_by, progress=progress)


def write_blocks(
    path: Path,
    described: Dataset,
    frames: Iterable[NDArray[np.float32]],
    *,
    made_by: str,
    progress: Progress = silent,
) -> None:
    """Write the set that ``described`` describes, its frames taken from ``frames``: float32 (n, 2, length) each.

    The file appears only when it is complete. Raises :class:`DatasetError` where a frame is not finite, or the file
    cannot be written.
    """
    rate_hz, count, length = described.sample_rate_hz, len(described), described.length
    if count == 0:
        raise DatasetError(f"{path.name}: no frames to write; expected at least one")
    if rate_hz is not None and not (np.isfinite(rate_hz) and rate_hz > 0):
        raise DatasetError(f"{path.name}: a sample rate of {rate_hz} Hz; expected a positive number, or None")
    # Imported for its use alone: a process that only reads, or makes frames, starts sooner.
    import h5py

    # Of the name only a number: a name may be as long as the file system allows.
    unfinished = path.with_name(f".{zlib.crc32(path.name.encode(errors='replace')):08x}.{os.getpid()}.unfinished")
    _remove_abandoned(path.parent, unfinished)
    needed_bytes = count * (8 * length + 13) + _OVERHEAD_BYTES
    require_room(path, needed_bytes)
    try:
        with h5py.File(unfinished, "w") as file:
            _take_room(unfinished, needed_bytes)
            file.attrs["format"] = _fixed_text([FORMAT])[0]
            file.attrs["version"] = VERSION
            file.attrs["classes"] = _fixed_text(described.classes)
            if rate_hz is not None:
                file.attrs["sample_rate_hz"] = float(rate_hz)
            file.attrs["made_by"] = _fixed_text([made_by])[0]
            file["label"] = described.labels.astype("<i8")
            file["snr_db"] = described.snr_db.astype("<f4")
            if described.own_test is not None:
                file["own_test"] = described.own_test.astype("u1")
            chunk = (max(1, min(count, CHUNK_BYTES // (8 * length))), 2, length)
            stored = file.create_dataset("iq", (count, 2, length), dtype="<f4", chunks=chunk)
            digest, start = content_digest(described), 0
            for frames_of_block in frames:
                block = np.ascontiguousarray(frames_of_block, dtype="<f4")
                stop = start + len(block)
                if not np.isfinite(block).all():
                    raise DatasetError(
                        f"{described.source}: frames {start} to {stop - 1} hold NaN or infinity; expected numbers"
                    )
                stored[start:stop] = block
                digest.update(block.data)
                progress(stop, count, "frames written")
                start = stop
            assert start == count  # the callers give one frame a label
            file.attrs["content_sha256"] = _fixed_text([digest.hexdigest()])[0]
            file.flush()
            size_bytes = file.id.get_filesize()
        os.truncate(unfinished, size_bytes)
        unfinished.replace(path)
    except OSError as error:
        # HDF5's own words go over several lines.
        reason = error.strerror or str(error).partition("\n")[0]
        raise DatasetError(f"{path}: cannot be written: {reason}") from error
    finally:
        # Where it never came to be, its name may be one that cannot be.
        with suppress(OSError):
            unfinished.unlink()


def require_room(path: Path, needed_bytes: int) -> None:
    """Raise :class:`DatasetError` where a file of ``needed_bytes`` at ``path`` would not fit on its disk."""
    try:
        free_bytes = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written: {error.strerror}") from error
    if free_bytes < needed_bytes:
        raise DatasetError(
            f"{path}: cannot be written: {os.strerror(errno.ENOSPC)}: it takes {needed_bytes / 2**30:,.1f} GiB, and "
            f"{free_bytes / 2**30:,.1f} GiB are free. Ask for fewer frames, or write to another disk"
        )


def _remove_abandoned(folder: Path, unfinished: Path) -> None:
    """Remove what processes that are gone, killed or without power, left of the same file."""
    name = unfinished.name.split(".")[1]
    for file in folder.glob(f".{name}.*.unfinished"):
        process = file.name.split(".")[2]
        if process.isdigit() and not Path("/proc", process).exists():
            with suppress(OSError):
                file.unlink()


def _take_room(unfinished: Path, needed_bytes: int) -> None:
    # Taken before, because HDF5 ends the whole process when the disk fills up under it: by another program, at a quota.
    with unfinished.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, needed_bytes)


def _fixed_text(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Text as UTF-8 of a fixed length: HDF5's other kind sends its library round in circles where a file is damaged."""
    import h5py

    encoded = [text.encode() for text in texts]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(1, *map(len, encoded))))
