"""Two files of one set, the one to train with and the one to test with, as one set that remembers which is which."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset, Read
from deploy.frames.gathering import RUN_BYTES
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
        places = np.flatnonzero(chosen)
        if places.size == 0:
            continue
        if places[-1] - places[0] + 1 == places.size:
            together = slice(places[0], places[-1] + 1)
            read(indices[together] - first, out[together])
        else:
            _read_scattered(read, indices - first, places, out)


def _read_scattered(
    read: Read, indices: NDArray[np.int64], places: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Fill ``out`` at ``places``, 16 MiB at a time."""
    # As they lie in the file: pieces of a shuffled order would each go through all of it.
    places = places[np.argsort(indices[places], kind="stable")]
    at_once = max(1, RUN_BYTES // out[:1].nbytes)
    piece = np.empty((min(places.size, at_once), *out.shape[1:]), dtype=np.float32)
    for start in range(0, places.size, at_once):
        some = places[start : start + at_once]
        read(indices[some], piece[: some.size])
        out[some] = piece[: some.size]
