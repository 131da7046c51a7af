"""1-D residual networks on raw IQ: what a receiver deploys."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from toolchain.models.residual import ResidualUnit
from toolchain.models.scaling import UnitRms

STAGE_WIDTHS = (16, 32, 64)


class ResNet1d(nn.Module):
    """He et al.'s CIFAR residual network with 1-D convolutions over I and Q as two channels.

    Three stages of ``units_per_stage`` residual units, 16, 32 and 64 wide, each stage after the first at half the length;
    depth = 6 x units_per_stage + 2. Where the shape changes, the shortcut is a 1x1 convolution with BatchNorm.
    """

    def __init__(self, units_per_stage: int, classes: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.stem = nn.Sequential(_conv(2, STAGE_WIDTHS[0], 3), nn.BatchNorm1d(STAGE_WIDTHS[0]), nn.ReLU())
        stages, width_in = [], STAGE_WIDTHS[0]
        for stage, width in enumerate(STAGE_WIDTHS):
            units = []
            for position in range(units_per_stage):
                stride = 2 if stage > 0 and position == 0 else 1
                units.append(_unit(width_in, width, stride))
                width_in = width
            stages.append(nn.Sequential(*units))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(STAGE_WIDTHS[-1], classes))

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        return cast(Tensor, self.head(self.stages(self.stem(self.scaling(iq)))))


def _unit(width_in: int, width_out: int, stride: int) -> ResidualUnit:
    branch = nn.Sequential(
        _conv(width_in, width_out, 3, stride),
        nn.BatchNorm1d(width_out),
        nn.ReLU(),
        _conv(width_out, width_out, 3),
        nn.BatchNorm1d(width_out),
    )
    if stride == 1 and width_in == width_out:
        return ResidualUnit(branch, nn.Identity())
    return ResidualUnit(branch, nn.Sequential(_conv(width_in, width_out, 1, stride), nn.BatchNorm1d(width_out)))


def _conv(width_in: int, width_out: int, kernel: int, stride: int = 1) -> nn.Conv1d:
    # No bias: the BatchNorm that follows has one.
    return nn.Conv1d(width_in, width_out, kernel, stride, padding=kernel // 2, bias=False)
