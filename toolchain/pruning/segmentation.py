"""Fisher's optimal segmentation: an ordered list of layers cut into blocks of layers that are alike.

Fisher, "On grouping for maximum homogeneity" (1958). With D(i, j) the scatter of items i..j about their mean, the least
total scatter of the first n items in k blocks obeys L(n, k) = min over j of L(j-1, k-1) + D(j, n).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist, squareform

from toolchain.errors import PlanError
from toolchain.pruning.budget import whole_number

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]

# `auto` stops where one more block would lower the loss by less than this part of the one-block loss.
LEAST_GAIN = 0.05
# The sum of squares of so large numbers, a million of millions, is still a float64.
LARGEST = 1e140


@dataclass(frozen=True)
class Segmentation:
    """``boundaries``: the first index of each block, the first being 0; ``loss``: the total within-block scatter."""

    boundaries: tuple[int, ...]
    loss: float


def segment(signatures: ArrayLike, blocks: int) -> Segmentation:
    """The cut of ``signatures`` (n, d), one a layer in order, into ``blocks`` runs with the least total scatter.

    Raises PlanError unless 1 <= blocks <= n, and for signatures that are no such finite numbers.
    """
    return segmentations(signatures, blocks)[-1]


def segmentations(signatures: ArrayLike, most: int) -> list[Segmentation]:
    """The best cuts into 1, 2, ..., ``most`` blocks: one table holds them all."""
    loss, last_start = fisher_table(signatures, most)
    n = loss.shape[1] - 1

    def walk_back(k: int) -> Segmentation:
        boundaries, end = [], n
        for blocks_left in range(k, 0, -1):
            end = int(last_start[blocks_left, end])
            boundaries.append(end)
        return Segmentation(tuple(reversed(boundaries)), float(loss[k, n]))

    return [walk_back(k) for k in range(1, len(loss))]


def fisher_table(signatures: ArrayLike, blocks: int) -> tuple[Matrix, Indices]:
    """L and where the last block starts, both (blocks + 1, n + 1).

    L[k, m] is the least scatter of the first m ``signatures`` (n, d) in k blocks, infinite for m < k; of equal ones the
    earliest start counts. Raises as :func:`segment`.
    """
    scatter = diameters(signatures)
    n = len(scatter)
    blocks = require_blocks(blocks, n)
    # By (end, start), so that the rows in which the least is looked for lie in one piece.
    of_last = np.where(np.tri(n, dtype=bool), scatter.T, np.inf)
    loss = np.full((blocks + 1, n + 1), np.inf)
    loss[0, 0] = 0.0
    # The argmin, kept as it is found: walking back by comparing losses afterwards gives cuts that are not optimal.
    last_start = np.zeros((blocks + 1, n + 1), dtype=np.int64)
    totals = np.empty_like(of_last)
    for k in range(1, blocks + 1):
        np.add(of_last, loss[k - 1, :-1], out=totals)
        last_start[k, 1:] = totals.argmin(axis=1)
        loss[k, 1:] = totals[np.arange(n), last_start[k, 1:]]
    return loss, last_start


def diameters(signatures: ArrayLike) -> Matrix:
    """D (n, n): D[i, j] is the scatter of signatures i..j (both in) about their mean, for i <= j; below that, 0.

    As the mean of squared distances, D(i, j) = sum over i <= a < b <= j of |x_a - x_b|^2 / (j - i + 1): nothing but
    non-negative numbers is added, so each D is right to (d + 2n + 5) 2^-53 of itself, however far from 0 or from other
    runs the signatures lie. Equal signatures give 0.
    """
    values = _signatures(signatures)
    n = len(values)
    squared = np.triu(squareform(pdist(values, "sqeuclidean")))
    # For each end first of its own pairs with i..j-1, then of all pairs up to it.
    own = squared[::-1].cumsum(axis=0)[::-1]
    counts = np.arange(n) - np.arange(n)[:, None] + 1
    result: Matrix = np.triu(np.triu(own).cumsum(axis=1)) / np.maximum(counts, 1)
    return result


def scatter_of(signatures: ArrayLike, boundaries: Sequence[int]) -> float:
    """The total within-block scatter of ``signatures`` (n, d) cut at ``boundaries``, the first index of each block.

    Raises PlanError for boundaries that are none: they start with 0 and rise, within the units.
    """
    diameter = diameters(signatures)
    ends = [*boundaries[1:], len(diameter)]
    if not boundaries or boundaries[0] != 0 or any(start >= end for start, end in zip(boundaries, ends, strict=True)):
        raise PlanError(f"boundaries = {list(boundaries)}: expected rising indices from 0, under {len(diameter)}")
    return float(sum(diameter[start, end - 1] for start, end in zip(boundaries, ends, strict=True)))


def choose_blocks(losses: Sequence[float], negligible: float = 0.0) -> int:
    """``auto``: the smallest k after which one more block gains less than 5 % of the one-block loss.

    ``losses[k - 1]`` is the least loss of k blocks. One block where its loss is ``negligible``: what rounding leaves of
    signatures that are alike.
    """
    if losses[0] <= negligible:
        return 1
    least = LEAST_GAIN * losses[0]
    for k in range(1, len(losses)):
        if losses[k - 1] - losses[k] < least:
            return k
    return len(losses)


def require_blocks(blocks: object, n: int) -> int:
    """``blocks`` as an int; PlanError unless it is a whole number from 1 to ``n``."""
    number = whole_number(blocks)
    if number is None or not 1 <= number <= n:
        raise PlanError(f"cannot cut {n} units into {blocks!r} blocks: expected a number from 1 to {n}")
    return number


def _signatures(signatures: ArrayLike) -> Matrix:
    expected = "expected finite numbers (n, d), a row a layer"
    try:
        # float64 before anything is computed: float32 has too few digits to tell layers apart that are nearly alike.
        values: Matrix = np.asarray(signatures, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PlanError(f"signatures: {type(signatures).__name__} cannot be read ({error}); {expected}") from error
    if values.ndim != 2 or 0 in values.shape:
        raise PlanError(f"signatures: got shape {values.shape}, {expected}; one number a layer is a column, x[:, None]")
    wrong = int((~(np.abs(values) <= LARGEST)).any(axis=1).sum())
    if wrong:
        raise PlanError(
            f"signatures: {wrong} of {len(values)} rows hold NaN, infinity or more than {LARGEST:g}; {expected}"
        )
    return values
