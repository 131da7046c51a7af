"""Which models are of the same layers, and so take the same time whatever their weights."""

from __future__ import annotations

from dataclasses import asdict

from toolchain.models import ModelCard
from toolchain.run_folder import key_of


def shape_of(card: ModelCard) -> str:
    """A hash that is equal for models of the same layers with the same channels, on frames of the same length."""
    return key_of(
        architecture=card.architecture,
        classes=len(card.classes),
        length=card.length,
        edits=[asdict(edit) for edit in card.edits],
        widths=sorted((width.module, width.sizes) for width in card.widths),
    )
