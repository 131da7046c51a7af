"""Every frame read once before any work: a set that cannot be used is refused while nothing is lost."""

from __future__ import annotations

import numpy as np

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.errors import DatasetError

# Frames are checked in blocks of 8 MiB: quick to read, small beside any model.
CHECK_BLOCK_SAMPLES = 1 << 20


def check_frames(dataset: Dataset, *, expected_length: int | None = None, progress: Progress = silent) -> None:
    """Read every frame once, in blocks, and refuse a set that cannot be used.

    ``expected_length`` is the number of samples a frame must have (what a model takes); None takes any.
    Raises :class:`DatasetError` for no frames, another length, fewer than two classes with frames, or values that are
    not finite (how many frames have them, and the first one's index, class and SNR).
    """
    if len(dataset) == 0:
        raise DatasetError(f"{dataset.source}: it has no frames; expected at least one of each class and SNR")
    if expected_length is not None and dataset.length != expected_length:
        raise DatasetError(
            f"{dataset.source}: its frames have {dataset.length} samples; expected {expected_length}. "
            f"Take a model made for {dataset.length} samples, or a set with frames of {expected_length}"
        )
    present = np.unique(dataset.labels)
    if present.size < 2:
        raise DatasetError(
            f"{dataset.source}: all its frames are of one class, {dataset.classes[present[0]]}; "
            f"expected two or more, for there is nothing to tell apart"
        )
    damaged = 0
    first: int | None = None
    block = max(1, CHECK_BLOCK_SAMPLES // dataset.length)
    for start in range(0, len(dataset), block):
        stop = min(start + block, len(dataset))
        finite = np.isfinite(dataset.frames(np.arange(start, stop))).all(axis=(1, 2))
        bad = np.flatnonzero(~finite)
        damaged += bad.size
        if first is None and bad.size:
            first = start + int(bad[0])
        progress(stop, len(dataset), "checking frames")
    if first is not None:
        raise DatasetError(
            f"{dataset.source}: {damaged} of {len(dataset)} frames hold NaN or infinity, first frame {first} "
            f"({dataset.classes[dataset.labels[first]]}, {dataset.snr_db[first]:g} dB); expected finite numbers. "
            f"Mend or leave out those frames where the file was made"
        )
