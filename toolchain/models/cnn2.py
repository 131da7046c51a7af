"""CNN2, as AMR-Benchmark calls it: four convolutions, each with a pooling, and two dense layers."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from toolchain.models.scaling import UnitRms

WIDTHS = (256, 128, 64, 64)


class Cnn2(nn.Module):
    """Tekbiyik et al., "Robust and fast automatic modulation classification with CNN under multipath fading channels", 2020.

    Over a (1, 2, length) image, in the sizes of AMR-Benchmark: 256, 128, 64 and 64 filters of 2x8, each followed by a max
    pooling by 2 along time and dropout 0.5; dense 128.
    """

    def __init__(self, classes: int, length: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.features = nn.Sequential()
        width_in = 1
        for width in WIDTHS:
            # Padded by hand to the size they had: kernels of 2 and 8 have no middle, and the odd sample goes behind.
            conv = nn.Sequential(nn.ZeroPad2d((3, 4, 0, 1)), nn.Conv2d(width_in, width, (2, 8)), nn.ReLU())
            self.features.extend((conv, nn.MaxPool2d((1, 2)), nn.Dropout(dropout)))
            width_in = width
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Sequential(nn.Linear(width_in * 2 * (length // 2 ** len(WIDTHS)), 128), nn.ReLU()),
            nn.Linear(128, classes),
        )

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        image = self.scaling(iq).unsqueeze(1)
        return cast(Tensor, self.head(self.features(image)))
