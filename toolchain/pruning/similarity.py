"""How alike the outputs of a model's units are, on real frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.dataflow import Dataflow, dataflow, follow
from toolchain.errors import PlanError
from toolchain.pruning.spans import find_spans
from toolchain.pruning.units import Unit

Matrix = NDArray[np.float64]


def similarity_matrix(
    model: nn.Module, frames: NDArray[np.float32], units: Sequence[Unit], kind: str = "cka"
) -> Matrix:
    """Similarities of the outputs of ``units`` on ``frames`` (batch, 2, length): (n, n), symmetric, ones on the diagonal.

    Each output is reduced to its batch x batch Gram matrix as the model runs, so memory grows with the square of the
    batch and not with the layers' widths.

    Raises PlanError for a kind that is not in the table, for fewer than two frames, and for units of another model.
    """
    if kind not in SIMILARITIES:
        raise PlanError(f'similarity "{kind}" is not one of {", ".join(SIMILARITIES)}')
    if len(frames) < 2:
        raise PlanError(f"similarity needs at least 2 frames to compare, got {len(frames)}")
    return SIMILARITIES[kind](_centred_grams(model, frames, units))


def _centred_grams(model: nn.Module, frames: NDArray[np.float32], units: Sequence[Unit]) -> Tensor:
    """The Gram matrix of each unit's centred output: float32 (n, batch, batch)."""
    flow = dataflow(model, torch.from_numpy(frames[:2]))
    grams = torch.empty(len(units), len(frames), len(frames))

    def keep(index: int, output: Tensor) -> None:
        features = output.flatten(1).float()
        features = features - features.mean(dim=0)
        torch.mm(features, features.T, out=grams[index])

    outputs = _outputs(model, flow, units)
    follow(
        model,
        torch.from_numpy(frames),
        flow,
        {value: lambda output, index=index: keep(index, output) for index, value in enumerate(outputs)},  # type: ignore[misc]
    )
    return grams


def _outputs(model: nn.Module, flow: Dataflow, units: Sequence[Unit]) -> list[int]:
    """The values that ``units`` put out."""
    spans = {span.name: span for span in find_spans(model, flow, getattr(model, "unit_names", None))}
    if not all(unit.name in spans for unit in units):
        # They were named by a glob.
        spans = {span.name: span for span in find_spans(model, flow, [unit.name for unit in units])}
    missing = [unit.name for unit in units if unit.name not in spans]
    if missing:
        raise PlanError(f"{', '.join(missing[:3])}: no units of this model; find its own with find_units")
    return [spans[unit.name].after for unit in units]


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
