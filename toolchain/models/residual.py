"""The residual unit: what a ResNet is a chain of, and the piece that layer pruning keeps or drops."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class ResidualUnit(nn.Module):
    """``activation(branch(x) + shortcut(x))`` (He et al., "Deep residual learning", 2015, figure 2).

    With an identity for a shortcut, dropping the unit leaves the identity: its input has passed a ReLU already, so the
    activation after the sum would change nothing.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) to the shape that both branch and shortcut give."""
        return cast(Tensor, self.activation(self.branch(x) + self.shortcut(x)))
