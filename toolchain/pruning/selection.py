"""Which units stay: how many in each block, and which of them.

A candidate is the network in which one block holds only the candidate's units and all other blocks are whole; its score
is that network's log-flow. (In a plain chain SynFlow's sum over a layer is the same for every layer, by its conservation
law, so ranking layers one by one would say nothing.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from toolchain.errors import PlanError
from toolchain.pruning.synflow import Flow, LinearChain

Direction = Literal["max", "min"]

# Candidates evaluated a block: exhaustive while they suffice, a beam as wide as they allow past that.
MOST_EVALUATIONS = 5_000


def quotas(sizes: Sequence[int], fixed: Sequence[int], keep: int) -> list[int]:
    """How many units each block keeps, ``keep`` in all.

    A block starts with its fixed units, at least one; the rest goes to the blocks in proportion to their ``sizes`` by
    largest remainder (ties to the earlier block), at most a block's size.

    Raises PlanError where ``keep`` is too small for the blocks or larger than their units.
    """
    least = [max(count, 1) for count in fixed]
    if not sum(least) <= keep <= sum(sizes):
        raise PlanError(
            f"cannot keep {keep} of {sum(sizes)} units in {len(sizes)} blocks: expected {sum(least)} to {sum(sizes)}"
        )
    granted = least
    # Once; and again for what a block's size kept it from taking.
    while rest := keep - sum(granted):
        room = [size - count for size, count in zip(sizes, granted, strict=True)]
        within = sum(size for size, free in zip(sizes, room, strict=True) if free)
        shares = [
            Fraction(rest * size, within) if free else Fraction(0) for size, free in zip(sizes, room, strict=True)
        ]
        given = [math.floor(share) for share in shares]
        by_remainder = sorted(range(len(sizes)), key=lambda block: (given[block] - shares[block], block))
        for block in by_remainder[: rest - sum(given)]:
            given[block] += 1
        granted = [count + min(free, more) for count, free, more in zip(granted, room, given, strict=True)]
    return granted


@dataclass(frozen=True)
class Choice:
    """The units that a block keeps (indices in the network), and the log-flow of that candidate, all other blocks whole.

    ``flows`` are those of all candidates that were carried to the end, sorted; ``scored_by`` is the score that chose.
    """

    kept: tuple[int, ...]
    log_flow: float
    flows: tuple[float, ...] = ()
    scored_by: str = "synflow"


def best_candidate(
    chain: LinearChain,
    block: range,
    quota: int,
    direction: Direction = "max",
    *,
    stay: frozenset[int] = frozenset(),
    gone: frozenset[int] = frozenset(),
    evaluations: int = MOST_EVALUATIONS,
) -> Choice:
    """The candidate of ``block`` with the largest (or smallest) log-flow; ties go to the earlier units.

    Units that ``stay`` are in every candidate, and those that are ``gone`` in none. The block is walked unit by unit with
    all partial candidates as one batch, so candidates share their prefixes. Up to ``evaluations`` candidates the search
    is exhaustive; past that it is a beam: among partial candidates that kept equally many units, those stay that have the
    best flow with the rest of the block whole.
    """
    sign = 1.0 if direction == "max" else -1.0
    width = _beam_width(len(block) - len(gone.intersection(block)), quota, len(stay.intersection(block)), evaluations)
    kept: list[tuple[int, ...]] = [()]
    flow = chain.arriving[block.start]
    with torch.no_grad():
        for index in block:
            after = frozenset(range(index + 1, block.stop)) - gone
            stay_after = len(stay & after)
            # Only what can still end with exactly `quota` units is grown.
            drop = [i for i, units in enumerate(kept) if index not in stay and len(units) + len(after) >= quota]
            keep = [i for i, units in enumerate(kept) if index not in gone and len(units) + 1 + stay_after <= quota]
            without = _stepped(chain, index, flow, drop, kept=False)
            flow = without.and_then(_stepped(chain, index, flow, keep, kept=True))
            kept = [kept[i] for i in drop] + [(*kept[i], index) for i in keep]
            if width is not None:
                best = _ranked(kept, sign * flow.against(chain.readout[index + 1]), width)
                kept, flow = [kept[i] for i in best], flow.take(best)
        scores = flow.against(chain.readout[block.stop])
        (winner,) = _ranked(kept, sign * scores, 1)
    return Choice(kept[winner], float(scores[winner]), tuple(sorted(scores.tolist())))


def _beam_width(n: int, quota: int, stay: int, evaluations: int) -> int | None:
    """Partial candidates of ``n`` units to keep of each count; None where all candidates can be had."""
    if math.comb(n - stay, quota - stay) <= evaluations:
        return None
    # After i units a partial candidate holds from quota - (n - i) to i of them; each of those groups was grown from two.
    groups = sum(min(i, quota) - max(0, quota - (n - i)) + 1 for i in range(1, n + 1))
    return max(1, evaluations // (2 * groups))


def _ranked(kept: list[tuple[int, ...]], scores: Tensor, width: int) -> list[int]:
    """Indices of the ``width`` best of each count, in a fixed order: best first, earlier units first."""
    values = scores.tolist()
    order = sorted(range(len(kept)), key=lambda i: (len(kept[i]), -values[i], kept[i]))
    taken: Counter[int] = Counter()
    best = []
    for i in order:
        if taken[len(kept[i])] < width:
            taken[len(kept[i])] += 1
            best.append(i)
    return best


def _stepped(chain: LinearChain, index: int, flow: Flow, chosen: list[int], *, kept: bool) -> Flow:
    picked = flow.take(chosen)
    return chain.step(index, picked, kept=kept) if chosen else picked
