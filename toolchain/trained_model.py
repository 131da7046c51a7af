"""A trained model and a set: opening both, which frames the model may learn from, classes numbered as the model's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data import DataUse, open_dataset, use_in_training, with_class_order
from toolchain.errors import DatasetError, ModelError
from toolchain.models import ARCHITECTURES, ModelCard, is_own, open_model


def model_and_set(
    text: str | None,
    file: Path,
    asked: DataUse,
    *,
    name: str | None = None,
    weights: Path | None = None,
    length: int | None = None,
    unknown_snr_db: float | None = None,
    progress: Progress = silent,
) -> tuple[nn.Module, ModelCard, Dataset]:
    """The trained model that ``text`` or ``name`` mean, its card, and the whole set in ``file``.

    A recording is cut into frames of ``length``, or of the model's; that other frames are as long as the model takes them is
    for :func:`require_length`. A model that no file describes has the classes that ``asked`` takes of the set, in its order.
    What is wrong with a file of a model is told before a large set is opened.

    Raises ModelError as :func:`toolchain.models.open_model` and for a name without weights, DatasetError for the set.
    """
    if not _is_name(text or name):
        model, card = open_model(text, name=name, weights=weights)
        dataset = open_dataset(
            file, length=length, recording_length=card.length, unknown_snr_db=unknown_snr_db, progress=progress
        )
        return model, card, dataset
    _require_weights(text or name, weights, "--weights")
    dataset = open_dataset(file, length=length, unknown_snr_db=unknown_snr_db, progress=progress)
    classes = asked.selected(dataset).classes
    return *open_model(text, name=name, weights=weights, classes=classes, length=dataset.length), dataset


def teacher_of(card: ModelCard, text: str, *, name: str | None = None, weights: Path | None = None) -> nn.Module:
    """The model ``text``, to teach the model of ``card``; ``weights`` are plain ones for a name.

    ``name`` beside a file lets the user's code that the file names run. Raises ModelError for what is no trained model,
    and where it answers with other classes or takes frames of another length: the answers are learnt number by number.
    """
    if _is_name(text):
        _require_weights(text, weights, "--teacher-weights")
        name = None
    teacher, its_card = open_model(text, name=name, weights=weights, classes=card.classes, length=card.length)
    if its_card.length != card.length:
        raise ModelError(
            f"--teacher {text}: takes frames of {its_card.length} samples, and the model {card.length}; expected the same"
        )
    if its_card.classes != card.classes:
        how = "in another order" if sorted(its_card.classes) == sorted(card.classes) else "others"
        raise ModelError(
            f"--teacher {text}: its classes are {how}, {', '.join(its_card.classes)}; the model's are "
            f"{', '.join(card.classes)}. Expected the same in the same order, as of the model that it was made from"
        )
    return teacher


def use_for_more_training(dataset: Dataset, card: ModelCard, asked: DataUse | None) -> DataUse | None:
    """How the model of ``card`` was trained on ``dataset``, else as ``asked``.

    Raises DatasetError where both are there and differ: frames that the model is tested by would be learnt.
    """
    remembered = use_in_training(card.training, dataset)
    if remembered is None or asked is None:
        return remembered or asked
    if replace(asked, seed=remembered.seed, fractions=remembered.fractions) != remembered:
        raise DatasetError(
            f'{dataset.source}: the model was trained on this set, by the split "{remembered.split}" (seed {remembered.seed}) '
            "and the choice of frames that its file remembers, and frames of its test split must stay unseen; leave out "
            "--classes, --snr-db and --split"
        )
    return remembered


def require_length(dataset: Dataset, card: ModelCard) -> None:
    """Raise DatasetError where frames are not as long as the model takes them."""
    if dataset.length != card.length:
        raise DatasetError(
            f"{dataset.source}: its frames have {dataset.length} samples, and the model takes {card.length}; expected the "
            "same length. Take a set like the one it was trained on"
        )


def in_the_models_order(dataset: Dataset, card: ModelCard) -> Dataset:
    """Number the classes of ``dataset`` as the model's; it may lack some of them.

    Raises DatasetError for classes that the model does not know.
    """
    unknown = [name for name in dataset.classes if name not in card.classes]
    if unknown:
        known = ",".join(name for name in card.classes if name in dataset.classes)
        raise DatasetError(
            f"{dataset.source}: has classes that the model does not know, {', '.join(unknown)}; it knows "
            f"{', '.join(card.classes)}. " + (f"Leave them out: --classes {known}" if known else "Take another set")
        )
    return with_class_order(dataset, card.classes, all_of_them=False)


def _is_name(text: str | None) -> bool:
    return text is not None and (text in ARCHITECTURES or is_own(text))


def _require_weights(text: str | None, weights: Path | None, option: str) -> None:
    # A factory of the user's may bring its weights itself.
    if weights is None and text in ARCHITECTURES and not Path(text).exists():
        raise ModelError(
            f"{text}: a name of the zoo is an untrained model; expected its weights with {option} FILE, or a file that "
            "thinwave wrote"
        )
