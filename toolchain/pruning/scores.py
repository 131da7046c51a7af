"""How a block's units are chosen: by synaptic flow, or by something simpler that it has to beat.

Each chooser takes a block and how many of its units stay, and gives their indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from toolchain.pruning.segmentation import segment
from toolchain.pruning.selection import Choice, Direction, best_candidate
from toolchain.pruning.synflow import LinearChain, linear_chain, one_thread
from toolchain.pruning.units import Unit


@dataclass(frozen=True, eq=False)
class Choosing:
    """What choosers look at: the model and its units, their signatures (n, d), and a generator for what is random."""

    model: nn.Module
    units: Sequence[Unit]
    signatures: NDArray[np.float64]
    frame_shape: tuple[int, ...]
    names: Sequence[str] | None
    rng: np.random.Generator

    @cached_property
    def chain(self) -> LinearChain:
        """The model made linear, with the flow at every cut."""
        return linear_chain(self.model, self.frame_shape, self.names)

    @cached_property
    def fixed(self) -> frozenset[int]:
        """Indices of the units that always stay."""
        return frozenset(index for index, unit in enumerate(self.units) if unit.kind == "fixed")

    def free(self, block: range) -> list[int]:
        """The units of ``block`` that may go."""
        return [index for index in block if index not in self.fixed]

    def with_fixed(self, block: range, chosen: Sequence[int]) -> Choice:
        """The block's fixed units and ``chosen``, with the flow that they leave."""
        kept = tuple(sorted((*self.fixed.intersection(block), *chosen)))
        others = [index for index in range(len(self.units)) if index not in block]
        with one_thread():
            return Choice(kept, self.chain.log_flow((*others, *kept)))


def synflow(given: Choosing, block: range, quota: int, direction: Direction) -> Choice:
    """The candidate with the most (or least) flow; see :mod:`toolchain.pruning.selection`."""
    with one_thread():
        return best_candidate(given.chain, block, quota, given.fixed, direction)


def medoid(given: Choosing, block: range, quota: int, _direction: Direction) -> Choice:
    """The units in the middle: the block is cut by Fisher into as many runs as units stay, and each keeps its medoid.

    That is the unit whose signature is nearest to the mean of its run.
    """
    free = given.free(block)
    stay = quota - (len(block) - len(free))
    if stay == 0:
        return given.with_fixed(block, ())
    signatures = given.signatures[free]
    starts = segment(signatures, stay).boundaries
    chosen = []
    for start, end in zip(starts, (*starts[1:], len(free)), strict=True):
        run = signatures[start:end]
        chosen.append(free[start + int(((run - run.mean(axis=0)) ** 2).sum(axis=1).argmin())])
    return given.with_fixed(block, chosen)


def weight_l1(given: Choosing, block: range, quota: int, direction: Direction) -> Choice:
    """The units whose weights are largest (or smallest) on average: the mean of |w| over all parameters of a unit."""
    means = [_mean_weight(given.model, given.units[index]) for index in given.free(block)]
    order = np.argsort([-mean if direction == "max" else mean for mean in means], kind="stable")
    stay = quota - (len(block) - len(means))
    return given.with_fixed(block, [given.free(block)[at] for at in order[:stay]])


def _mean_weight(model: nn.Module, unit: Unit) -> float:
    weights = [
        parameter.detach().abs().double()
        for edit in unit.edits
        for parameter in model.get_submodule(edit.module).parameters()
        if parameter.dim() > 1
    ]
    return float(sum(weight.sum() for weight in weights)) / max(1, sum(weight.numel() for weight in weights))


def at_random(given: Choosing, block: range, quota: int, _direction: Direction) -> Choice:
    """Any: what every other way has to beat."""
    free = given.free(block)
    return given.with_fixed(block, given.rng.choice(free, quota - (len(block) - len(free)), replace=False).tolist())


Chooser = Callable[[Choosing, range, int, Direction], Choice]

SCORES: dict[str, Chooser] = {"synflow": synflow, "medoid": medoid, "l1": weight_l1, "random": at_random}
# Which of them look at the direction.
DIRECTED = ("synflow", "l1")
