"""PET-CGDNN: a phase is estimated and turned back, then two convolutions and a GRU."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from toolchain.models.recurrent import LastState
from toolchain.models.scaling import UnitRms


class PetCgdnn(nn.Module):
    """One angle for the frame from a dense layer, I and Q turned back by it, two convolutions, a GRU.

    Zhang et al., "An efficient deep learning model for automatic modulation recognition based on parameter estimation and
    transformation", 2021: 75 filters over 8 samples of both, 25 over 5, a GRU of 128, a dense layer on its last state.
    """

    def __init__(self, classes: int, length: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.estimate = nn.Sequential(nn.Flatten(), nn.Linear(2 * length, 1))
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 75, (2, 8)), nn.ReLU()),
            nn.Sequential(nn.Conv2d(75, 25, (1, 5)), nn.ReLU()),
        )
        self.recurrent = LastState("GRU", 25, 128)
        self.head = nn.Linear(128, classes)

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        scaled = self.scaling(iq)
        angle = self.estimate(scaled)
        i, q = scaled.unbind(1)
        cos, sin = torch.cos(angle), torch.sin(angle)
        turned = torch.stack((i * cos + q * sin, q * cos - i * sin), dim=1)
        # (batch, 25, 1, length - 11)
        features = self.features(turned.unsqueeze(1)).squeeze(2)
        return cast(Tensor, self.head(self.recurrent(features.transpose(1, 2))))
