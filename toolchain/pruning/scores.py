"""How a block's units are chosen: by synaptic flow, or by something simpler that it has to beat.

Each chooser takes a block and how many of its units stay, and gives their indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from toolchain.pruning.segmentation import segment
from toolchain.pruning.selection import MOST_EVALUATIONS, Choice, Direction, best_candidate
from toolchain.pruning.synflow import LinearChain, one_thread
from toolchain.pruning.units import Unit


@dataclass(frozen=True, eq=False)
class Choosing:
    """What choosers look at: the model and its units, their signatures (n, d), and the seed of what is random.

    ``stay`` and ``gone`` are indices of units about which there is nothing to choose; ``evaluations`` is how many candidates
    of a block may be looked at.
    """

    model: nn.Module
    units: Sequence[Unit]
    signatures: NDArray[np.float64]
    chain: LinearChain
    seed: int
    stay: frozenset[int]
    gone: frozenset[int] = frozenset()
    evaluations: int = MOST_EVALUATIONS

    def free(self, block: range) -> list[int]:
        """The units of ``block`` among which is chosen."""
        return [index for index in block if index not in self.stay and index not in self.gone]

    def left(self, block: range, quota: int) -> int:
        """How many of the free units make ``quota`` with those that stay."""
        return quota - len(self.stay.intersection(block))

    def with_those_that_stay(self, block: range, chosen: Sequence[int]) -> Choice:
        """The block's units that stay and ``chosen``, with the flow that they leave."""
        kept = tuple(sorted((*self.stay.intersection(block), *chosen)))
        others = [index for index in range(len(self.units)) if index not in block]
        with one_thread():
            return Choice(kept, self.chain.log_flow((*others, *kept)))


def synflow(given: Choosing, block: range, quota: int, direction: Direction) -> Choice:
    """The candidate with the most (or least) flow; see :mod:`toolchain.pruning.selection`."""
    with one_thread():
        return best_candidate(
            given.chain, block, quota, direction, stay=given.stay, gone=given.gone, evaluations=given.evaluations
        )


def medoid(given: Choosing, block: range, quota: int, _direction: Direction) -> Choice:
    """The units in the middle: the block is cut by Fisher into as many runs as units stay, and each keeps its medoid.

    That is the unit whose signature is nearest to the mean of its run.
    """
    free, left = given.free(block), given.left(block, quota)
    if left == 0:
        return given.with_those_that_stay(block, ())
    signatures = given.signatures[free]
    starts = segment(signatures, left).boundaries
    chosen = []
    for start, end in zip(starts, (*starts[1:], len(free)), strict=True):
        run = signatures[start:end]
        chosen.append(free[start + int(((run - run.mean(axis=0)) ** 2).sum(axis=1).argmin())])
    return given.with_those_that_stay(block, chosen)


def weight_l1(given: Choosing, block: range, quota: int, direction: Direction) -> Choice:
    """The units whose weights are largest (or smallest) on average: the mean of |w| over all parameters of a unit."""
    free = given.free(block)
    means = [_mean_weight(given.model, given.units[index]) for index in free]
    order = np.argsort([-mean if direction == "max" else mean for mean in means], kind="stable")
    return given.with_those_that_stay(block, [free[at] for at in order[: given.left(block, quota)]])


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
    # One order a block: a plan does not depend on what was tried before it, and a larger number holds every smaller one.
    order = np.random.default_rng([given.seed, block.start, block.stop]).permutation(block).tolist()
    free = frozenset(given.free(block))
    return given.with_those_that_stay(block, [index for index in order if index in free][: given.left(block, quota)])


Chooser = Callable[[Choosing, range, int, Direction], Choice]

SCORES: dict[str, Chooser] = {"synflow": synflow, "medoid": medoid, "l1": weight_l1, "random": at_random}
# Which of them look at the direction.
DIRECTED = ("synflow", "l1")
