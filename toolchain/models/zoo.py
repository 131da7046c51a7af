"""The table of architectures: a name for each, and how to build it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from deploy.suggestion import did_you_mean
from toolchain.errors import ModelError
from toolchain.models.resnet1d import ResNet1d

# name -> (classes, length) -> model
ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet1d20": lambda classes, _length: ResNet1d(3, classes),
    "resnet1d56": lambda classes, _length: ResNet1d(9, classes),
    "resnet1d110": lambda classes, _length: ResNet1d(18, classes),
}


def create_model(
    name: str, classes: int = 11, length: int = 128, *, generator: torch.Generator | None = None
) -> nn.Module:
    """An untrained model of the zoo, for frames (2, ``length``) and ``classes`` modulations.

    With a ``generator`` the weights are drawn from it alone, so equal seeds give equal models.

    Raises ModelError for a name that is not in the table.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f'model "{name}" is not one of {known}{did_you_mean(name, ARCHITECTURES)}')
    model = ARCHITECTURES[name](classes, length)
    if generator is not None:
        initialise(model, generator)
    return model


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew: convolutions by He et al. (2015), dense layers by Glorot and Bengio (2010), biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
