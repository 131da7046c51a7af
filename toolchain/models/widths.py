"""Modules narrower than their architecture makes them: all that loading a channel-pruned model needs to know of pruning.

A width is a plain value that travels in a model's file beside the edits, so that a model whose channels were pruned is built
again without the code that pruned them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolchain.errors import ModelError

# By their kind, the sizes of a module that its channels decide.
SIZES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.modules.conv._ConvNd: ("in_channels", "out_channels", "groups"),
    nn.Linear: ("in_features", "out_features"),
    nn.modules.batchnorm._BatchNorm: ("num_features",),
}


@dataclass(frozen=True)
class Width:
    """The sizes of the module at the path ``module``, in the order of :data:`SIZES`."""

    module: str
    sizes: tuple[int, ...]


def width_from_json(values: Mapping[str, Any]) -> Width:
    """A width from what ``dataclasses.asdict`` and JSON made of one; ValueError for what is none."""
    module, sizes = values["module"], values["sizes"]
    if not isinstance(module, str) or len(values) != 2 or not isinstance(sizes, list | tuple):
        raise ValueError(f"no width: {values}")
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"no width: {values}")
    return Width(module, tuple(sizes))


def widths_between(model: nn.Module, narrower: nn.Module) -> tuple[Width, ...]:
    """What makes ``narrower``, a copy of ``model`` of whose modules some have fewer channels.

    Raises ModelError where more than that is different.
    """
    found = []
    modules = dict(model.named_modules())
    for path, module in narrower.named_modules():
        sizes = _sizes(module)
        if sizes and sizes != _sizes(modules[path]):
            found.append(Width(path, sizes))
    widths = tuple(found)
    expected = {name: tuple(tensor.shape) for name, tensor in narrowed(model, widths).state_dict().items()}
    if other := [name for name, tensor in narrower.state_dict().items() if tuple(tensor.shape) != expected.get(name)]:
        raise ModelError(f"{other[0]} has another shape than the widths of its module say")
    return widths


def narrowed(model: nn.Module, widths: Iterable[Width]) -> nn.Module:
    """A new model of ``widths``, whose narrowed modules hold zeros: weights are filled in later; ``model`` stays as it was.

    Raises ModelError for a module that the model does not have, or that has no such sizes, or smaller ones.
    """
    narrower = copy.deepcopy(model)
    modules = dict(narrower.named_modules())
    for width in widths:
        module = modules.get(width.module)
        names = () if module is None else _names(module)
        if module is None or len(names) != len(width.sizes):
            raise ModelError(f'cannot narrow "{width.module}": the model has no module of that name and kind')
        # A file that was tampered with may ask for any memory.
        if any(size > was for size, was in zip(width.sizes, _sizes(module), strict=True)):
            raise ModelError(f'cannot narrow "{width.module}" to {width.sizes}: it has {_sizes(module)}')
        for name, size in zip(names, width.sizes, strict=True):
            setattr(module, name, size)
        for name, shape in _shapes(module, width.sizes).items():
            _reshape(module, name, shape)
    return narrower


def _names(module: nn.Module) -> tuple[str, ...]:
    return next((names for kind, names in SIZES.items() if isinstance(module, kind)), ())


def _sizes(module: nn.Module) -> tuple[int, ...]:
    return tuple(getattr(module, name) for name in _names(module))


def _shapes(module: nn.Module, sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The shapes of a module's own tensors, by name."""
    if isinstance(module, nn.modules.conv._ConvNd):
        inputs, outputs, groups = sizes
        first, second = (inputs, outputs // groups) if module.transposed else (outputs, inputs // groups)
        return {"weight": (first, second, *module.kernel_size), "bias": (outputs,)}
    if isinstance(module, nn.Linear):
        inputs, outputs = sizes
        return {"weight": (outputs, inputs), "bias": (outputs,)}
    return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (sizes[0],))


def _reshape(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    tensor: Tensor | None = getattr(module, name)
    if tensor is None:
        return
    zeros = torch.zeros(shape, dtype=tensor.dtype)
    if isinstance(tensor, nn.Parameter):
        setattr(module, name, nn.Parameter(zeros, requires_grad=tensor.requires_grad))
    else:
        setattr(module, name, zeros)
