"""Frames that are in a set twice, by their hashes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.frames.dataset import Dataset
from toolchain.data.frame_measures import FrameMeasures


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Frames that repeat an earlier one, bit by bit; constant and damaged frames are not counted.

    ``first`` are the indices of the first copy's original and of that copy. ``other_class`` and ``other_snr`` count the
    copies labelled otherwise than their original, ``across_test`` the file's own test frames that it also trains on.
    """

    frames: int
    first: tuple[int, int] | None
    other_class: int
    other_snr: int
    across_test: int


def find_duplicates(dataset: Dataset, measured: FrameMeasures) -> Duplicates:
    """Find the usable frames that have the same hash as an earlier one."""
    candidates = np.flatnonzero(measured.usable)
    order = candidates[np.argsort(measured.hashes[candidates], kind="stable")]
    hashes = measured.hashes[order]
    copies = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
    if copies.size == 0:
        return Duplicates(frames=0, first=None, other_class=0, other_snr=0, across_test=0)
    begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    original = order[np.repeat(begins, np.diff(np.append(begins, order.size)))]
    copy, its_original = order[copies], original[copies]
    across = 0
    if dataset.own_test is not None:
        in_test = dataset.own_test[order]
        trained = np.repeat(np.logical_or.reduceat(~in_test, begins), np.diff(np.append(begins, order.size)))
        across = int(np.sum(in_test & trained))
    first = int(np.argmin(copy))
    return Duplicates(
        frames=int(copy.size),
        first=(int(its_original[first]), int(copy[first])),
        other_class=int(np.sum(dataset.labels[copy] != dataset.labels[its_original])),
        other_snr=int(np.sum(dataset.snr_db[copy] != dataset.snr_db[its_original])),
        across_test=across,
    )
