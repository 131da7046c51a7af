"""Which units stay where each has a price: the most log-flow that a sum of prices can buy.

A knapsack whose value is no sum: a unit is worth what the units before it let through. So the network is walked unit by
unit, with many partial selections side by side. Of those that have spent about as much only the best stay, judged by their
flow with all later units whole.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from toolchain.pruning.budget import Room
from toolchain.pruning.selection import MOST_EVALUATIONS, Direction
from toolchain.pruning.synflow import Flow, LinearChain, one_thread

# Steps that the room is divided into: partial selections within one have spent about as much.
LEVELS = 256
# Half of the room and the other, each with and without a unit in the block.
FEWEST = 4
# Of what is carried along at a time.
MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class _Partial:
    """A partial selection: the units kept so far, their price, and whether one of them is of the block that is walked."""

    kept: tuple[int, ...] = ()
    spent: float = 0.0
    in_block: bool = False


def most_flow(
    chain: LinearChain,
    room: Room,
    blocks: Sequence[range],
    fixed: frozenset[int],
    direction: Direction = "max",
    *,
    evaluations: int = MOST_EVALUATIONS,
) -> tuple[int, ...] | None:
    """The units (indices) with the largest log-flow that fit in ``room``, one of each block at least, and all ``fixed`` ones.

    With ``direction`` "min" the smallest. Exact while there are no more than ``evaluations`` partial selections, and close
    to it past that. None where nothing fits.
    """
    sign = 1.0 if direction == "max" else -1.0
    free = room.left(())
    cheapest = [min(room.each[index] for index in block) for block in blocks]
    partials, flow = [_Partial()], chain.arriving[0]
    largest = max(each.state[0].numel() * each.state.element_size() for each in chain.arriving)
    most = max(FEWEST, min(evaluations, MOST_BYTES // largest))
    with one_thread(), torch.no_grad():
        for number, block in enumerate(blocks):
            later_blocks = sum(cheapest[number + 1 :])
            partials = [_Partial(each.kept, each.spent) for each in partials]
            for index in block:
                rest = [room.each[each] for each in range(index + 1, block.stop)]
                # What a selection still has to buy, without a unit in this block, and with one.
                lacking, served = later_blocks + min(rest, default=math.inf), later_blocks
                partials, flow = _grown(chain, index, partials, flow, room.each[index], may_go=index not in fixed)
                possible = [
                    at
                    for at, each in enumerate(partials)
                    if each.spent + (served if each.in_block else lacking) <= free
                ]
                if len(possible) > most:
                    values = (sign * flow.against(chain.readout[index + 1])).tolist()
                    possible = _best_of_each_level(partials, possible, values, free, most)
                partials, flow = [partials[at] for at in possible], flow.take(possible)
                if not partials:
                    return None
        values = (sign * flow.against(chain.readout[-1])).tolist()
    return min(zip(partials, values, strict=True), key=lambda pair: (-pair[1], pair[0].kept))[0].kept


def _grown(
    chain: LinearChain, index: int, partials: Sequence[_Partial], flow: Flow, price: float, *, may_go: bool
) -> tuple[list[_Partial], Flow]:
    """Each partial selection without unit ``index``, where it may go, and each with it."""
    kept = [_Partial((*each.kept, index), each.spent + price, in_block=True) for each in partials]
    with_it = chain.step(index, flow, kept=True)
    if not may_go:
        return kept, with_it
    without = chain.step(index, flow, kept=False)
    return [*partials, *kept], without.and_then(with_it)


def _best_of_each_level(
    partials: Sequence[_Partial], among: Sequence[int], values: Sequence[float], free: float, most: int
) -> list[int]:
    """Those ``among`` the selections that stay: at each level of spending, with and without a unit in the block, the best."""
    groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
    # One of each at least has to have place.
    levels = min(LEVELS, most // 2)
    for at in among:
        level = min(levels - 1, math.floor(levels * partials[at].spent / free)) if free > 0 else 0
        groups[level, partials[at].in_block].append(at)
    width = max(1, most // len(groups))
    ranked = (sorted(group, key=lambda at: (-values[at], partials[at].kept))[:width] for group in groups.values())
    return sorted(at for group in ranked for at in group)
