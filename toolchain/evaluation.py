"""How good a model is on a set: overall, by SNR, class by class, and as sensitivity in dB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deploy.accuracy import accuracy, accuracy_by_snr, confusion_matrix, sensitivity_db
from deploy.frames.dataset import Dataset
from deploy.interval import share_interval
from deploy.progress import Progress, silent
from toolchain.data import DataUse, Part, select, use_in_training
from toolchain.data.snr_text import snrs_in_words
from toolchain.errors import DatasetError
from toolchain.models import ModelCard
from toolchain.trained_model import in_the_models_order, require_length
from toolchain.training import predictions_of


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model answered on ``part`` of a set: "test", "validation", "train", "own test" (the file's) or "all".

    ``accuracy`` is a fraction; ``by_snr`` the same by SNR in dB, as text; ``confusion`` counts, rows the true class;
    ``sensitivity_db`` the SNR at which the accuracy crosses ``level``, None where it does not. ``taken`` says what the
    training took of the set, of which the part is one: "18 dB"; "" where it took all, or was on another set.
    """

    part: str
    frames: int
    classes: tuple[str, ...]
    accuracy: float
    by_snr: dict[str, float]
    confusion: NDArray[np.int64]
    sensitivity_db: float | None
    level: float
    taken: str = ""

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Where the accuracy on frames like these lies, by the number that were seen: low and high, 95 %."""
        return share_interval(self.accuracy, self.frames)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "part": self.part,
            "taken": self.taken,
            "frames": self.frames,
            "classes": list(self.classes),
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "accuracy_by_snr": self.by_snr,
            "confusion": self.confusion.tolist(),
            "sensitivity_db": self.sensitivity_db,
            "sensitivity_level": self.level,
        }


def evaluate_on(
    dataset: Dataset,
    use: DataUse,
    model: nn.Module,
    card: ModelCard,
    *,
    wanted: str | None = None,
    level: float = 0.6,
    progress: Progress = silent,
) -> Evaluation:
    """Judge ``model`` by frames of ``dataset`` that :func:`part_for` chooses, of the SNRs and classes of ``use``.

    Raises :class:`DatasetError` where the set and the model do not fit, or no frames are left.
    """
    part, name = part_for(dataset, use, card, wanted)
    if len(part) == 0:
        raise DatasetError(f"{dataset.source}: no frames are left to evaluate; widen the choice of SNRs or classes")
    predicted, labels = predictions_of(model, part, progress), part.labels
    by_snr = accuracy_by_snr(labels, predicted, part.snr_db)
    trained_on = use_in_training(card.training, dataset)
    return Evaluation(
        part=name,
        frames=len(part),
        classes=card.classes,
        accuracy=accuracy(labels, predicted),
        by_snr=by_snr,
        confusion=confusion_matrix(labels, predicted, len(card.classes)),
        sensitivity_db=sensitivity_db(by_snr, level),
        level=level,
        taken="" if trained_on is None or name == "all" else trained_on.in_words(dataset),
    )


def part_for(dataset: Dataset, use: DataUse, card: ModelCard, wanted: str | None) -> tuple[Part, str]:
    """Choose the frames of ``dataset`` to judge a model by, and name the choice; classes are numbered as the model's.

    On the very set that it was trained on (the card remembers which), that is the test split that training never saw;
    on another set it is the test part that its file keeps, or everything. ``wanted`` ("test", "validation", "train",
    "all") asks for one. Of these, the SNRs and classes of ``use`` are kept.
    Raises :class:`DatasetError` for classes that the model does not know, frames of another length, for a split of
    a set that the model was not trained on, and for SNRs and classes that the chosen frames have none of.
    """
    require_length(dataset, card)
    asked = use.selected(dataset)
    trained_on = use_in_training(card.training, dataset)
    if trained_on is None and wanted not in (None, "all"):
        raise DatasetError(
            f"{dataset.source}: its {wanted} split asked for, and it is not the set that the model was trained on (or the "
            f"model's file does not say which that was); expected that set, or --part all"
        )
    name = wanted or ("all" if trained_on is None else "test")
    if name != "all" and trained_on is not None:
        indices = getattr(trained_on.split_of(dataset), name)
        chosen = select(trained_on.selected(dataset), indices)
        _require_asked(asked, chosen, use, f"its {name} split", trained_on.in_words(dataset))
    elif wanted is None and dataset.own_test is not None and dataset.own_test.any():
        name, chosen = "own test", select(dataset, np.flatnonzero(dataset.own_test))
        _require_asked(asked, chosen, use, "its own test part", "")
    else:
        chosen = dataset
    dataset = in_the_models_order(use.selected(chosen), card)
    return Part(dataset, np.arange(len(dataset))), name


def _require_asked(asked: Dataset, chosen: Dataset, use: DataUse, what: str, taken: str) -> None:
    """Raise DatasetError where ``use`` names SNRs or classes that the set has and the ``chosen`` frames have not."""
    lacking = []
    snrs = np.setdiff1d(asked.snr_db, chosen.snr_db)
    if snrs.size and (use.snr_min_db, use.snr_max_db, use.snrs_db) != (None, None, None):
        lacking.append(f"at {snrs_in_words(snrs, asked.snr_db)}")
    has = {chosen.classes[label] for label in np.unique(chosen.labels)}
    classes = [asked.classes[label] for label in np.unique(asked.labels) if asked.classes[label] not in has]
    if classes and use.classes is not None:
        lacking.append(f"of {', '.join(classes)}")
    if lacking:
        why = f", for the training took {taken} alone" if taken else ""
        raise DatasetError(
            f"{asked.source}: {what} has no frames {' and none '.join(lacking)}{why}; leave these out, or take "
            "frames of the whole file with --part all"
        )
