"""2-D residual networks on IQ as an image of two rows: those of the paper whose method this is."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.models.residual import ResidualUnit
from toolchain.models.scaling import UnitRms

STAGE_WIDTHS = (16, 32, 64)


class ResNet2d(nn.Module):
    """He et al.'s CIFAR residual network with 3x3 convolutions over a (1, 2, length) image.

    Lu et al., "A generic layer pruning method for signal modulation recognition deep learning models", 2024. Three stages of
    ``units_per_stage`` residual units, 16, 32 and 64 wide, each stage after the first at half the size: 2 x length, 1 x
    length/2, 1 x length/4, rounded up. Depth = 6 x units_per_stage + 2. Shortcuts have no parameters.
    """

    def __init__(self, units_per_stage: int, classes: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.stem = nn.Sequential(_conv(1, STAGE_WIDTHS[0]), nn.BatchNorm2d(STAGE_WIDTHS[0]), nn.ReLU())
        stages, width_in = [], STAGE_WIDTHS[0]
        for width in STAGE_WIDTHS:
            units = []
            for _ in range(units_per_stage):
                units.append(_unit(width_in, width))
                width_in = width
            stages.append(nn.Sequential(*units))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(STAGE_WIDTHS[-1], classes))

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        image = self.scaling(iq).unsqueeze(1)
        return cast(Tensor, self.head(self.stages(self.stem(image))))


class PooledShortcut(nn.Module):
    """The shortcut without parameters: average-pool to half the size, then zeros for the ``added`` channels.

    He et al., "Deep residual learning", 2015, section 3.3, option A, with the mean in the place of every second value.
    """

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, channels + added, height/2, width/2), rounded up."""
        # Of one row there is nothing to average with: OpenVINO refuses a window that is larger than the image.
        window = (min(2, x.shape[2]), min(2, x.shape[3]))
        # Rounding up, as the branch's convolution of stride 2 does.
        return F.pad(F.avg_pool2d(x, window, ceil_mode=True), (0, 0, 0, 0, 0, self.added))

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f"added={self.added}"


def _unit(width_in: int, width_out: int) -> ResidualUnit:
    narrows = width_in != width_out
    branch = nn.Sequential(
        _conv(width_in, width_out, 2 if narrows else 1),
        nn.BatchNorm2d(width_out),
        nn.ReLU(),
        _conv(width_out, width_out),
        nn.BatchNorm2d(width_out),
    )
    return ResidualUnit(branch, PooledShortcut(width_out - width_in) if narrows else nn.Identity())


def _conv(width_in: int, width_out: int, stride: int = 1) -> nn.Conv2d:
    # No bias: the BatchNorm that follows has one.
    return nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)
