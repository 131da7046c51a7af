"""How alike the outputs of a model's layers are, on real frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.errors import PlanError
from toolchain.models.modes import evaluating
from toolchain.pruning.units import Unit

Matrix = NDArray[np.float64]


def similarity_matrix(
    model: nn.Module, frames: NDArray[np.float32], units: Sequence[Unit], kind: str = "cka"
) -> Matrix:
    """Similarities of the outputs of ``units`` on ``frames`` (batch, 2, length): (n, n), symmetric, ones on the diagonal.

    Each output is reduced to its batch x batch Gram matrix as the model runs, so memory grows with the square of the
    batch and not with the layers' widths.

    Raises PlanError for a kind that is not in the table, and for fewer than two frames.
    """
    if kind not in SIMILARITIES:
        raise PlanError(f'similarity "{kind}" is not one of {", ".join(SIMILARITIES)}')
    if len(frames) < 2:
        raise PlanError(f"similarity needs at least 2 frames to compare, got {len(frames)}")
    return SIMILARITIES[kind](_centred_grams(model, frames, units))


def _centred_grams(model: nn.Module, frames: NDArray[np.float32], units: Sequence[Unit]) -> Tensor:
    """The Gram matrix of each unit's centred output: float32 (n, batch, batch)."""
    grams = torch.empty(len(units), len(frames), len(frames))

    def keep(index: int, output: Tensor) -> None:
        features = output.flatten(1)
        features = features - features.mean(dim=0)
        torch.mm(features, features.T, out=grams[index])

    hooks = [
        model.get_submodule(unit.name).register_forward_hook(lambda _module, _in, out, index=index: keep(index, out))
        for index, unit in enumerate(units)
    ]
    try:
        with evaluating(model):
            model(torch.from_numpy(frames))
    finally:
        for hook in hooks:
            hook.remove()
    return grams


def linear_cka(grams: Tensor) -> Matrix:
    """Linear centred kernel alignment of centred Gram matrices (n, batch, batch): <K, L> / (|K| |L|).

    Kornblith et al., "Similarity of neural network representations revisited" (2019), equation 4. A layer whose output
    does not vary has no direction; it is like itself alone.
    """
    flat = grams.flatten(1)
    norms = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    flat = flat / norms.clamp_min(torch.finfo(flat.dtype).tiny)
    matrix: Matrix = (flat @ flat.T).double().numpy().clip(0.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


SIMILARITIES: dict[str, Callable[[Tensor], Matrix]] = {"cka": linear_cka}
