"""What a model answers: its logits, the classes that it names, how many of them are right; nothing learns here."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.progress import Progress, silent
from toolchain.data.batches import Part, in_order
from toolchain.models.modes import evaluating

# Frames at once where no gradient is kept: the speed no longer grows past this.
EVALUATION_BATCH = 512


def logits_of(model: nn.Module, iq: NDArray[np.float32]) -> Tensor:
    """The model's logits (n, classes) on frames (n, 2, length), in evaluation mode; computed where it is, given on the CPU."""
    device = _device_of(model)
    with evaluating(model):
        starts = range(0, len(iq), EVALUATION_BATCH)
        return torch.cat([model(torch.from_numpy(iq[at : at + EVALUATION_BATCH]).to(device)) for at in starts]).cpu()


def predictions_of(model: nn.Module, part: Part, progress: Progress = silent) -> NDArray[np.int64]:
    """The class that ``model`` gives each frame of ``part``, int64 (n,); computed on the device where the model is."""
    device = _device_of(model)
    predicted = np.empty(len(part), dtype=np.int64)
    with evaluating(model):
        for batch in in_order(part, EVALUATION_BATCH):
            predicted[batch.position] = model(torch.from_numpy(batch.iq).to(device)).argmax(dim=1).cpu().numpy()
            progress(int(batch.position[-1]) + 1, len(part), "frames")
    return predicted


def accuracy_of(model: nn.Module, part: Part, progress: Progress = silent) -> float:
    """The fraction of the frames that ``model`` names rightly."""
    return float((predictions_of(model, part, progress) == part.labels).mean())


def _device_of(model: nn.Module) -> torch.device:
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
