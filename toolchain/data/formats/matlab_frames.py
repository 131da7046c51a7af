"""Frames in a MATLAB v7.3 file: an HDF5 array whose axes are in an order that only its sizes tell.

MATLAB stores the first axis fastest and HDF5 the last, so a MATLAB array of (2, length, N) is (N, length, 2) in the
file; and the programs that made such sets did not agree on an order to begin with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Read, from_memory
from deploy.frames.gathering import block_frames, gather
from deploy.frames.hdf5 import Hdf5File
from deploy.frames.hdf5_dataset import Hdf5Dataset, check_ratio
from deploy.memory import available_memory_bytes
from deploy.progress import Progress
from toolchain.errors import DatasetError

# Read at once where whole planes of frames are turned round.
_PLANES_BYTES = 64 << 20
# Of frames in a turned plane: rows of this many stay in the processor's cache while they are written down columns.
_TURNED_FRAMES = 256
_WAY_OUT = "In MATLAB, permute the array so that the frames are its last axis, and save it with -v7.3"
_WITHOUT_COMPRESSION = "Save it without compression: in MATLAB with -v7.3 and -nocompression"


@dataclass(frozen=True, kw_only=True)
class FrameAxes:
    """Which axis of an array is which; all others have the size 1. ``iq`` is None where the numbers are complex."""

    frames: int
    iq: int | None
    samples: int

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """View or copy an array with these axes as (n, 2, length), or as (n, 1, length) where it is one part of I/Q."""
        order = [self.frames, self.samples] if self.iq is None else [self.frames, self.iq, self.samples]
        order += [axis for axis in range(array.ndim) if axis not in order]
        turned: NDArray[Any] = array.transpose(order)
        return turned.reshape(turned.shape[0], -1, array.shape[self.samples])


def frames_array(file: Hdf5File, name: str) -> Hdf5Dataset:
    """Give the array ``name``; DatasetError where it is not there or cannot be read, or holds no numbers of signals."""
    if name not in file.datasets:
        why = file.unreadable.get(name)
        found = ", ".join(array.name for array in list(file.datasets.values())[:8]) or "no arrays"
        raise DatasetError(
            f"{file.path.name}: {name} cannot be read: {why}"
            if why
            else f"{file.path.name}: has {found}; expected an array {name}"
        )
    array = file.datasets[name]
    if array.dtype.names is None and array.dtype.kind not in "fiu":
        raise DatasetError(f"{file.path.name}: {name} holds {array.dtype}; expected numbers")
    check_ratio(f"{file.path.name}: {name}", array.nbytes, array.stored_bytes, _WITHOUT_COMPRESSION)
    return array


def find_axes(array: Hdf5Dataset, *, length: int, counts: tuple[int, ...] | None) -> FrameAxes:
    """Tell the axes of an array by their sizes: 2 for I/Q (none if complex), ``length``, and the number of frames.

    ``counts`` are the numbers of frames that there may be; None admits any. Raises :class:`DatasetError` where no order
    fits, or more than one.
    """
    place = f"{array.file.path.name}: {array.name}"
    is_complex = array.dtype.names is not None
    parts = "complex " if is_complex else "2 x "
    wanted = f"{parts}{length} x {' or '.join(map(str, counts)) if counts else 'the number of frames'}, in any order"
    large = [axis for axis, size in enumerate(array.shape) if size != 1]
    found = []
    if len(large) == (2 if is_complex else 3):
        for frames, samples, *iq in permutations(large):
            fits = array.shape[samples] == length and all(array.shape[axis] == 2 for axis in iq)
            if fits and array.shape[frames] > 0 and (counts is None or array.shape[frames] in counts):
                found.append(FrameAxes(frames=frames, iq=iq[0] if iq else None, samples=samples))
    if not found:
        raise DatasetError(f"{place} has the shape {array.shape}; expected {wanted} (and axes of size 1)")
    if len(found) > 1:
        raise DatasetError(
            f"{place} has the shape {array.shape}: which axis is which cannot be told; expected {wanted}, all "
            f"different. Add a frame or leave one out"
        )
    return found[0]


def open_frames(array: Hdf5Dataset, axes: FrameAxes, progress: Progress) -> tuple[Read, int]:
    """Make a Dataset's ``read`` and ``block_frames`` out of an array.

    Frames on the first axis are read from the file when asked for; on another, one frame lies all over the file, and
    they are read into memory here. Raises :class:`DatasetError` where they do not fit there, before any is read.
    """
    if axes.frames == 0:
        in_a_row = 1 if array.in_place else array.rows_per_chunk
        return partial(_read_lazily, array, axes), max(in_a_row, block_frames(_frame_bytes(array)))
    return from_memory(_read_into_memory(array, axes, progress)), 1


def _frame_bytes(array: Hdf5Dataset) -> int:
    return max(1, array.nbytes // array.shape[0])


def _read_lazily(array: Hdf5Dataset, axes: FrameAxes, indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    gap = None if array.in_place else array.rows_per_chunk
    run = partial(_read_run, array, axes)
    gather(indices, out, run, frame_bytes=_frame_bytes(array), gap_frames=gap)


def _read_run(array: Hdf5Dataset, axes: FrameAxes, start: int, stop: int) -> NDArray[Any]:
    stored = array.read(start, stop)
    if axes.iq is not None:
        return axes.turned(stored)
    return np.concatenate([axes.turned(stored[part]) for part in ("real", "imag")], axis=1)


def _read_into_memory(array: Hdf5Dataset, axes: FrameAxes, progress: Progress) -> NDArray[np.float32]:
    """Read all frames, some planes of the first axis at a time: (N, 2, length)."""
    planes, count, length = array.shape[0], array.shape[axes.frames], array.shape[axes.samples]
    step = _planes_at_once(array, count * 2 * length * 4)
    try:
        iq = np.empty((count, 2, length), dtype=np.float32)
    except MemoryError as error:
        raise DatasetError(f"{_all_at_once(array)}, more memory than this machine gives. {_WAY_OUT}") from error
    # The memory with its axes in the file's order: a part of the file fills the same part of it.
    if axes.iq is None:
        fields = {"real": _in_file_order(iq[:, 0], array, [axes.frames, axes.samples])}
        fields["imag"] = _in_file_order(iq[:, 1], array, [axes.frames, axes.samples])
    else:
        fields = {"": _in_file_order(iq, array, [axes.frames, axes.iq, axes.samples])}
    for start in range(0, planes, step):
        stop = min(start + step, planes)
        stored = array.read(start, stop)
        for field, memory in fields.items():
            part = stored[field] if field else stored
            for first in range(0, count, _TURNED_FRAMES):
                here = (slice(None),) * axes.frames + (slice(first, first + _TURNED_FRAMES),)
                # float64 beyond float32 becomes infinity, which checks find and name.
                with np.errstate(over="ignore", invalid="ignore"):
                    memory[start:stop][here] = part[here]
        progress(stop, planes, f"parts of {array.file.path.name}")
    return iq


def _in_file_order(memory: NDArray[np.float32], array: Hdf5Dataset, axes: list[int]) -> NDArray[np.float32]:
    """View memory with the array's axes: its axis k is the array's axis ``axes[k]``, the array's others have size 1."""
    view = memory.transpose(np.argsort(axes))
    return np.expand_dims(view, tuple(axis for axis in range(len(array.shape)) if axis not in axes))


def _planes_at_once(array: Hdf5Dataset, frames_bytes: int) -> int:
    """Choose how many planes of the first axis to read at once; DatasetError where not even one finds room."""
    plane_bytes = max(1, array.nbytes // array.shape[0])
    best = max(1, _PLANES_BYTES // plane_bytes)
    if not array.in_place:
        # A chunk is decompressed anew for each reading that touches it.
        best = max(1, best // array.rows_per_chunk) * array.rows_per_chunk
    available = available_memory_bytes()
    best = min(best, array.shape[0])
    if available is None:
        return best
    for planes in (best, 1):
        if frames_bytes + planes * plane_bytes <= available:
            return planes
    raise DatasetError(
        f"{_all_at_once(array)}, {(frames_bytes + plane_bytes) / 2**30:.1f} GiB, and "
        f"{available / 2**30:.1f} GiB of memory are free. {_WAY_OUT}"
    )


def _all_at_once(array: Hdf5Dataset) -> str:
    return (
        f"{array.file.path.name}: {array.name} has the shape {array.shape} in the file, where frames are not on the "
        f"first axis, so that all must be read at once"
    )
