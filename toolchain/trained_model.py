"""A trained model and a set: which of its frames the model may learn from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from deploy.frames.dataset import Dataset
from toolchain.data import DataUse, use_in
from toolchain.errors import DatasetError
from toolchain.models import ModelCard, open_model


def model_and_use(
    text: str | None, dataset: Dataset, asked: DataUse, *, name: str | None = None, weights: Path | None = None
) -> tuple[nn.Module, ModelCard, DataUse]:
    """The model that ``text`` or ``name`` mean, its card, and how ``dataset`` is used: as when it was trained, else as asked.

    Raises ModelError as :func:`toolchain.models.open_model`, DatasetError where the set and the model do not fit.
    """
    selected = asked.selected(dataset)
    model, card = open_model(text, name=name, weights=weights, classes=selected.classes, length=dataset.length)
    if dataset.length != card.length:
        raise DatasetError(
            f"{dataset.source}: its frames have {dataset.length} samples, and the model takes {card.length}; expected the "
            "same length"
        )
    return model, card, use_in(card.training.get("data", {}), dataset) or asked
