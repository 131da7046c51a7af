"""BatchNorm over frames that also takes a batch of one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FrameNorm(nn.BatchNorm1d):
    """BatchNorm of (batch, width) values; one frame alone is normalised by the running statistics, in training too.

    A single value has no variance, and PyTorch's own refuses it: a training set whose last batch holds one frame would
    end the run.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width) to the same."""
        if self.training and x.shape[0] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
