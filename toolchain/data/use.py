"""Which frames of a set are used, and for what: the record that a model file keeps, and that finds its test frames again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploy.frames.dataset import Dataset
from toolchain.data.selecting import select_classes, select_snr, select_snrs
from toolchain.data.snr_text import SnrChoice, snr_choice
from toolchain.data.split_conventions import CONVENTIONS, split_by
from toolchain.data.splits import Split
from toolchain.errors import DatasetError


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

    def selected(self, dataset: Dataset) -> Dataset:
        """Take the frames of these SNRs and classes; raises DatasetError where none is left."""
        if self.classes is not None:
            dataset = select_classes(dataset, self.classes)
        if self.snr_min_db is not None or self.snr_max_db is not None:
            low_db = float("-inf") if self.snr_min_db is None else self.snr_min_db
            high_db = float("inf") if self.snr_max_db is None else self.snr_max_db
            dataset = select_snr(dataset, low_db, high_db)
        return dataset if self.snrs_db is None else select_snrs(dataset, self.snrs_db)

    def split_of(self, selected: Dataset) -> Split:
        """Split what :meth:`selected` gave; raises DatasetError where a cell is too small."""
        return split_by(self.split, selected, fractions=self.fractions, seed=self.seed)


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
    """Read from a model's card how ``dataset`` was used to make it; None where it was another set, or nobody knows."""
    try:
        if record["fingerprint"] != dataset.fingerprint:
            return None
        values = dict(record["use"])
        # JSON knows lists alone.
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return DataUse(**values)
    except (KeyError, TypeError, ValueError):
        return None
