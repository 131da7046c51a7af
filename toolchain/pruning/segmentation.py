"""Fisher's optimal segmentation: an ordered list of layers cut into blocks of layers that are alike.

Fisher, "On grouping for maximum homogeneity" (1958). With D(i, j) the scatter of items i..j about their mean, the least
total scatter of the first n items in k blocks obeys L(n, k) = min over j of L(j-1, k-1) + D(j, n).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import PlanError

Matrix = NDArray[np.float64]

# `auto` stops where one more block would lower the loss by less than this part of the one-block loss.
LEAST_GAIN = 0.05
# Relative differences below this are float64's, not the layers'.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Segmentation:
    """``boundaries``: the first index of each block, the first being 0; ``loss``: the total within-block scatter."""

    boundaries: tuple[int, ...]
    loss: float


def segment(signatures: Matrix, blocks: int) -> Segmentation:
    """The cut of ``signatures`` (n, d), one a layer in order, into ``blocks`` runs with the least total scatter.

    Raises PlanError unless 1 <= blocks <= n.
    """
    _require_blocks(blocks, len(signatures))
    return segmentations(signatures, blocks)[-1]


def segmentations(signatures: Matrix, most: int) -> list[Segmentation]:
    """The best cuts into 1, 2, ..., ``most`` blocks: one table holds them all."""
    n = len(signatures)
    _require_blocks(most, n)
    diameter = diameters(signatures)
    loss = np.full((most + 1, n + 1), np.inf)
    loss[0, 0] = 0.0
    # The argmin, kept as it is found: walking back by comparing losses afterwards gives cuts that are not optimal.
    last_start = np.zeros((most + 1, n + 1), dtype=np.int64)
    for k in range(1, most + 1):
        for end in range(k, n + 1):
            totals = loss[k - 1, k - 1 : end] + diameter[k - 1 : end, end - 1]
            best = int(np.argmin(totals))
            loss[k, end], last_start[k, end] = totals[best], best + k - 1

    def walk_back(k: int) -> Segmentation:
        boundaries, end = [], n
        for blocks_left in range(k, 0, -1):
            end = int(last_start[blocks_left, end])
            boundaries.append(end)
        return Segmentation(tuple(reversed(boundaries)), float(loss[k, n]))

    return [walk_back(k) for k in range(1, most + 1)]


def diameters(signatures: Matrix) -> Matrix:
    """D (n, n): D[i, j] is the scatter of signatures i..j (both in) about their mean, for i <= j; below that, 0."""
    n = len(signatures)
    # About the overall mean, so that the difference of the two large sums below loses no digits.
    centred = signatures - signatures.mean(axis=0)
    sums = np.vstack([np.zeros(centred.shape[1]), centred.cumsum(axis=0)])
    squares = np.concatenate([[0.0], (centred**2).sum(axis=1).cumsum()])
    out = np.zeros((n, n))
    for i in range(n):
        counts = np.arange(1, n - i + 1)
        totals = sums[i + 1 :] - sums[i]
        out[i, i:] = squares[i + 1 :] - squares[i] - (totals**2).sum(axis=1) / counts
    np.fill_diagonal(out, 0.0)
    # Equal signatures differ from their mean by rounding; that is no scatter.
    out[out < ROUNDING**2 * (signatures**2).sum()] = 0.0
    return out


def scatter_of(signatures: Matrix, boundaries: Sequence[int]) -> float:
    """The total within-block scatter of ``signatures`` (n, d) cut at ``boundaries``, the first index of each block.

    Raises PlanError for boundaries that are none: they start with 0 and rise, within the units.
    """
    ends = [*boundaries[1:], len(signatures)]
    if not boundaries or boundaries[0] != 0 or any(start >= end for start, end in zip(boundaries, ends, strict=True)):
        raise PlanError(f"boundaries = {list(boundaries)}: expected rising indices from 0, under {len(signatures)}")
    diameter = diameters(signatures)
    return float(sum(diameter[start, end - 1] for start, end in zip(boundaries, ends, strict=True)))


def choose_blocks(losses: list[float]) -> int:
    """``auto``: the smallest k after which one more block gains less than 5 % of the one-block loss; 1 if that is 0.

    ``losses[k - 1]`` is the least loss of k blocks.
    """
    least = LEAST_GAIN * losses[0]
    for k in range(1, len(losses)):
        if losses[k - 1] - losses[k] < least or losses[0] == 0.0:
            return k
    return len(losses)


def _require_blocks(blocks: int, n: int) -> None:
    if not 1 <= blocks <= n:
        raise PlanError(f"cannot cut {n} units into {blocks} blocks: expected a number from 1 to {n}")
