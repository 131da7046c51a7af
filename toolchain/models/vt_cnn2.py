"""O'Shea's first network, VT-CNN2: two convolutions and two dense layers."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from toolchain.models.scaling import UnitRms


class VtCnn2(nn.Module):
    """O'Shea, Corgan and Clancy, "Convolutional radio modulation recognition networks", 2016: the larger one, CNN2.

    Over a (1, 2, length) image: 256 filters of 1x3, 80 of 2x3, dense 256, with dropout 0.5 after each. AMR-Benchmark calls it
    CNN1, with other widths; its CNN2, and the zoo's, is Tekbiyik's.
    """

    def __init__(self, classes: int, length: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.scaling = UnitRms()
        # Padding 2 and kernels of 3: each convolution adds two samples.
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 256, (1, 3), padding=(0, 2)), nn.ReLU(), nn.Dropout(dropout)),
            nn.Sequential(nn.Conv2d(256, 80, (2, 3), padding=(0, 2)), nn.ReLU(), nn.Dropout(dropout)),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Sequential(nn.Linear(80 * (length + 4), 256), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(256, classes),
        )

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        image = self.scaling(iq).unsqueeze(1)
        return cast(Tensor, self.head(self.features(image)))
