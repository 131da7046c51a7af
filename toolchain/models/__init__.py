"""The zoo, one family a file, and model files."""

from toolchain.models.building import build_model
from toolchain.models.files import ModelCard, load_card, load_model, load_weights, save_model
from toolchain.models.own import is_own
from toolchain.models.source import open_model
from toolchain.models.structure import Edit, edited
from toolchain.models.widths import Width, narrowed, widths_between
from toolchain.models.zoo import ARCHITECTURES, create_model

__all__ = [
    "ARCHITECTURES",
    "Edit",
    "ModelCard",
    "Width",
    "build_model",
    "create_model",
    "edited",
    "is_own",
    "load_card",
    "load_model",
    "load_weights",
    "narrowed",
    "open_model",
    "save_model",
    "widths_between",
]
