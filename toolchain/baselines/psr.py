"""The published procedure, its choices made again from their description (arXiv 2406.07929), to measure what ours change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from deploy.progress import Progress, silent
from toolchain.pruning import Budget, Choices, Plan, planned
from toolchain.pruning.segmentation import fisher_table

Matrix = NDArray[np.float64]


def psr(
    model: nn.Module,
    frames: ArrayLike | Tensor,
    budget: Budget,
    *,
    blocks: int = 3,
    similarity: str = "cosine",
    units: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Plan:
    """The units of ``model`` that the published procedure keeps, chosen on training ``frames`` (batch, 2, length).

    Cosine similarity, a layer's signature the sum of its row, ``blocks`` cut by :func:`walked_back`, and in each block the
    candidate with the smallest flow. The budget and how it is shared among the blocks are ours, so that both can be
    compared at one cost; so is the flow itself: the published score depends on the order in which candidates come, because
    the model is never reset between them, and there is nothing to reproduce in that.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    choices = psr_choices(blocks=blocks, similarity=similarity, units=units)
    plan, _ = planned(
        model, frames, replace(choices, budget=budget), cutting=partial(walked_back, blocks=blocks), progress=progress
    )
    return replace(plan, settings={**plan.settings, "baseline": "psr"})


def psr_choices(*, blocks: int = 3, similarity: str = "cosine", units: Sequence[str] | None = None) -> Choices:
    """The choices of the published procedure, but for the cuts, which are those of :func:`walked_back`."""
    return Choices(
        similarity=similarity,
        signature="sum",
        blocks=blocks,
        score="synflow",
        direction="min",
        # Its blocks have quotas, whatever the budget is.
        allot="shares",
        units=units,
    )


def walked_back(signatures: Matrix, blocks: int) -> tuple[int, ...]:
    """The first index of each of ``blocks`` runs of ``signatures`` (n, d), by the published walk through Fisher's table.

    The table is right: L(n, k) is the least scatter of the first n layers in k blocks. Its cuts are not kept, but looked
    for afterwards, by "the largest n whose loss is below the current one". We read it so: the current loss is L(N, k), of
    all N layers. The last block begins behind the largest n < N with L(n, k - 1) < L(N, k), strictly. That L(n, k - 1) is
    then the current loss, n the number of layers that are left, and so on until one block is left. A cut of least loss
    would have to satisfy L(n, k - 1) + D(n + 1, N) = L(N, k); this one leaves out D and takes the last block too short.

    There are always ``blocks`` runs: n goes down to k - 1, a layer for each block that is left, and L(k - 1, k - 1) = 0 is
    below any current loss but 0. Where that is 0, nothing is below it, and the largest n is taken whose loss is 0 as well.

    Raises PlanError unless 1 <= blocks <= n.
    """
    loss, _ = fisher_table(signatures, blocks)
    end, starts = len(signatures), []
    for left in range(len(loss) - 2, 0, -1):
        current = loss[left + 1, end]
        below = [n for n in range(left, end) if loss[left, n] < current]
        end = (below or [n for n in range(left, end) if loss[left, n] == current])[-1]
        starts.append(end)
    return (0, *reversed(starts))
