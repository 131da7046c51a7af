"""Frames in any order out of a file that is best read forwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Read at once: small beside any model, large enough that starting a reading costs nothing.
RUN_BYTES = 16 << 20
# Frames that are read together where a set is shuffled: one reading of 256 KiB runs at the full speed of memory.
BLOCK_BYTES = 256 << 10
# A gap of up to this costs less to read over than a second reading costs to start.
GAP_BYTES = 64 << 10


def gather(
    indices: NDArray[np.int64],
    out: NDArray[np.float32],
    read_run: Callable[[int, int], NDArray[np.float32]],
    *,
    frame_bytes: int,
    gap_frames: int | None = None,
) -> None:
    """Fill ``out`` (n, 2, length) with the frames at ``indices`` (n,), each run of neighbours in one reading.

    ``read_run(start, stop)`` gives the frames ``start`` to ``stop`` - 1, (stop - start, 2, length), in any real type.
    ``frame_bytes`` is what a frame takes in the file; ``gap_frames`` are read over where they lie between two frames
    (64 KiB of them if not given). Never more than 16 MiB are read at once.
    """
    order = np.argsort(indices, kind="stable")
    ascending = indices[order]
    most = max(1, RUN_BYTES // frame_bytes)
    gap = max(1, GAP_BYTES // frame_bytes if gap_frames is None else gap_frames)
    start = 0
    # float64 beyond float32 becomes infinity, and a signalling NaN a quiet one: checks find and name both.
    with np.errstate(over="ignore", invalid="ignore"):
        while start < ascending.size:
            reach = np.searchsorted(ascending, ascending[start] + most)
            steps = np.diff(ascending[start:reach])
            breaks = np.flatnonzero(steps > gap)
            stop = start + 1 + int(breaks[0] if breaks.size else steps.size)
            first = int(ascending[start])
            run = read_run(first, int(ascending[stop - 1]) + 1)
            # Every frame of the run, once: frames asked for twice may make up for others that are left out.
            whole = bool((steps[: stop - start - 1] == 1).all())
            out[order[start:stop]] = run if whole else run[ascending[start:stop] - first]
            start = stop


def block_frames(frame_bytes: int) -> int:
    """How many neighbours are worth reading together where a frame takes ``frame_bytes`` in the file."""
    return max(1, BLOCK_BYTES // frame_bytes)
