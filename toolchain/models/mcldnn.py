"""MCLDNN: I and Q together and apart, then recurrent layers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from toolchain.models.recurrent import LastState
from toolchain.models.scaling import UnitRms


class Mcldnn(nn.Module):
    """Xu et al., "A spatiotemporal multi-channel learning framework for automatic modulation recognition", 2020.

    50 filters over I and Q together, 50 over each alone, 50 over these two, 100 over all; two LSTM layers of 128; two dense
    layers of 128 with SELU and dropout 0.5.
    """

    def __init__(self, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.scaling = UnitRms()
        # Padded by hand to the size they had: kernels of 2 and 8 have no middle, and the odd sample goes behind.
        self.together = nn.Sequential(nn.ZeroPad2d((3, 4, 0, 1)), nn.Conv2d(1, 50, (2, 8)), nn.ReLU())
        self.only_i = nn.Sequential(nn.ConstantPad1d((7, 0), 0.0), nn.Conv1d(1, 50, 8), nn.ReLU())
        self.only_q = nn.Sequential(nn.ConstantPad1d((7, 0), 0.0), nn.Conv1d(1, 50, 8), nn.ReLU())
        self.apart = nn.Sequential(nn.ZeroPad2d((3, 4, 0, 0)), nn.Conv2d(50, 50, (1, 8)), nn.ReLU())
        self.all = nn.Sequential(nn.Conv2d(100, 100, (2, 5)), nn.ReLU())
        self.recurrent = LastState("LSTM", 100, 128, layers=2)
        self.head = nn.Sequential(
            nn.Sequential(nn.Linear(128, 128), nn.SELU(), nn.Dropout(dropout)),
            nn.Sequential(nn.Linear(128, 128), nn.SELU(), nn.Dropout(dropout)),
            nn.Linear(128, classes),
        )

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        scaled = self.scaling(iq)
        together = self.together(scaled.unsqueeze(1))
        apart = self.apart(torch.stack((self.only_i(scaled[:, :1]), self.only_q(scaled[:, 1:])), dim=2))
        # (batch, 100, 2, length) to (batch, 100, length - 4)
        features = self.all(torch.cat((together, apart), dim=1)).squeeze(2)
        return cast(Tensor, self.head(self.recurrent(features.transpose(1, 2))))
