"""Two LSTM layers over amplitude and phase."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from toolchain.models.recurrent import LastState
from toolchain.models.scaling import UnitRms

WIDTH = 128


class Lstm2(nn.Module):
    """Two LSTM layers of 128 over each sample's amplitude and phase, and a dense layer on the last state.

    Rajendran et al., "Deep learning models for wireless signal classification with distributed low-cost spectrum sensors",
    2018. There the amplitude has an L2 norm of 1 over a frame, here an RMS of 1, which does not shrink as frames grow.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.polar = AmplitudePhase()
        self.recurrent = LastState("LSTM", 2, WIDTH, layers=2)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        polar = self.polar(self.scaling(iq))
        return cast(Tensor, self.head(self.recurrent(polar.transpose(1, 2))))


class AmplitudePhase(nn.Module):
    """I and Q to amplitude and phase, the phase in half turns: -1 to 1. The phase of nothing is 0."""

    def forward(self, iq: Tensor) -> Tensor:
        """(batch, 2, length) to the same shape."""
        i, q = iq.unbind(1)
        # Not atan2: ONNX has none, and the exporter's own way gives -pi where Q is 0 and I negative, as in clean BPSK.
        upright = i == 0
        angle = torch.atan(q / torch.where(upright, 1.0, i)) / math.pi
        turned = torch.where(q < 0, angle - 1.0, angle + 1.0)
        phase = torch.where(upright, 0.5 * torch.sign(q), torch.where(i < 0, turned, angle))
        return torch.stack((torch.sqrt(i * i + q * q), phase), dim=1)
