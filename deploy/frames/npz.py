"""Plain arrays in an ``.npz`` of numpy: the names of the project's own ``.h5``.

``iq`` (N, 2, length) of real numbers, ``label`` (N,) integers that point into ``classes`` (K,), which is text of a fixed
length (``np.array(["BPSK", "QPSK"])``) or bytes in UTF-8, ``snr_db`` (N,) numbers; and where they are there:
``sample_rate_hz``, one number, and ``own_test`` (N,), true for the frames kept for the test. Other names are let be.

What ``np.savez`` writes is read from the file when asked for, whatever its size. What ``np.savez_compressed`` writes, and
Fortran order, is read into memory once. Nothing is unpickled.
"""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import DatasetError
from deploy.frames.dataset import UNLABELLED, Dataset, Read, from_memory
from deploy.frames.gathering import block_frames, gather
from deploy.frames.hdf5_dataset import check_ratio
from deploy.frames.npz_archive import WAY_OUT, Archive, Member, open_archive
from deploy.frames.same_file import SameFile, read_into
from deploy.memory import check_memory

FORMAT = "npz"
_NEEDED = ("iq", "label", "snr_db", "classes")
_OPTIONAL = ("sample_rate_hz", "own_test")
_MOST_CLASSES_BYTES = 1 << 20
_MOST_NAME = 200
_PIECE_BYTES = 4 << 20
_READ_AS_NEEDED = "Write it with np.savez and in C order (np.ascontiguousarray), which is read as needed"


def open_npz(path: Path, *, labelled: bool = True) -> Dataset:
    """Open frames in an ``.npz``, as they are in the file, unscaled and, where unsigned, not centred.

    Where they need not be ``labelled``, ``iq`` alone is enough.

    Frames that are read lazily are not compared with the zip's checksum, which would read all of them; everything that
    is read at opening is. Raises :class:`DatasetError` that names the array, and says how to write it.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read: {reason}. Check the path") from error
    # A pipe would be waited for.
    if not stat.S_ISREG(mode):
        raise DatasetError(f"{path}: not a regular file; expected an .npz. Name the file")
    with open_archive(path) as archive:
        members = archive.members(_NEEDED + _OPTIONAL)
        unlabelled = not labelled and "label" not in members
        iq = _checked_iq(archive, members, ("iq",) if unlabelled else _NEEDED)
        frames, _, length = iq.shape
        for name in ("label", "snr_db", "own_test"):
            if name in members:
                _check_column(archive, members[name], frames)
        if _in_memory(iq):
            check_memory(f"{path.name}: its {frames} frames", frames * 2 * length * 4, _READ_AS_NEEDED)
        return Dataset(
            source=path.name,
            format=FORMAT,
            classes=(UNLABELLED,) if unlabelled else _classes(archive, members["classes"]),
            labels=np.zeros(frames, np.int64) if unlabelled else _labels(archive, members["label"]),
            snr_db=np.zeros(frames, np.float32) if unlabelled else _float32(archive.read(members["snr_db"])),
            length=length,
            sample_rate_hz=_sample_rate_hz(archive, members),
            own_test=archive.read(members["own_test"]) if "own_test" in members else None,
            read=_reading(archive, iq),
            block_frames=1 if _in_memory(iq) else block_frames(2 * length * iq.dtype.itemsize),
            labelled=not unlabelled,
        )


def _checked_iq(archive: Archive, members: dict[str, Member], needed: tuple[str, ...]) -> Member:
    """Check that what a set needs is there, that the frames are frames, and that they are no more than the file's."""
    source = archive.source
    missing = [name for name in needed if name not in members]
    if missing:
        raise DatasetError(
            f"{source}: has no {' and no '.join(missing)}; it holds {archive.names()}, expected {', '.join(needed)}. "
            f"{WAY_OUT}"
        )
    iq = members["iq"]
    if iq.dtype.kind == "c":
        raise DatasetError(
            f"{source}: iq is {iq.dtype} of shape {iq.shape}; expected I and Q as two rows of real numbers. "
            f"Save np.stack([iq.real, iq.imag], axis=1)"
        )
    if iq.dtype.kind not in "fiu":
        raise DatasetError(f"{source}: iq is {iq.dtype}; expected real numbers, float32 as a rule. {WAY_OUT}")
    if len(iq.shape) != 3 or iq.shape[1] != 2:
        turned = len(iq.shape) == 3 and iq.shape[2] == 2
        hint = "I and Q are its last axis: save iq.transpose(0, 2, 1)" if turned else WAY_OUT
        raise DatasetError(f"{source}: iq has the shape {iq.shape}; expected (frames, 2, length). {hint}")
    if iq.size_bytes == 0:
        raise DatasetError(f"{source}: iq is empty, of shape {iq.shape}; expected frames. {WAY_OUT}")
    check_ratio(f"{source}: iq", iq.size_bytes, iq.packed_bytes, _READ_AS_NEEDED)
    return iq


