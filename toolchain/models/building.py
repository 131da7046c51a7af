"""Building an untrained model by its name: a row of the zoo, or a function of the user's."""

from __future__ import annotations

import torch
from torch import nn

from toolchain.errors import ModelError
from toolchain.models.own import build_own, is_own
from toolchain.models.zoo import create_model


def build_model(
    name: str, classes: int | None = 11, length: int = 128, *, generator: torch.Generator | None = None
) -> nn.Module:
    """A row of the zoo, or ``package.module:factory``, for frames (2, ``length``) and ``classes`` modulations.

    With a ``generator`` the weights of the zoo's models are drawn from it alone; a user's own model draws its own, from
    torch's generator with the same seed. ``classes`` None is for a user's own model alone: as many as it has by itself.

    Raises ModelError for a name that is neither, and for a factory that fails.
    """
    if not is_own(name):
        if classes is None:
            raise ModelError(f'model "{name}": how many classes? Expected a whole number over 0')
        return create_model(name, classes, length, generator=generator)
    with torch.random.fork_rng(devices=[]):
        if generator is not None:
            torch.manual_seed(generator.initial_seed())
        return build_own(name, classes, length)
