"""Soft filter pruning: after each epoch channels are set to nothing, and go on learning, until the end takes them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch_pruning as tp
from torch import nn

from toolchain.baselines.channels import Scope, pruner_of
from toolchain.dataflow import checked_shape


def softly(frame_shape: Sequence[int], ratio: float, scope: Scope) -> Callable[[nn.Module], None]:
    """What to do with a model after each epoch, in place: the least ``ratio`` of the channels of each layer put out nothing.

    He et al., "Soft filter pruning for accelerating deep convolutional neural networks" (2018): by the L2 norm of their
    weights. Channels that go together, because they are added, are set to nothing together, and so are BatchNorm's scale and
    shift, so that taking them out changes nothing: :func:`toolchain.baselines.channels.thinned` by the same norm takes those.
    """
    return partial(_silence_least, checked_shape(frame_shape), ratio, scope)


def _silence_least(shape: tuple[int, ...], ratio: float, scope: Scope, model: nn.Module) -> None:
    training = {module: module.training for module in model.modules()}
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    for group in pruner_of(model.eval(), shape, importance, ratio, scope).step(interactive=True):
        _silence(group)
    for module, was in training.items():
        module.training = was


@torch.no_grad()
def _silence(group: tp.Group) -> None:
    for dep, channels in group:
        layer = dep.target.module
        norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        if norm or dep.handler in (tp.prune_conv_out_channels, tp.prune_linear_out_channels):
            for tensor in (layer.weight, layer.bias):
                if tensor is not None:
                    tensor[channels] = 0.0
