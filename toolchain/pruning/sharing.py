"""How the units that stay are shared out among the blocks, within a number or within what a cut leaves room for.

A number is shared out in proportion to the blocks' sizes. Of a cut in MACs or parameters the largest number is taken that
meets it; and as units cost more in one block than in another, what is left over then is spent on further ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from toolchain.pruning.budget import Room
from toolchain.pruning.selection import Choice

# The blocks of a plan, and how many units each keeps.
Share = Sequence[tuple[range, int]]
# A block and what it keeps.
Kept = tuple[range, Choice]
# Chooses in a block as many units: all that ``stay``, and none that are ``gone``; ``quick`` among fewer candidates.
Choose = Callable[..., Choice]


def largest_share(
    room: Room, numbers: Sequence[int], shares: Callable[[int], Iterable[Share]], choose: Choose
) -> list[Kept]:
    """What is kept of the largest of ``numbers``, smaller ones first, that fits when shared out; nothing where none does.

    ``shares`` gives the ways to share a number out, the first choice first, at no cost. Choosing takes time. So a way is
    left as soon as not even the cheapest units of the blocks that are still to come would fit; the number is found with
    quick choices, by halving what is left, as if every larger number cost more; and only from there on down are choices
    thorough.
    """

    def fitting(number: int, *, quick: bool) -> list[Kept]:
        ways = (_chosen(room, share, choose, quick=quick) for share in shares(number))
        return next(filter(None, ways), [])

    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if fitting(numbers[middle], quick=True):
            low = middle + 1
        else:
            high = middle
    thorough = (fitting(number, quick=False) for number in reversed(numbers[:low]))
    return next(filter(None, thorough), [])


def _chosen(room: Room, share: Share, choose: Choose, *, quick: bool) -> list[Kept]:
    kept: list[Kept] = []
    cheapest = [room.cheapest(block, quota) for block, quota in share]
    for at, (block, quota) in enumerate(share):
        if not room.fits([*_units(kept), *(index for units in cheapest[at:] for index in units)]):
            return []
        kept.append((block, choose(block, quota, quick=quick)))
    return kept if room.fits(_units(kept)) else []


def smallest_share(room: Room, blocks: Sequence[range], fixed: frozenset[int], choose: Choose) -> list[Kept]:
    """One unit of each block, or its ``fixed`` ones, where as many fit if they are cheap enough; nothing where not.

    Each block chooses among the units that leave room for the cheapest of the blocks after it.
    """
    least = [max(1, len(fixed.intersection(block))) for block in blocks]
    cheapest = [room.cheapest(block, count) for block, count in zip(blocks, least, strict=True)]
    kept: list[Kept] = []
    for at, (block, count) in enumerate(zip(blocks, least, strict=True)):
        later = [index for units in cheapest[at + 1 :] for index in units]
        stay = fixed.intersection(block)
        left = room.left([*_units(kept), *later, *stay])
        fitting = [index for index in block if index in stay or room.each[index] <= left]
        if len(fitting) < count:
            return []
        kept.append((block, choose(block, count, gone=frozenset(block).difference(fitting))))
    return kept if room.fits(_units(kept)) else []


def put_back(room: Room, kept: Sequence[Kept], choose: Choose) -> list[Kept]:
    """``kept`` and unit by unit what still fits: of the blocks with such a unit the one furthest below its share chooses."""
    kept, units = list(kept), len(room.each)
    while True:
        stay = frozenset(_units(kept))
        left = room.left(stay)
        fitting = {index for index, cost in enumerate(room.each) if cost <= left and index not in stay}
        growing = [at for at, (block, _) in enumerate(kept) if not fitting.isdisjoint(block)]
        if not growing:
            return kept

        def short(at: int, number: int = len(stay) + 1) -> Fraction:
            block, choice = kept[at]
            return below_share(block, len(choice.kept), number, units)

        at = max(growing, key=short)
        block, choice = kept[at]
        gone = frozenset(block) - fitting - frozenset(choice.kept)
        kept[at] = block, choose(block, len(choice.kept) + 1, stay=frozenset(choice.kept), gone=gone)


def below_share(block: Sequence[int], kept: int, number: int, units: int) -> Fraction:
    """By how many units a block that keeps so many is below its share of a ``number`` of all ``units``."""
    return Fraction(number * len(block), units) - kept


def _units(kept: Iterable[Kept]) -> list[int]:
    return [index for _, choice in kept for index in choice.kept]
