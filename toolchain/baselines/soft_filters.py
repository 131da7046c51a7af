"""Soft filter pruning: after each epoch filters are set to nothing, and go on learning, until the end takes them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from toolchain.baselines.channels import PUT_OUT, Scope, filter_norms, going, graph_of
from toolchain.dataflow import checked_shape


def softly(frame_shape: Sequence[int], ratio: float, scope: Scope) -> Callable[[nn.Module], None]:
    """What to do with a model after each epoch, in place: filters of the least ``ratio`` of each layer's channels become 0.

    He et al., "Soft filter pruning for accelerating deep convolutional neural networks" (2018): by the L2 norm of the filters,
    of channels that are added by the mean. What BatchNorm makes of nothing stays, so that a filter can learn to come back. At
    the end :func:`toolchain.baselines.thinned`, by the same norm, takes those out that are nothing then, and with them that.
    """
    return partial(_silence_least, checked_shape(frame_shape), ratio, scope)


@torch.no_grad()
def _silence_least(shape: tuple[int, ...], ratio: float, scope: Scope, model: nn.Module) -> None:
    training = {module: module.training for module in model.modules()}
    try:
        graph = graph_of(model.eval(), shape)
        for group, channels in going(graph, model, filter_norms(model, 2), ratio, scope):
            taken = graph.get_pruning_group(group[0].dep.target.module, group[0].dep.handler, channels)
            for item in taken:
                layer = item.dep.target.module
                # Not BatchNorm's: with its scale at nothing no gradient would reach the filter.
                if item.dep.handler in PUT_OUT and not isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    (layer.weight.transpose(0, 1) if getattr(layer, "transposed", False) else layer.weight)[
                        item.idxs
                    ] = 0.0
                    if layer.bias is not None:
                        layer.bias[item.idxs] = 0.0
    finally:
        for module, was in training.items():
            module.training = was
