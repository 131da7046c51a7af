"""The zoo, one family a file, and model files."""

from toolchain.models.files import ModelCard, load_card, load_model, load_weights, save_model
from toolchain.models.structure import without_units
from toolchain.models.zoo import ARCHITECTURES, create_model

__all__ = [
    "ARCHITECTURES",
    "ModelCard",
    "create_model",
    "load_card",
    "load_model",
    "load_weights",
    "save_model",
    "without_units",
]
