"""How training starts: the weights of a new model, drawn from one generator alone."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class SelfInitialised(Protocol):
    """A module with parameters of its own, or with other needs for what is inside it."""

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw its own parameters from ``generator`` alone. What is inside it has been drawn before."""


# They start with ones and zeros.
_CONSTANT = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew: convolutions by He et al. (2015), dense layers by Glorot and Bengio (2010), biases zero.

    Attention's projections are dense layers. Of recurrent layers the input's weights are drawn as those of dense layers, the
    state's are orthogonal (Saxe et al., 2014), and the bias of an LSTM's forget gate is 1 (Jozefowicz et al., 2015).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            _zero(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            _zero(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight, generator=generator)
            _zero(module.in_proj_bias)
        elif isinstance(module, nn.LSTM | nn.GRU):
            _draw_recurrent(module, generator)
        elif isinstance(module, (SelfInitialised, *_CONSTANT)):
            pass
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no rule draws the weights of {type(module).__name__}; give it initialise(generator)")
    for module in model.modules():
        if isinstance(module, SelfInitialised):
            module.initialise(generator)


def _draw_recurrent(module: nn.LSTM | nn.GRU, generator: torch.Generator) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter, generator=generator)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter, generator=generator)
        else:
            nn.init.zeros_(parameter)
            # In one of the two biases, which are added. PyTorch's gates: input, forget, cell, output.
            if isinstance(module, nn.LSTM) and name.startswith("bias_ih"):
                nn.init.ones_(parameter[module.hidden_size : 2 * module.hidden_size])


def _zero(bias: Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)
