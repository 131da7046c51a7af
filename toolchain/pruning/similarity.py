"""How alike the outputs of a model's units are, on real frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.progress import Progress, silent
from toolchain.errors import PlanError
from toolchain.pruning.frames import as_frames, require_finite
from toolchain.pruning.outputs import watch_outputs
from toolchain.pruning.units import Unit

Matrix = NDArray[np.float64]


def similarity_matrix(
    model: nn.Module,
    frames: NDArray[np.float32],
    units: Sequence[Unit],
    kind: str = "cka",
    *,
    progress: Progress = silent,
) -> Matrix:
    """Similarities of the outputs of ``units`` on ``frames`` (batch, 2, length): (n, n), symmetric, ones on the diagonal.

    Each output is reduced to its batch x batch Gram matrix as the model runs, so memory grows with the square of the
    batch and not with the layers' widths.

    Raises PlanError for a kind that is not in the table, for fewer than two frames, and for units of another model.
    """
    if kind not in SIMILARITIES:
        raise PlanError(f'similarity "{kind}" is not one of {", ".join(SIMILARITIES)}')
    require_finite(model)
    frames = as_frames(frames)
    if len(frames) < 2:
        raise PlanError(f"similarity needs at least 2 frames to compare, got {len(frames)}")
    return SIMILARITIES[kind](_centred_grams(model, frames, units, progress))


def _centred_grams(model: nn.Module, frames: NDArray[np.float32], units: Sequence[Unit], progress: Progress) -> Tensor:
    """The Gram matrix of each unit's centred output: float32 (n, batch, batch)."""
    count = len(frames)
    grams = torch.full((len(units), count, count), torch.nan)

    def keep(index: int, output: Tensor) -> None:
        features = output.flatten(1)
        if features.is_complex():
            features = torch.view_as_real(features.resolve_conj()).flatten(1)
        features = features.float()
        features = features - features.mean(dim=0)
        grams[index] = features @ features.T
        if not grams[index].isfinite().all():
            raise PlanError(
                f"what {units[index].name} puts out is NaN, infinite or too large for float32 on these frames; take a model "
                "and frames with which it computes logits"
            )
        progress(index + 1, len(units), "comparing units")

    progress(0, len(units), "comparing units")
    watch_outputs(model, frames, units, keep)
    return grams


def linear_cka(grams: Tensor) -> Matrix:
    """Linear centred kernel alignment of centred Gram matrices (n, batch, batch): <K, L> / (|K| |L|).

    Kornblith et al., "Similarity of neural network representations revisited" (2019), equation 4. A layer whose output
    does not vary has no direction; it is like itself alone.
    """
    return _correlations(grams.flatten(1)).clip(0.0, 1.0)


def gram_cosine(grams: Tensor) -> Matrix:
    """The mean over frames of the cosine between a frame's row of one layer's Gram matrix and of another's.

    Rows are (batch,) whatever the layer's width, so that layers compare without padding.
    """
    rows = grams / torch.linalg.vector_norm(grams, dim=2, keepdim=True).clamp_min(torch.finfo(grams.dtype).tiny)
    return _with_ones(rows.flatten(1) @ rows.flatten(1).T / len(grams[0]))


def rsa(grams: Tensor) -> Matrix:
    """Representational similarity: the correlation of the distances between frames in one layer with those in another.

    Kriegeskorte et al., "Representational similarity analysis" (2008), with Euclidean distances, of each pair of frames
    once: Pearson's r over the upper triangles.
    """
    powers = grams.diagonal(dim1=1, dim2=2)
    squared = powers[:, :, None] + powers[:, None, :] - 2 * grams
    above = torch.triu_indices(len(grams[0]), len(grams[0]), offset=1)
    distances = squared[:, above[0], above[1]].clamp_min(0).sqrt()
    return _correlations(distances - distances.mean(dim=1, keepdim=True))


def _correlations(rows: Tensor) -> Matrix:
    """Cosines between the rows (n, d): (n, n)."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    rows = rows / norms.clamp_min(torch.finfo(rows.dtype).tiny)
    return _with_ones(rows @ rows.T)


def _with_ones(similarities: Tensor) -> Matrix:
    matrix: Matrix = similarities.double().numpy().clip(-1.0, 1.0)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1.0)
    return matrix


SIMILARITIES: dict[str, Callable[[Tensor], Matrix]] = {"cka": linear_cka, "cosine": gram_cosine, "rsa": rsa}
