"""Which frames of a set are used, and for what: the record that a model file keeps, and that finds its test frames again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from toolchain.data.selecting import select, select_classes, select_snrs
from toolchain.data.snr_text import SnrChoice, range_in_words, snr_choice, snrs_in_words
from toolchain.data.split_conventions import CONVENTIONS, split_by
from toolchain.data.splits import Split
from toolchain.errors import DatasetError, ModelError


@dataclass(frozen=True, kw_only=True)
class DataUse:
    """The SNRs and classes that are taken of a set (None: all), and how these frames are split."""

    snr_min_db: float | None = None
    snr_max_db: float | None = None
    snrs_db: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    split: str = CONVENTIONS[0]
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise :class:`DatasetError` for a value of a kind that cannot be meant: records come from files."""
        ends = [end for end in (self.snr_min_db, self.snr_max_db) if end is not None]
        whole = {
            "split": self.split in CONVENTIONS,
            "seed": type(self.seed) is int and self.seed >= 0,
            "fractions": len(self.fractions) == 3 and all(_is_number(part) and part > 0 for part in self.fractions),
            "snr_min_db or snr_max_db": all(map(_is_number, ends)),
            "snrs_db": self.snrs_db is None or all(map(_is_number, self.snrs_db)),
            "classes": self.classes is None or all(isinstance(name, str) for name in self.classes),
        }
        wrong = [key for key, good in whole.items() if not good]
        if wrong:
            raise DatasetError(
                f"the use of a set: {', '.join(wrong)} cannot be meant; expected one of {', '.join(CONVENTIONS)}, a seed from "
                f"0, three fractions above 0, SNRs in dB, and names"
            )

    def selected(self, dataset: Dataset) -> Dataset:
        """Take the frames of these SNRs and classes; raises DatasetError where none is left."""
        if self.classes is not None:
            dataset = select_classes(dataset, self.classes)
        low_db, high_db = self.snr_min_db, self.snr_max_db
        if low_db is not None or high_db is not None:
            kept = positions(DataUse(snr_min_db=low_db, snr_max_db=high_db), dataset)
            if kept.size == 0:
                raise DatasetError(
                    f"{dataset.source}: no frame has an SNR {range_in_words(low_db, high_db)}; the file has "
                    f"{snrs_in_words(dataset.snr_db, dataset.snr_db)}"
                )
            dataset = select(dataset, kept)
        return dataset if self.snrs_db is None else select_snrs(dataset, self.snrs_db)

    def in_words(self, dataset: Dataset) -> str:
        """Say what this takes of the whole ``dataset``: "18 dB", "18 dB and the classes BPSK, QPSK"; "" where all."""
        taken, words = self.selected(dataset), []
        if not np.isin(dataset.snr_db, taken.snr_db).all():
            words.append(snrs_in_words(taken.snr_db, dataset.snr_db))
        if len(taken.classes) < len(dataset.classes):
            words.append(f"the classes {', '.join(taken.classes)}")
        return " and ".join(words)

    def split_of(self, dataset: Dataset) -> Split:
        """Split what :meth:`selected` gives of the whole ``dataset``; the indices are into that selection.

        The file's own class numbers count, and for ``amr-benchmark`` the whole set: a part is split as it is within the
        whole. Raises DatasetError where a cell is too small.
        """
        kept = positions(self, dataset)
        split = partial(split_by, self.split, fractions=self.fractions, seed=self.seed)
        if self.split != "amr-benchmark":
            return split(select(dataset, kept))
        whole = split(dataset)
        place = np.full(len(dataset), -1, dtype=np.int64)
        place[kept] = np.arange(kept.size)
        parts = {name: place[getattr(whole, name)] for name in ("train", "validation", "test")}
        return Split(**{name: part[part >= 0] for name, part in parts.items()})


def use_in_words(*, classes: str | None, snr_db: str | None, split: str = CONVENTIONS[0], seed: int = 1) -> DataUse:
    """Read what a command line says: names with commas between, and SNRs as :mod:`toolchain.data.snr_text` reads them.

    Raises :class:`DatasetError` for a choice that cannot be meant.
    """
    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    if names is not None and not all(names):
        raise DatasetError(f'classes "{classes}": expected names with a comma between, as BPSK,QPSK,8PSK')
    low_db, high_db, values_db = SnrChoice(None, None, None) if snr_db is None else snr_choice(snr_db)
    return DataUse(snr_min_db=low_db, snr_max_db=high_db, snrs_db=values_db, classes=names, split=split, seed=seed)


def record_of(dataset: Dataset, use: DataUse) -> dict[str, Any]:
    """Say of which set, and how, for a model's card: ``dataset`` is the whole set, before anything was selected."""
    return {"source": dataset.source, "fingerprint": dataset.fingerprint, "use": asdict(use)}


def use_in(record: Mapping[str, Any], dataset: Dataset) -> DataUse | None:
    """Read from a model's card how ``dataset`` was used to make it; None where it was another set, or nobody knows.

    Raises :class:`ModelError` where it was this set, and the record is damaged.
    """
    if record.get("fingerprint") != dataset.fingerprint:
        return None
    try:
        # JSON knows lists alone.
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record["use"].items()
        }
        return DataUse(**values)
    except (KeyError, TypeError, AttributeError, DatasetError) as error:
        raise ModelError(
            f"the model's record of how it was trained on {dataset.source} is damaged ({error}); take the model from where "
            f"it was made"
        ) from error


def use_in_training(training: Mapping[str, Any], dataset: Dataset) -> DataUse | None:
    """Read how ``dataset`` was used from a model's training record, or from that of the model it started ``from``, and so on.

    None where no training of them was on this set; raises as :func:`use_in`.
    """
    record: Any = training
    while isinstance(record, Mapping):
        data = record.get("data")
        if isinstance(data, Mapping) and (use := use_in(data, dataset)) is not None:
            return use
        record = record.get("from")
    return None


def seen_among_tested(dataset: Dataset, trained: DataUse, tested: DataUse) -> int:
    """Count the frames of the whole ``dataset`` that one use tests on and another trained or validated on."""
    seen, split = np.zeros(len(dataset), dtype=bool), trained.split_of(dataset)
    seen[positions(trained, dataset)[np.concatenate([split.train, split.validation])]] = True
    test = tested.split_of(dataset).test
    return int(seen[positions(tested, dataset)[test]].sum())


def positions(use: DataUse, dataset: Dataset) -> NDArray[np.int64]:
    """Say where in ``dataset`` the frames stand that ``use.selected`` keeps, in its order: that of the file."""
    kept = np.ones(len(dataset), dtype=bool)
    if use.classes is not None:
        kept &= np.isin(dataset.labels, [dataset.classes.index(name) for name in use.classes])
    if use.snr_min_db is not None:
        kept &= dataset.snr_db >= use.snr_min_db
    if use.snr_max_db is not None:
        kept &= dataset.snr_db <= use.snr_max_db
    if use.snrs_db is not None:
        kept &= np.isin(dataset.snr_db, np.asarray(use.snrs_db, dtype=np.float32))
    return np.flatnonzero(kept)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
