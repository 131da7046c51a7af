"""Taking units out of a model: all that loading a pruned model needs to know of pruning.

A unit is taken out by edits, each of which puts a simpler module in the place of one. They are plain values that travel in
a model's file, so that a pruned model is built again without the code that pruned it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from toolchain.errors import ModelError

Stand = Literal["identity", "zero", "zeros", "pair", "gone"]

# In a chain: a ReLU that the forward of the module has as a function.
RELU = "relu()"


@dataclass(frozen=True)
class Edit:
    """What becomes of the module at the path ``module``.

    ``becomes``: "identity" passes its input on; "zero" gives the number 0, to which a skip is added elsewhere; "zeros" gives
    zeros of its input's shape, for a sum in place; "pair" gives these and None, for what gives a second value that nobody
    reads (attention its weights, a recurrent layer its state); "gone" leaves the ModuleList that it is an element of; a
    tuple names children that stay and are run one after another, where "relu()" is a ReLU.
    """

    module: str
    becomes: Stand | tuple[str, ...] = "identity"


def edit_from_json(values: Mapping[str, Any]) -> Edit:
    """An edit from what ``dataclasses.asdict`` and JSON made of one; ValueError for what is none."""
    module, becomes = values["module"], values["becomes"]
    if not isinstance(module, str) or len(values) != 2:
        raise ValueError(f"no edit: {values}")
    if isinstance(becomes, list | tuple) and all(isinstance(name, str) for name in becomes):
        return Edit(module, tuple(becomes))
    if becomes not in get_args(Stand):
        raise ValueError(f"no edit: {values}")
    return Edit(module, becomes)


class Passing(nn.Identity):
    """An identity for its first tensor: what a dropped unit leaves, whatever else it is called with."""

    def forward(self, *arguments: object, **keywords: object) -> Tensor:
        """Any tensor to itself."""
        return _first_tensor(arguments, keywords)


def _first_tensor(arguments: Sequence[object], keywords: Mapping[str, object]) -> Tensor:
    return next(value for value in (*arguments, *keywords.values()) if isinstance(value, Tensor))


class Remaining(nn.ModuleList):
    """A ModuleList that some elements have left; the others keep the names that they had, and are counted anew."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

    def __getitem__(self, index: Any) -> Any:
        """The element at ``index`` among those that are left, or a list of those of a slice."""
        return list(self._modules.values())[index]


class Zero(nn.Module):
    """The number 0, whatever comes in: what a branch leaves whose sum with the skip stands elsewhere."""

    def forward(self, *arguments: object, **keywords: object) -> Tensor:
        """Any tensor to one of no dimensions, which adds to any other."""
        return _first_tensor(arguments, keywords).new_zeros(())


class Zeros(nn.Module):
    """Zeros of the input's shape: as :class:`Zero`, where the sum is made in place."""

    def forward(self, *arguments: object, **keywords: object) -> Tensor:
        """Any tensor to zeros of its shape."""
        return torch.zeros_like(_first_tensor(arguments, keywords))


class Pair(nn.Module):
    """Zeros of the first input's shape, and None: as :class:`Zeros`, for what is called and answers like attention."""

    def forward(self, *arguments: object, **keywords: object) -> tuple[Tensor, None]:
        """Any tensor to zeros of its shape."""
        return torch.zeros_like(_first_tensor(arguments, keywords)), None


def edited(model: nn.Module, edits: Iterable[Edit]) -> nn.Module:
    """A new model after ``edits``; what stays keeps its names and weights, and ``model`` is left as it was.

    Raises ModelError for a module that the model does not have.
    """
    thinner = copy.deepcopy(model)
    modules = dict(thinner.named_modules())
    for edit in edits:
        module = modules.get(edit.module)
        if module is None or not edit.module:
            raise ModelError(f'cannot take out "{edit.module}": the model has no module of that name')
        if edit.becomes == "gone":
            _leave_list(thinner, edit.module)
        else:
            thinner.set_submodule(edit.module, _replacement(edit, module))
    return thinner


def _leave_list(model: nn.Module, path: str) -> None:
    place, _, name = path.rpartition(".")
    elements = model.get_submodule(place)
    if not isinstance(elements, nn.ModuleList):
        raise ModelError(f'cannot take out "{path}": it is no element of a ModuleList')
    left = {key: module for key, module in elements.named_children() if key != name}
    model.set_submodule(place, Remaining(left))


def _replacement(edit: Edit, module: nn.Module) -> nn.Module:
    if isinstance(edit.becomes, tuple):
        children = dict(module.named_children())
        missing = [name for name in edit.becomes if name not in children and name != RELU]
        if missing:
            raise ModelError(f'cannot reduce "{edit.module}": it has no part {", ".join(missing)}')
        stay = [("activation", nn.ReLU()) if name == RELU else (name, children[name]) for name in edit.becomes]
        return nn.Sequential(OrderedDict(stay))
    return {"identity": Passing, "zero": Zero, "zeros": Zeros, "pair": Pair}[edit.becomes]()
