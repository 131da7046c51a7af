"""Input scaling: every frame to unit RMS, inside the model and so inside the exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The mean square of a frame of 1e-10 amplitude: below it a frame counts as silence and stays what it is.
SILENCE = 1e-20


class UnitRms(nn.Module):
    """Scale each frame so that the mean of I² + Q² over its samples is 1.

    Published files are scaled to sum(abs) = 1, radios give integers; a receiver must not care. It has no parameters and is
    never quantised. A silent frame stays zero.
    """

    def forward(self, iq: Tensor) -> Tensor:
        """``iq`` float32 (batch, 2, length) to the same shape at unit RMS."""
        power = 2.0 * iq.square().mean(dim=(1, 2), keepdim=True)
        return iq * torch.rsqrt(power.clamp_min(SILENCE))
