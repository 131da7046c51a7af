"""What a model costs: parameters, multiply-accumulates, activations.

The convention: the products of convolutions and dense layers count, one multiply-accumulate (MAC) each; additions of
biases, BatchNorm, activations and pooling do not. 1 MAC = 2 FLOPs. Parameters that were not counted into MACs because
their layer is of an unknown kind are listed, never silently zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolchain.models.modes import evaluating

# Layers whose arithmetic the convention leaves out.
_FREE = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


@dataclass(frozen=True)
class LayerCost:
    """One layer's share: its module path, parameters, MACs of one frame, and the values that it puts out."""

    name: str
    params: int
    macs: int
    activations: int


@dataclass(frozen=True)
class Cost:
    """The cost of one frame, in sum and by layer; ``uncounted`` names layers whose MACs are unknown."""

    layers: tuple[LayerCost, ...]
    uncounted: tuple[str, ...]

    @property
    def params(self) -> int:
        """Trained numbers: weights, biases, and BatchNorm's scale and shift."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations of one frame: 1 MAC = 2 FLOPs."""
        return 2 * self.macs

    def within(self, name: str) -> Cost:
        """The part of the module ``name`` and all inside it."""
        inside = tuple(layer for layer in self.layers if layer.name == name or layer.name.startswith(f"{name}."))
        return Cost(inside, tuple(path for path in self.uncounted if path == name or path.startswith(f"{name}.")))


def cost(model: nn.Module, frame_shape: Sequence[int]) -> Cost:
    """Count by running ``model`` on one frame of ``frame_shape``, (2, length)."""
    layers: list[LayerCost] = []
    uncounted: list[str] = []

    def count(name: str, module: nn.Module, output: Tensor) -> None:
        params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        macs = 0
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            macs = output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs = output.numel() * module.in_features
        elif params and not isinstance(module, _FREE):
            uncounted.append(name)
        if params:
            layers.append(LayerCost(name, params, macs, output.numel()))

    hooks = [
        module.register_forward_hook(lambda module, _inputs, output, name=name: count(name, module, output))
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    try:
        with evaluating(model):
            model(torch.zeros(1, *frame_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(tuple(layers), tuple(uncounted))
