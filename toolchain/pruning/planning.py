"""From a trained model to a plan: similarity, segmentation, selection."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deploy.progress import Progress, silent
from toolchain.errors import PlanError
from toolchain.pruning.plan import Plan
from toolchain.pruning.segmentation import Segmentation, choose_blocks, segmentations
from toolchain.pruning.selection import Direction, best_candidate, quotas
from toolchain.pruning.similarity import similarity_matrix
from toolchain.pruning.synflow import linear_chain, one_thread
from toolchain.pruning.units import Unit, find_units

Matrix = NDArray[np.float64]
Frames = NDArray[np.float32]

# How a layer's row of the similarity matrix becomes its signature (n, d).
SIGNATURES = {"row": lambda matrix: matrix, "sum": lambda matrix: matrix.sum(axis=1, keepdims=True)}


def plan_layers(
    model: nn.Module,
    frames: Frames,
    *,
    keep: int | float,
    similarity: str = "cka",
    signature: str = "row",
    blocks: int | str = "auto",
    direction: Direction = "max",
) -> Plan:
    """The units of ``model`` to keep, chosen on training ``frames`` (batch, 2, length).

    ``keep`` is a number of units, or as a float the fraction of them; ``blocks`` a number, or ``"auto"``.

    Raises PlanError for what cannot be made, with the nearest that can, and where no flow passes the network.
    """
    units = find_units(model, frames)
    matrix = similarity_matrix(model, frames, units, similarity)
    return plan_on(
        matrix,
        model,
        frames,
        units,
        keep=keep,
        similarity=similarity,
        signature=signature,
        blocks=blocks,
        direction=direction,
    )


def plan_on(
    matrix: Matrix,
    model: nn.Module,
    frames: Frames,
    units: list[Unit],
    *,
    keep: int | float,
    similarity: str,
    signature: str,
    blocks: int | str,
    direction: Direction,
    progress: Progress = silent,
) -> Plan:
    """As :func:`plan_layers`, on the similarity ``matrix`` (n, n) of ``units`` on ``frames`` that is there already."""
    count = units_to_keep(keep, len(units))
    cuts = _segmentations(matrix, signature)
    cut = _cut(cuts, units, count, blocks)
    ends = (*cut.boundaries[1:], len(units))
    ranges = [range(start, end) for start, end in zip(cut.boundaries, ends, strict=True)]
    fixed = frozenset(index for index, unit in enumerate(units) if unit.kind == "fixed")
    shares = quotas([len(block) for block in ranges], [len(fixed.intersection(block)) for block in ranges], count)

    with one_thread():
        chain = linear_chain(model, frames.shape[1:])
        whole = chain.log_flow(range(len(units)))
        choices = []
        for block, quota in zip(ranges, shares, strict=True):
            choices.append(best_candidate(chain, block, quota, fixed, direction))
            progress(len(choices), len(ranges), "selecting units")
        kept = tuple(index for choice in choices for index in choice.kept)
        left = chain.log_flow(kept)
    if not math.isfinite(left):
        which = "what would be kept of the network" if math.isfinite(whole) else "the network"
        raise PlanError(
            f"no synaptic flow passes {which} (log-flow {left}): a layer's weights are all zero; "
            "train the model, or keep more units"
        )
    return Plan(
        units=tuple(units),
        boundaries=cut.boundaries,
        kept=kept,
        scores=tuple(choice.log_flow for choice in choices),
        log_flow=left,
        log_flow_whole=whole,
        losses=tuple(each.loss for each in cuts),
        settings={
            "keep": keep,
            "frames": len(frames),
            "similarity": similarity,
            "signature": signature,
            "blocks": blocks,
            "score": "synflow",
            "direction": direction,
        },
    )


def units_to_keep(keep: int | float, units: int) -> int:
    """``keep`` as a number of units: 7 is 7, 0.25 of 27 is 7.

    Raises PlanError outside 1..units, or a fraction outside 0..1.
    """
    if isinstance(keep, float) and not 0.0 < keep <= 1.0:
        raise PlanError(f"keep = {keep}: expected a fraction over 0 and up to 1, or a whole number of units")
    count = round(keep * units) if isinstance(keep, float) else keep
    if not 1 <= count <= units:
        raise PlanError(f"keep = {keep} asks for {count} units of {units}: expected 1 to {units}")
    return count


def _segmentations(matrix: Matrix, signature: str) -> list[Segmentation]:
    if signature not in SIGNATURES:
        raise PlanError(f'signature "{signature}" is not one of {", ".join(SIGNATURES)}')
    return segmentations(SIGNATURES[signature](matrix), len(matrix))


def _cut(cuts: list[Segmentation], units: list[Unit], keep: int, blocks: int | str) -> Segmentation:
    fixed = [index for index, unit in enumerate(units) if unit.kind == "fixed"]

    def least_keep(cut: Segmentation) -> int:
        ends = (*cut.boundaries[1:], len(units))
        inside = (sum(start <= i < end for i in fixed) for start, end in zip(cut.boundaries, ends, strict=True))
        return sum(max(count, 1) for count in inside)

    if blocks != "auto":
        if not isinstance(blocks, int) or not 1 <= blocks <= len(units):
            raise PlanError(f'blocks = {blocks}: expected "auto" or a number from 1 to the {len(units)} units')
        cut = cuts[blocks - 1]
        if keep < least_keep(cut):
            raise PlanError(
                f"{blocks} blocks keep at least {least_keep(cut)} units, and keep asks for {keep} of {len(units)}"
            )
        return cut
    # Too few units for the blocks that the curve asks for: an automatic number shrinks.
    for k in range(choose_blocks([cut.loss for cut in cuts]), 0, -1):
        if least_keep(cuts[k - 1]) <= keep:
            return cuts[k - 1]
    raise PlanError(f"keep asks for {keep} of {len(units)} units, but {len(fixed)} are fixed and always kept")
