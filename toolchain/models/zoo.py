"""The table of architectures: a name for each, and how to build it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import nn

from deploy.suggestion import did_you_mean
from toolchain.errors import ModelError
from toolchain.models.cnn1d import Cnn1d
from toolchain.models.cnn2 import Cnn2
from toolchain.models.initialisation import initialise
from toolchain.models.lstm2 import Lstm2
from toolchain.models.mcldnn import Mcldnn
from toolchain.models.pet_cgdnn import PetCgdnn
from toolchain.models.resnet1d import ResNet1d
from toolchain.models.resnet2d import ResNet2d
from toolchain.models.signet import SigNet50
from toolchain.models.transformer import Transformer
from toolchain.models.vgg import Vgg1d16, Vgg16
from toolchain.models.vt_cnn2 import VtCnn2

# Beyond all sets of frames there are, and small enough that most models fit into memory.
MOST = {"classes": 10_000, "length": 1 << 20}


@dataclass(frozen=True)
class Architecture:
    """How to build a model for so many classes and samples, and the fewest samples that it can be trained on."""

    build: Callable[[int, int], nn.Module]
    least_length: int = 1


ARCHITECTURES: dict[str, Architecture] = {
    "resnet1d20": Architecture(lambda classes, _length: ResNet1d(3, classes), least_length=5),
    "resnet1d56": Architecture(lambda classes, _length: ResNet1d(9, classes), least_length=5),
    "resnet1d110": Architecture(lambda classes, _length: ResNet1d(18, classes), least_length=5),
    "resnet56": Architecture(lambda classes, _length: ResNet2d(9, classes), least_length=5),
    "resnet110": Architecture(lambda classes, _length: ResNet2d(18, classes), least_length=5),
    "vgg16": Architecture(Vgg16),
    "vgg1d16": Architecture(Vgg1d16, least_length=16),
    "transformer": Architecture(Transformer, least_length=8),
    "cnn1d": Architecture(Cnn1d, least_length=64),
    "vt-cnn2": Architecture(VtCnn2),
    "cnn2": Architecture(Cnn2, least_length=16),
    "mcldnn": Architecture(lambda classes, _length: Mcldnn(classes), least_length=5),
    "pet-cgdnn": Architecture(PetCgdnn, least_length=12),
    "lstm2": Architecture(lambda classes, _length: Lstm2(classes)),
    "signet50": Architecture(lambda classes, _length: SigNet50(classes), least_length=33),
}


def create_model(
    name: str, classes: int = 11, length: int = 128, *, generator: torch.Generator | None = None
) -> nn.Module:
    """An untrained model of the zoo, for frames (2, ``length``) and ``classes`` modulations.

    With a ``generator`` the weights are drawn from it alone, so equal seeds give equal models.

    Raises ModelError for a name that is not in the table, for numbers that are not whole, not over 0 or too large, for a
    length that is too short for the model, and for a model that does not fit into memory.
    """
    if not isinstance(name, str) or name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(
            f'model "{name}" is not one of {known}, nor package.module:factory{did_you_mean(str(name), ARCHITECTURES)}'
        )
    classes, least = positive("classes", classes), ARCHITECTURES[name].least_length
    if not isinstance(length, Integral) or isinstance(length, bool):
        raise ModelError(f"length = {length!r}: expected a whole number of samples")
    if length < least:
        raise ModelError(
            f'model "{name}" cannot take frames of {length} samples: it needs at least {least}; '
            "use longer frames or another model"
        )
    try:
        model = ARCHITECTURES[name].build(classes, positive("length", length))
    except RuntimeError as error:
        # torch has no error of its own for this.
        if "can't allocate memory" not in str(error):
            raise
        raise ModelError(
            f'model "{name}" for frames of {length} samples and {classes} classes does not fit into memory; expected fewer, '
            "or another model"
        ) from error
    if generator is not None:
        initialise(model, generator)
    return model


def positive(what: str, value: object) -> int:
    """``value``, the number of ``what``, as Python's own int; ModelError unless it is whole, over 0, and in reason."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{what} = {value!r}: expected a whole number over 0")
    if (number := int(value)) > MOST[what]:
        raise ModelError(f"{what} = {number}: expected at most {MOST[what]:,}")
    return number
