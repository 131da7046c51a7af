"""A Transformer encoder on IQ."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from toolchain.models.scaling import UnitRms

WIDTH = 64
LAYERS = 8
HEADS = 4
PATCH, STRIDE = 8, 4


class Transformer(nn.Module):
    """Vaswani et al., "Attention is all you need", 2017, its encoder with the normalisation before each part.

    Patches of 8 samples, a new one every 4, become tokens of 64 values (as in Dosovitskiy et al., "An image is worth 16x16
    words", 2020) with learned positions; 8 layers of 4 heads; the mean of the tokens is classified.
    """

    def __init__(self, classes: int, length: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.patches = nn.Conv1d(2, WIDTH, PATCH, STRIDE)
        self.positions = Positions((length - PATCH) // STRIDE + 1, WIDTH)
        # Without dropout: its masks would come from the global generator.
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation=nn.GELU(), batch_first=True, norm_first=True
                )
                for _ in range(LAYERS)
            )
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        tokens = self.patches(self.scaling(iq)).transpose(1, 2)
        encoded = self.norm(self.layers(self.positions(tokens)))
        return cast(Tensor, self.head(encoded.mean(dim=1)))


class Positions(nn.Module):
    """Adds a learned vector to each token, by its place."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(tokens, width))
        self.initialise(None)

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the vectors small beside the tokens."""
        nn.init.normal_(self.table, std=0.02, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        return tokens + self.table
