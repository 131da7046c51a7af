"""VGG networks on IQ: a plain chain of Conv-BatchNorm-ReLU, as an image of two rows or along time."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from toolchain.models.normalisation import FrameNorm
from toolchain.models.scaling import UnitRms

# The widths of the convolutions, stage by stage; each stage ends in a max pooling by 2.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
DENSE_WIDTHS = (256, 128)


class Vgg16(nn.Module):
    """VGG-16 with 3x3 convolutions over a (1, 2, length) image.

    Lu et al., "A generic layer pruning method for signal modulation recognition deep learning models", 2024, after Simonyan
    and Zisserman, 2014: ten convolutions, padding 3 in the first two stages, which lets an image of two rows live through
    four poolings, and 1 after; then dense layers 256 and 128 wide.
    """

    def __init__(self, classes: int, length: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.features = nn.Sequential()
        width_in = 1
        for widths, padding in zip(STAGES, (3, 3, 1, 1), strict=True):
            for width in widths:
                conv = nn.Conv2d(width_in, width, 3, padding=padding)
                self.features.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()))
                width_in = width
            self.features.append(nn.MaxPool2d(2))
        # Two rows leave the last pooling as one: ((2 + 8) / 2 + 8) / 2 / 2 / 2, rounded down.
        columns = (((length + 8) // 2 + 8) // 2) // 4
        self.head = _head(width_in * columns, classes)

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        image = self.scaling(iq).unsqueeze(1)
        return cast(Tensor, self.head(self.features(image)))


class Vgg1d16(nn.Module):
    """The same along time: I and Q as two channels, kernels of 3 samples, padding 1."""

    def __init__(self, classes: int, length: int) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.features = nn.Sequential()
        width_in = 2
        for widths in STAGES:
            for width in widths:
                conv = nn.Conv1d(width_in, width, 3, padding=1)
                self.features.append(nn.Sequential(conv, nn.BatchNorm1d(width), nn.ReLU()))
                width_in = width
            self.features.append(nn.MaxPool1d(2))
        self.head = _head(width_in * (length // 2 ** len(STAGES)), classes)

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        return cast(Tensor, self.head(self.features(self.scaling(iq))))


def _head(features: int, classes: int) -> nn.Sequential:
    head, width_in = nn.Sequential(nn.Flatten()), features
    for width in DENSE_WIDTHS:
        head.append(nn.Sequential(nn.Linear(width_in, width), FrameNorm(width), nn.ReLU()))
        width_in = width
    return head.append(nn.Linear(width_in, classes))
