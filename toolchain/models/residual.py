"""The residual unit: what a ResNet is a chain of, and the piece that layer pruning keeps or drops."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class ResidualUnit(nn.Module):
    """``activation(branch(x) + shortcut(x))`` (He et al., "Deep residual learning", 2015, figure 2).

    The sum is inside the module, so that a unit is the module and its skip cannot be missed.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, length) to the shape that both branch and shortcut give."""
        return cast(Tensor, self.activation(self.branch(x) + self.shortcut(x)))

    def without_branch(self) -> nn.Module:
        """What stays when the unit is dropped; it shares this unit's parameters.

        With an identity shortcut that is the identity: the unit's input has passed a ReLU already, so the activation
        after the sum would change nothing.
        """
        if isinstance(self.shortcut, nn.Identity):
            return nn.Identity()
        return ShortcutUnit(self.shortcut, self.activation)


class ShortcutUnit(nn.Module):
    """A reduced residual unit: ``activation(shortcut(x))``, its parameters under the names they had in the whole unit."""

    def __init__(self, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """As :meth:`ResidualUnit.forward`, with a branch that gives zero."""
        return cast(Tensor, self.activation(self.shortcut(x)))
