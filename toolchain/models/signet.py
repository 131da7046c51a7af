"""SigNet: a frame becomes a square matrix, which a ResNet-50 classifies."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.models.residual import ResidualUnit
from toolchain.models.scaling import UnitRms

# ResNet-50's stages: the width inside their units, and how many units.
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
EXPANSION = 4


class SigNet50(nn.Module):
    """Chen et al., "SigNet: a novel deep learning framework for radio signal classification", 2021.

    The matrix is as large as the frame is long, squared: the cost grows with the square of the length. ResNet-50 is that of
    He et al., "Deep residual learning", 2015, table 1.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.matrix = SlidingSquare()
        self.stem = nn.Sequential(
            nn.Conv2d(2, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.Sequential()
        width_in = 64
        for stage, (width, units) in enumerate(STAGES):
            made = nn.Sequential()
            for position in range(units):
                made.append(_unit(width_in, width, stride=2 if stage > 0 and position == 0 else 1))
                width_in = EXPANSION * width
            self.stages.append(made)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width_in, classes))

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        return cast(Tensor, self.head(self.stages(self.stem(self.matrix(self.scaling(iq))))))


class SlidingSquare(nn.Module):
    """The signal-to-matrix operator: ``X F Xᵀ``, where row t of X is the window of ``size`` samples around sample t.

    I and Q each have a trained ``size`` x ``size`` filter F; the frame is padded by zeros.
    """

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.size = size
        self.filter = nn.Parameter(torch.empty(2, size, size))
        self.initialise(None)

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the filters from a normal distribution, as the authors do."""
        nn.init.normal_(self.filter, generator=generator)

    def forward(self, iq: Tensor) -> Tensor:
        """(batch, 2, length) to (batch, 2, length, length)."""
        length = iq.shape[-1]
        padded = F.pad(iq, (self.size // 2, self.size // 2))
        windows = torch.stack([padded[..., start : start + length] for start in range(self.size)], dim=-1)
        return windows @ self.filter @ windows.transpose(2, 3)


def _unit(width_in: int, width: int, stride: int) -> ResidualUnit:
    width_out = EXPANSION * width
    branch = nn.Sequential(
        *_conv_norm(width_in, width, 1),
        nn.ReLU(),
        *_conv_norm(width, width, 3, stride),
        nn.ReLU(),
        *_conv_norm(width, width_out, 1),
    )
    if width_in == width_out and stride == 1:
        return ResidualUnit(branch, nn.Identity())
    return ResidualUnit(branch, nn.Sequential(*_conv_norm(width_in, width_out, 1, stride)))


def _conv_norm(width_in: int, width_out: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    # No bias: the BatchNorm that follows has one.
    conv = nn.Conv2d(width_in, width_out, kernel, stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(width_out)