def _check_column(archive: Archive, column: Member, frames: int) -> None:
    """Check one number a frame."""
    name, kind = column.name, column.dtype.kind
    kinds, what = {"label": ("iu", "integers"), "snr_db": ("fiu", "numbers in dB"), "own_test": ("b", "bool")}[name]
    if kind not in kinds:
        hint = WAY_OUT
        if name == "label" and kind in "US":
            hint = "Of names, classes, label = np.unique(names, return_inverse=True) makes both"
        elif kind in "fiu":
            hint = f"Save {name}.astype({'bool' if name == 'own_test' else 'np.int64'})"
        raise DatasetError(f"{archive.source}: {name} is {column.dtype}; expected {what}. {hint}")
    if column.shape != (frames,):
        hint = WAY_OUT
        if len(column.shape) == 2 and column.shape[0] == frames:
            one_hot = name == "label" and column.shape[1] > 1
            hint = f"Save {name}.argmax(axis=1)" if one_hot else f"Save {name}[:, 0]"
        raise DatasetError(
            f"{archive.source}: {name} has the shape {column.shape}; expected one number a frame, ({frames},). {hint}"
        )
    # Out of the whole file, for labels that are sorted do compress, beside frames that do not.
    check_ratio(f"{archive.source}: {name}", column.size_bytes, archive.file.size_bytes, WAY_OUT)


def _classes(archive: Archive, member: Member) -> tuple[str, ...]:
    if member.dtype.kind not in "US" or len(member.shape) != 1 or member.size_bytes > _MOST_CLASSES_BYTES:
        raise DatasetError(
            f"{archive.source}: classes is {member.dtype} of shape {member.shape}; expected one name a class, (K,), "
            f'as np.array(["BPSK", "QPSK"]) makes them'
        )
    # By hand: numpy makes text that Python cannot hold of a damaged code point.
    size = member.dtype.itemsize
    content = archive.read(member).tobytes()
    wide = "utf-32-be" if member.dtype.str.startswith(">") else "utf-32-le"
    encoding = wide if member.dtype.kind == "U" else "utf-8"
    names = []
    for number in range(member.shape[0]):
        encoded = content[number * size : (number + 1) * size]
        try:
            name = encoded.decode(encoding).rstrip("\0")
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{archive.source}: class {number} is named {encoded[:40]!r}; expected text, as UTF-8 where it is bytes"
            ) from error
        # A name goes to the terminal and into reports: no control characters.
        if not name.strip() or not name.isprintable() or len(name) > _MOST_NAME:
            raise DatasetError(
                f"{archive.source}: class {number} is named {name[:40]!a}; expected printable text of at most "
                f"{_MOST_NAME} characters"
            )
        names.append(name)
    return tuple(names)


def _labels(archive: Archive, member: Member) -> NDArray[np.int64]:
    labels = archive.read(member)
    if labels.dtype.kind == "u" and labels.max() > np.iinfo(np.int64).max:
        raise DatasetError(f"{archive.source}: label has {labels.max()}; expected indices into classes")
    return labels.astype(np.int64, copy=False)


def _sample_rate_hz(archive: Archive, members: dict[str, Member]) -> float | None:
    member = members.get("sample_rate_hz")
    if member is None:
        return None
    rate_hz = np.nan
    if member.dtype.kind in "fiu" and member.shape in ((), (1,)):
        rate_hz = float(archive.read(member).reshape(())[()])
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        got = f"{rate_hz} Hz" if member.shape in ((), (1,)) else f"of shape {member.shape}"
        raise DatasetError(
            f"{archive.source}: sample_rate_hz is {member.dtype}, {got}; expected one positive number. "
            f"Leave it out where it is not known"
        )
    return rate_hz


def _in_memory(iq: Member) -> bool:
    # In Fortran order a frame lies all over the file.
    return iq.offset is None or iq.fortran


def _reading(archive: Archive, iq: Member) -> Read:
    if iq.offset is not None and not _in_memory(iq):
        return partial(_read_stored, archive.file, iq.offset, iq.dtype, iq.shape[2])
    return from_memory(_load(archive, iq))


def _read_stored(
    file: SameFile,
    offset: int,
    dtype: np.dtype[Any],
    length: int,
    indices: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    frame_bytes = 2 * length * dtype.itemsize
    with file.opened() as descriptor:

        def read_run(start: int, stop: int) -> NDArray[np.float32]:
            raw = np.empty((stop - start) * frame_bytes, dtype=np.uint8)
            read_into(descriptor, raw.data, offset + start * frame_bytes, file.path.name)
            return _float32(raw.view(dtype).reshape(stop - start, 2, length))

        # Neighbours only: here a second reading costs hardly more than its bytes.
        gather(indices, out, read_run, frame_bytes=frame_bytes, gap_frames=1)


def _load(archive: Archive, iq: Member) -> NDArray[np.float32]:
    """Read all frames, a piece at a time: float32 (N, 2, length)."""
    frames, _, length = iq.shape
    try:
        loaded = np.empty(iq.shape, dtype=np.float32)
    except MemoryError as error:
        raise DatasetError(f"{archive.source}: its {frames} frames do not fit into memory") from error
    # What lies together in the file: a frame's samples, or in Fortran order one sample of all frames.
    row, rows = (2 * frames, length) if iq.fortran else (2 * length, frames)
    row_bytes = row * iq.dtype.itemsize
    at_once = max(1, _PIECE_BYTES // row_bytes)
    start = 0
    for piece in archive.pieces(iq, at_once * row_bytes):
        stop = min(start + at_once, rows)
        numbers = np.frombuffer(piece, dtype=iq.dtype)
        with _ignored():
            if iq.fortran:
                loaded[:, :, start:stop] = numbers.reshape(stop - start, 2, frames).transpose(2, 1, 0)
            else:
                loaded[start:stop] = numbers.reshape(stop - start, 2, length)
        start = stop
    return loaded


def _float32(numbers: NDArray[Any]) -> NDArray[np.float32]:
    with _ignored():
        return numbers.astype(np.float32, copy=False)


def _ignored() -> np.errstate:
    # float64 beyond float32 becomes infinity, and a signalling NaN a quiet one: checks find and name both.
    return np.errstate(over="ignore", invalid="ignore")
