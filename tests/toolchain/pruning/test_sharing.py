from dataclasses import replace
from itertools import combinations

import numpy as np

from toolchain.pruning.budget import Room
from toolchain.pruning.selection import Choice, quotas
from toolchain.pruning.sharing import largest_share, put_back, smallest_share

# Three units of 1 and three of 3, of 16: without any of them 4 are left.
ROOM = Room(16.0, (1.0, 1.0, 1.0, 3.0, 3.0, 3.0), 0.0)
CHEAP, DEAR = range(3), range(3, 6)


def first(block, quota, *, stay=frozenset(), gone=frozenset(), quick=False):
    """Chooses the first units of a block."""
    free = [index for index in block if index not in stay and index not in gone]
    inside = [index for index in block if index in stay]
    return Choice(tuple(sorted(inside + free[: quota - len(inside)])), 0.0)


def evenly(number):
    return [[(CHEAP, (number + 1) // 2), (DEAR, number // 2)]]


def units(kept):
    return [choice.kept for _, choice in kept]


def within(cut):
    return Room(ROOM.whole, ROOM.each, cut)


def test_the_largest_number_that_fits_is_shared_out():
    # (2, 1) saves 1 + 6 = 7, (2, 2) saves 1 + 3 = 4.
    for saved, kept in ((7, [(0, 1), (3,)]), (5, [(0, 1), (3,)]), (4, [(0, 1), (3, 4)]), (9, [])):
        assert units(largest_share(within(saved / 16), range(2, 6), evenly, first)) == kept


def test_another_way_to_share_a_number_out_comes_before_a_smaller_number():
    def ways(number):
        return [*evenly(number), [(CHEAP, number - 1), (DEAR, 1)]]

    assert units(largest_share(within(6 / 16), range(2, 6), ways, first)) == [(0, 1, 2), (3,)]


def test_what_is_left_over_is_spent_on_units_that_still_fit():
    def planned(cut):
        room = within(cut)
        return units(put_back(room, largest_share(room, range(2, 6), evenly, first), first))

    assert planned(7 / 16) == [(0, 1), (3,)]
    assert planned(6 / 16) == [(0, 1, 2), (3,)]
    # Once both have two of four the cheap block is as far below its share as the dear one, and has a unit that fits.
    assert planned(3 / 16) == [(0, 1, 2), (3, 4)]


def test_a_block_puts_back_what_fits_beside_what_it_has():
    # Units of 5, 2 and 4 in one block: 0 stays, 3 are left, and of the others only the second fits.
    room = Room(20.0, (5.0, 2.0, 4.0), 3 / 20)
    assert units(put_back(room, [(range(3), Choice((0,), 0.0))], first)) == [(0, 1)]


def test_where_the_first_choice_is_too_dear_a_block_takes_what_fits():
    room = Room(20.0, (9.0, 2.0, 8.0, 3.0), 14 / 20)
    blocks = [range(2), range(2, 4)]

    def shares(number):
        return [list(zip(blocks, quotas([2, 2], [0, 0], number), strict=True))]

    assert largest_share(room, range(2, 4), shares, first) == []
    assert units(smallest_share(room, blocks, frozenset(), first)) == [(1,), (3,)]
    assert smallest_share(Room(20.0, room.each, 18 / 20), blocks, frozenset(), first) == []
    # What is fixed stays, at no cost here, and its block takes nothing else.
    fixed = Room(20.0, (0.0, 2.0, 8.0, 3.0), 10 / 20)
    assert units(smallest_share(fixed, blocks, frozenset([0]), first)) == [(0,), (3,)]


def test_a_plan_is_found_wherever_there_is_one_and_nothing_more_fits_in_it():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        size = int(rng.integers(2, 9))
        cut_at = int(rng.integers(1, size))
        blocks = [range(cut_at), range(cut_at, size)]
        fixed = frozenset(np.flatnonzero(rng.random(size) < 0.2).tolist())
        each = tuple(0.0 if index in fixed else float(rng.integers(1, 9)) for index in range(size))
        room = Room(sum(each) + 5.0, each, float(rng.uniform(0.05, 0.8)))

        def shares(number, blocks=blocks, fixed=fixed):
            least = [len(fixed.intersection(block)) for block in blocks]
            if number < sum(max(1, count) for count in least):
                return
            yield list(zip(blocks, quotas([len(block) for block in blocks], least, number), strict=True))

        def choose(block, quota, *, stay=frozenset(), gone=frozenset(), quick=False, fixed=fixed):
            return first(block, quota, stay=stay | fixed, gone=gone)

        kept = largest_share(room, range(1, size), shares, choose)
        kept = kept or smallest_share(room, blocks, fixed, choose)
        possible = [
            units
            for count in range(1, size)
            for units in combinations(range(size), count)
            if room.fits(units) and fixed <= set(units) and all(set(units).intersection(block) for block in blocks)
        ]
        assert bool(kept) == bool(possible)
        if kept:
            found += 1
            kept = {index for _, choice in put_back(room, kept, choose) for index in choice.kept}
            assert room.fits(kept)
            assert fixed <= kept
            assert not any(room.fits([*kept, index]) for index in set(range(size)) - kept)
    assert found > 100


def test_more_units_than_python_nests_calls_are_put_back():
    room = Room(2000.0, (1.0,) * 1500, 0.1)
    kept = put_back(room, [(range(1500), Choice((0,), 0.0))], first)
    assert sum(len(choice.kept) for _, choice in kept) == 1300


def test_the_search_is_quick_and_what_is_kept_is_chosen_thoroughly():
    asked = []

    def choose(block, quota, *, quick=False, **options):
        asked.append(quick)
        return replace(first(block, quota, **options), scored_by="quick" if quick else "thorough")

    kept = largest_share(within(4 / 16), range(2, 6), evenly, choose)
    assert units(kept) == [(0, 1), (3, 4)]
    assert {choice.scored_by for _, choice in kept} == {"thorough"}
    assert asked.index(False) == asked.count(True)


def test_what_fits_by_a_quick_choice_alone_is_left_for_fewer_units():
    def choose(block, quota, *, quick=False):
        # Thoroughly chosen, the dear block would rather keep all of its units.
        return first(block, 3 if block is DEAR and quota == 2 and not quick else quota)

    assert units(largest_share(within(4 / 16), range(2, 6), evenly, choose)) == [(0, 1), (3,)]
