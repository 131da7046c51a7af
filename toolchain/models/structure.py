"""Taking units out of a model: all that loading a pruned model needs to know of pruning."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from torch import nn

from toolchain.errors import ModelError
from toolchain.models.residual import ResidualUnit


def without_units(model: nn.Module, names: Iterable[str]) -> nn.Module:
    """A new model in which the named units are gone: an identity, or the unit's shortcut where it changes the shape.

    The kept units keep their names and weights; ``model`` is left as it was.

    Raises ModelError for a name that is no unit of the model.
    """
    thinner = copy.deepcopy(model)
    modules = dict(thinner.named_modules())
    for name in names:
        unit = modules.get(name)
        if not isinstance(unit, ResidualUnit):
            found = "nothing" if unit is None else type(unit).__name__
            raise ModelError(f'cannot drop "{name}": expected a residual unit of that name in the model, found {found}')
        thinner.set_submodule(name, unit.without_branch())
    return thinner
