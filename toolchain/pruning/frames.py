"""What pruning looks at, checked before any work: frames, and a model whose weights are numbers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from toolchain.errors import PlanError
from toolchain.models.zoo import MOST

# Samples of the longest frame that a plan is made for: that of the models.
LONGEST = MOST["length"]


def as_frames(frames: ArrayLike | Tensor) -> NDArray[np.float32]:
    """A copy of ``frames`` as float32 (batch, 2, length), so that no model can write into the caller's array.

    Raises PlanError for what has another shape, holds no real numbers, or NaN or infinity.
    """
    way_out = "give float32 (batch, 2, length): I in the first row, Q in the second"
    try:
        given = np.asarray(frames.detach().cpu() if isinstance(frames, Tensor) else frames)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PlanError(f"frames: {type(frames).__name__} cannot be read as an array ({error}); {way_out}") from error
    if given.dtype.kind not in "fiu":
        raise PlanError(f"frames: got {given.dtype}, expected real numbers; {way_out}")
    if given.ndim != 3 or given.shape[1] != 2 or not len(given) or not 1 <= given.shape[2] <= LONGEST:
        raise PlanError(f"frames: got shape {given.shape}, expected (1 or more, 2, 1 to {LONGEST}); {way_out}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite then, and told below
        copied: NDArray[np.float32] = np.array(given, dtype=np.float32, order="C")
    broken = len(copied) - int(np.isfinite(copied).all(axis=(1, 2)).sum())
    if broken:
        raise PlanError(
            f"{broken} of {len(copied)} frames hold NaN or infinity; expected finite samples: leave them out"
        )
    return copied


def require_finite(model: nn.Module) -> None:
    """Raise PlanError, which names the tensor, where ``model`` holds NaN or infinity; a buffer may hold a mask's -inf."""
    for name, parameter in model.named_parameters():
        if not is_lazy(parameter) and not torch.isfinite(parameter).all():
            _refuse(model, name)
    for name, buffer in model.named_buffers():
        if not is_lazy(buffer) and (torch.isnan(buffer) | torch.isposinf(buffer.real)).any():
            _refuse(model, name)


def _refuse(model: nn.Module, name: str) -> None:
    raise PlanError(
        f"{name} of {type(model).__name__} holds NaN or infinity; expected trained weights, all finite: the training that "
        "made them went wrong, take those of an earlier step"
    )
