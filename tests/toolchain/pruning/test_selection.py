import math
from itertools import combinations

import numpy as np
import pytest
import torch

from toolchain.errors import PlanError
from toolchain.models import create_model
from toolchain.pruning import selection
from toolchain.pruning.selection import best_candidate, quotas
from toolchain.pruning.synflow import linear_chain

SHAPE = (2, 64)


@pytest.mark.parametrize(
    ("sizes", "fixed", "keep", "expected"),
    [
        # One each, 4 left: shares 4*9/27, 4*9/27, 4*9/27 = 1.33 each; the one that is left goes to the first.
        ([9, 9, 9], [0, 0, 0], 7, [3, 2, 2]),
        # One each, 3 left of 27: 0.44, 0.44, 1, 1.11 -> 0, 0, 1, 1; the one that is left to the first of the largest.
        ([4, 4, 9, 10], [0, 0, 0, 0], 7, [2, 1, 2, 2]),
        # One each, 5 left of 22: 2.27, 0.91, 0.91, 0.91 -> 2, 0, 0, 0; three are left for the three remainders.
        ([10, 4, 4, 4], [0, 0, 0, 0], 9, [3, 2, 2, 2]),
        # One each, 4 left of 27: 1.63, 1.19, 1.19 -> 1, 1, 1; the one that is left to the largest remainder.
        ([11, 8, 8], [0, 0, 0], 7, [3, 2, 2]),
        # One each, 6 left of 12: 1, 5; the second has room for all.
        ([2, 10], [0, 0], 8, [2, 6]),
        # A block is never given more than it has; what it cannot take goes on.
        ([1, 10], [0, 0], 8, [1, 7]),
        ([2, 2], [0, 0], 4, [2, 2]),
        # Fixed units come first.
        ([5, 5], [3, 0], 5, [4, 1]),
        ([5, 5], [3, 0], 4, [3, 1]),
        ([4], [0], 1, [1]),
    ],
)
def test_quotas_are_shared_by_largest_remainder(sizes, fixed, keep, expected):
    assert quotas(sizes, fixed, keep) == expected


def test_quotas_always_add_up_within_their_blocks():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        sizes = rng.integers(1, 12, size=rng.integers(1, 7)).tolist()
        fixed = [int(rng.integers(0, size + 1)) if rng.random() < 0.3 else 0 for size in sizes]
        least = [max(count, 1) for count in fixed]
        keep = int(rng.integers(sum(least), sum(sizes) + 1))
        found = quotas(sizes, fixed, keep)
        assert sum(found) == keep
        assert all(low <= got <= size for low, got, size in zip(least, found, sizes, strict=True))
        # Where no block is too small for its share: floors, then one each to the largest remainders, in one go.
        rest = keep - sum(least)
        shares = np.array(sizes) * rest / sum(sizes)
        if (np.array(least) + np.ceil(shares) <= sizes).all() and (np.array(least) < sizes).all():
            expected = np.array(least) + np.floor(shares + 1e-12).astype(int)
            largest = np.argsort(-np.round((shares + 1e-12) % 1, 9), kind="stable")
            expected[largest[: keep - expected.sum()]] += 1
            assert found == expected.tolist()


@pytest.mark.parametrize("keep", [2, 28])
def test_quotas_that_cannot_be_are_refused_with_the_range(keep):
    with pytest.raises(PlanError, match=f"cannot keep {keep} of 27 units in 3 blocks: expected 3 to 27"):
        quotas([9, 9, 9], [0, 0, 0], keep)


@pytest.fixture
def chain(model):
    return linear_chain(model, SHAPE)


def brute_force(chain, block, quota, fixed, sign):
    others = [index for index in range(len(chain.spans)) if index not in block]
    free = [index for index in block if index not in fixed]
    inside = [index for index in block if index in fixed]
    candidates = [tuple(sorted((*inside, *choice))) for choice in combinations(free, quota - len(inside))]
    return max(candidates, key=lambda kept: sign * chain.log_flow((*others, *kept)))


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize(
    ("block", "quota", "fixed"),
    [
        (range(9), 4, ()),
        (range(2, 7), 2, ()),
        (range(2, 7), 2, (6,)),
        (range(2, 7), 3, (2, 3)),
        (range(5), 5, ()),
        (range(8, 9), 1, ()),
    ],
)
def test_the_chosen_candidate_is_the_best_of_all(chain, block, quota, fixed, direction):
    found = best_candidate(chain, block, quota, direction, stay=frozenset(fixed))
    assert found.kept == brute_force(chain, block, quota, fixed, 1 if direction == "max" else -1)
    others = [index for index in range(9) if index not in block]
    assert found.log_flow == pytest.approx(chain.log_flow((*others, *found.kept)), rel=1e-12)


def test_a_score_does_not_depend_on_the_other_candidates(chain):
    block, pairs = range(2, 7), list(combinations(range(2, 7), 2))
    alone = {pair: best_candidate(chain, block, 2, stay=frozenset(pair)) for pair in pairs}
    assert all(choice.kept == pair for pair, choice in alone.items())
    flows = sorted(choice.log_flow for choice in alone.values())
    assert best_candidate(chain, block, 2).flows == pytest.approx(flows, rel=1e-12)
    for left_out in block:
        # Without one unit the others come in another order and in other company.
        fewer = best_candidate(chain, block, 2, gone=frozenset([left_out]))
        among = {pair: choice.log_flow for pair, choice in alone.items() if left_out not in pair}
        assert fewer.kept == max(among, key=among.get)
        assert fewer.flows == pytest.approx(sorted(among.values()), rel=1e-12)


def test_the_beam_finds_what_the_whole_search_finds_on_a_small_block(chain):
    whole = best_candidate(chain, range(9), 4)
    beam = best_candidate(chain, range(9), 4, evaluations=100)
    assert (beam.kept, beam.log_flow) == (whole.kept, whole.log_flow)
    assert len(beam.flows) < len(whole.flows) == 126


def test_a_search_evaluates_no_more_than_it_may(monkeypatch):
    deep = linear_chain(create_model("resnet1d56", generator=torch.Generator().manual_seed(0)).eval(), (2, 32))
    ranked = []
    original = selection._ranked
    monkeypatch.setattr(selection, "_ranked", lambda kept, *rest: (ranked.append(len(kept)), original(kept, *rest))[1])
    found = best_candidate(deep, range(27), 13)
    assert math.comb(27, 13) > selection.MOST_EVALUATIONS
    assert len(found.kept) == 13
    assert sum(ranked) <= selection.MOST_EVALUATIONS + ranked[-1]
