"""Parts of a set, and the same set with its classes numbered otherwise; nothing is read for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.suggestion import did_you_mean
from toolchain.errors import DatasetError


def select_snr(dataset: Dataset, low_db: float, high_db: float) -> Dataset:
    """Keep the frames whose SNR is ``low_db`` to ``high_db``, both included; classes stay, even one left empty.

    Raises :class:`DatasetError` where no frame is left.
    """
    kept = np.flatnonzero((dataset.snr_db >= low_db) & (dataset.snr_db <= high_db))
    if kept.size == 0:
        has = "no frames"
        if len(dataset):
            has = f"{dataset.snr_db.min():g} to {dataset.snr_db.max():g} dB"
        raise DatasetError(
            f"{dataset.source}: no frame has an SNR from {low_db:g} to {high_db:g} dB; the file has {has}"
        )
    return select(dataset, kept)


def select_snrs(dataset: Dataset, snrs_db: Sequence[float]) -> Dataset:
    """Keep the frames whose SNR is one of ``snrs_db``.

    Raises :class:`DatasetError` for an SNR that no frame has.
    """
    asked = np.asarray(snrs_db, dtype=np.float32)
    missing = [snr for snr in asked if snr not in dataset.snr_db]
    if missing or not asked.size:
        has = ", ".join(f"{snr:g}" for snr in np.unique(dataset.snr_db)[:40])
        raise DatasetError(
            f"{dataset.source}: no frame has an SNR of {', '.join(f'{snr:g}' for snr in missing) or 'none'} dB; "
            f"the file has {has}"
        )
    return select(dataset, np.flatnonzero(np.isin(dataset.snr_db, asked)))


def select_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Keep the frames of ``classes``, which are then numbered in the order given.

    Raises :class:`DatasetError` for a name that the set has not, a name given twice, or no frame left.
    """
    unknown = [name for name in classes if name not in dataset.classes]
    if unknown or not classes or len(set(classes)) != len(classes):
        what = f"has no class {', '.join(unknown)}" if unknown else f"classes {', '.join(classes) or 'none'} asked for"
        hint = did_you_mean(unknown[0], dataset.classes) if unknown else ""
        raise DatasetError(
            f"{dataset.source}: {what}; expected different names out of {', '.join(dataset.classes)}{hint}"
        )
    new_number = np.full(len(dataset.classes), -1, dtype=np.int64)
    new_number[[dataset.classes.index(name) for name in classes]] = np.arange(len(classes))
    kept = np.flatnonzero(new_number[dataset.labels] >= 0)
    if kept.size == 0:
        raise DatasetError(f"{dataset.source}: no frame is of the classes {', '.join(classes)}; leave out that choice")
    return replace(select(dataset, kept), classes=tuple(classes), labels=new_number[dataset.labels[kept]])


def with_class_order(dataset: Dataset, classes: Sequence[str], *, all_of_them: bool = True) -> Dataset:
    """Renumber the classes in the order of ``classes``, which has the same names; frames and their order stay.

    A model knows its classes by number: a set read for it must count as the set it was trained on. Without
    ``all_of_them`` a set that lacks some of ``classes`` will do: it can be judged, though not trained on.
    Raises :class:`DatasetError` that names what is missing or too much.
    """
    extra = [name for name in dataset.classes if name not in classes]
    missing = [name for name in classes if name not in dataset.classes] if all_of_them else []
    if missing or extra or len(set(classes)) != len(classes):
        raise DatasetError(
            f"{dataset.source}: its classes are {', '.join(dataset.classes)}; asked for {', '.join(classes)}: "
            f"missing there: {', '.join(extra) or 'none'}, unknown here: {', '.join(missing) or 'none'}; "
            f"expected the same names, each once, in any order"
        )
    new_number = np.array([classes.index(name) for name in dataset.classes], dtype=np.int64)
    return replace(dataset, classes=tuple(classes), labels=new_number[dataset.labels])


def select(dataset: Dataset, kept: NDArray[np.int64]) -> Dataset:
    """Keep the frames at the positions ``kept``, int64 (n,), in that order."""
    return replace(
        dataset,
        labels=dataset.labels[kept],
        snr_db=dataset.snr_db[kept],
        own_test=None if dataset.own_test is None else dataset.own_test[kept],
        read=partial(_read_kept, dataset, kept),
    )


def _read_kept(dataset: Dataset, kept: NDArray[np.int64], indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    dataset.frames(kept[indices], out)
