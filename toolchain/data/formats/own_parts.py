"""Two files of one set, the one to train with and the one to test with, as one set that remembers which is which."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset, Read
from toolchain.errors import DatasetError


def join_parts(source: str, train: Dataset, test: Dataset) -> Dataset:
    """Put a set's test part behind its training part; ``own_test`` is true for the frames of the test part.

    Both have the same classes in the same order. Raises :class:`DatasetError` for frames of different lengths.
    """
    if train.length != test.length:
        raise DatasetError(
            f"{source}: frames of {train.length} samples in {train.source}, of {test.length} in {test.source}; "
            f"expected one length. Are both files of one set?"
        )
    return Dataset(
        source=source,
        format=train.format,
        classes=train.classes,
        labels=np.concatenate([train.labels, test.labels]),
        snr_db=np.concatenate([train.snr_db, test.snr_db]),
        length=train.length,
        sample_rate_hz=train.sample_rate_hz,
        read=partial(_read, train.read, test.read, len(train)),
        own_test=np.repeat([False, True], [len(train), len(test)]),
        block_frames=max(train.block_frames, test.block_frames),
    )


def _read(train: Read, test: Read, train_frames: int, indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    in_test = indices >= train_frames
    for read, chosen, first in ((train, ~in_test, 0), (test, in_test, train_frames)):
        if chosen.all():
            read(indices - first, out)
        elif chosen.any():
            part = np.empty((int(chosen.sum()), *out.shape[1:]), dtype=np.float32)
            read(indices[chosen] - first, part)
            out[chosen] = part
