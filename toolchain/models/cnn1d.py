"""The residual 1-D CNN of O'Shea, Roy and Clancy, as Lu et al. prune it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from toolchain.models.residual import ResidualUnit
from toolchain.models.scaling import UnitRms

WIDTH = 32
STACKS = 6


class Cnn1d(nn.Module):
    """O'Shea, Roy and Clancy, "Over-the-air deep learning based radio signal classification", 2018, table IV.

    Six residual stacks, 32 wide, each a linear 1x1 convolution, two residual units and a max pooling by 2, without
    BatchNorm. In the form that Lu et al. publish as CNN1D: the first stack sees (1, 2, length) images and ends with
    (32, length/2) sequences; one linear dense layer of 128 with dropout 0.3 stands for the two with SELU.
    """

    def __init__(self, classes: int, length: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.scaling = UnitRms()
        self.image_stack = nn.Sequential(
            # Linear: without the unit after it, the ReLU that ends that unit is gone too.
            nn.Conv2d(1, WIDTH, 1, bias=False),
            _image_unit(),
            _image_unit(),
            nn.MaxPool2d(2),
            nn.Flatten(2),
        )
        self.stacks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 1, bias=False), _unit(), _unit(), nn.MaxPool1d(2))
                for _ in range(STACKS - 1)
            )
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(WIDTH * (length // 2**STACKS), 128), nn.Dropout(dropout), nn.Linear(128, classes)
        )

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length), any scale, to logits (batch, classes)."""
        image = self.scaling(iq).unsqueeze(1)
        return cast(Tensor, self.head(self.stacks(self.image_stack(image))))


class Branch(nn.Sequential):
    """A residual branch without BatchNorm, which starts weak."""

    def initialise(self, _generator: torch.Generator | None) -> None:
        """Scale what it adds by 1/sqrt(units), as Radford et al., "Language models are unsupervised …", 2019, section 2.3.

        Else the values would grow about twofold in each of the twelve units.
        """
        last = cast(Tensor, self[-1].weight)
        with torch.no_grad():
            last.mul_((2 * STACKS) ** -0.5)


def _image_unit() -> ResidualUnit:
    # Two rows become three, and two again.
    branch = Branch(
        nn.Conv2d(WIDTH, WIDTH, (2, 3), padding=(1, 1), bias=False),
        nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, (2, 3), padding=(0, 1), bias=False),
    )
    return ResidualUnit(branch, nn.Identity())


def _unit() -> ResidualUnit:
    branch = Branch(
        nn.Conv1d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 3, padding=1, bias=False)
    )
    return ResidualUnit(branch, nn.Identity())
