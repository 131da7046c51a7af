"""The same small shape, trained from nothing: what pruning has to beat to be worth its while."""

from __future__ import annotations

import copy

import torch
from torch import nn

from toolchain.errors import PlanError
from toolchain.models.initialisation import initialise


def from_scratch(model: nn.Module, seed: int) -> nn.Module:
    """A new model of the shape of ``model``, with the weights of one that was never trained, drawn by ``seed``.

    Raises PlanError for a module of the user's own that does not say how its weights start.
    """
    fresh = copy.deepcopy(model)
    for module in fresh.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            # Scales of one, shifts of zero, and no statistics yet.
            module.reset_parameters()
    try:
        initialise(fresh, torch.Generator().manual_seed(seed))
    except TypeError as error:
        raise PlanError(f"{type(model).__name__} cannot start from scratch: {error}") from error
    return fresh
