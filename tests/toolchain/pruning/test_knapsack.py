from itertools import chain as chained
from itertools import combinations

import numpy as np
import pytest
import torch

from toolchain.models import create_model
from toolchain.pruning import Budget, Choices, knapsack, plan_on
from toolchain.pruning.budget import Latency, Room
from toolchain.pruning.knapsack import most_flow
from toolchain.pruning.synflow import linear_chain
from toolchain.pruning.units import find_units

SHAPE = (2, 64)
# Nine units of resnet1d20, in milliseconds; as many different sums as there are selections.
SAVED = (0.11, 0.13, 0.07, 0.19, 0.05, 0.17, 0.23, 0.03, 0.10)


def brute_force(chain, room, blocks, fixed, sign=1.0):
    units = range(len(chain.spans))
    every = chained.from_iterable(combinations(units, count) for count in range(len(units) + 1))
    allowed = [
        kept
        for kept in every
        if room.fits(kept) and fixed.issubset(kept) and all(set(block).intersection(kept) for block in blocks)
    ]
    return max(allowed, key=lambda kept: sign * chain.log_flow(kept), default=None)


@pytest.mark.parametrize("cut", [0.05, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("starts", [(0,), (0, 4), (0, 2, 5)])
@pytest.mark.parametrize("fixed", [frozenset(), frozenset({0, 6})])
def test_the_units_are_those_with_the_most_flow_that_fit(model, cut, starts, fixed):
    chain = linear_chain(model, SHAPE)
    blocks = [range(start, end) for start, end in zip(starts, (*starts[1:], 9), strict=True)]
    # The model takes 1.2 ms, and all units together 1.08 of them.
    room = Room(1.2, tuple(0.0 if index in fixed else saved for index, saved in enumerate(SAVED)), cut)
    for direction, sign in (("max", 1.0), ("min", -1.0)):
        assert most_flow(chain, room, blocks, fixed, direction) == brute_force(chain, room, blocks, fixed, sign)


def test_with_few_partial_selections_the_flow_is_close_and_the_room_is_kept(model):
    chain = linear_chain(model, SHAPE)
    room = Room(1.2, SAVED, 0.5)
    best = chain.log_flow(most_flow(chain, room, [range(9)], frozenset()))
    near = most_flow(chain, room, [range(9)], frozenset(), evaluations=16)
    assert room.fits(near)
    assert best - chain.log_flow(near) < 0.05 * abs(best)


def test_nothing_is_said_where_nothing_fits(model):
    chain = linear_chain(model, SHAPE)
    # One of each block is 0.07 + 0.03 ms at the least, and 0.09 are left.
    room = Room(1.2, SAVED, (sum(SAVED) - 0.09) / 1.2)
    assert most_flow(chain, room, [range(4), range(4, 9)], frozenset()) is None
    assert most_flow(chain, room, [range(9)], frozenset()) is not None


def test_states_that_are_carried_along_stay_within_memory(model, monkeypatch):
    chain = linear_chain(model, SHAPE)
    monkeypatch.setattr(knapsack, "MOST_BYTES", 8 * 16 * 64 * 8)
    taken = []
    against = type(chain.arriving[0]).against
    monkeypatch.setattr(
        type(chain.arriving[0]), "against", lambda flow, readout: taken.append(len(flow.log)) or against(flow, readout)
    )
    assert most_flow(chain, Room(1.2, SAVED, 0.5), [range(9)], frozenset()) is not None
    # Each of the eight that stay grows into two.
    assert max(taken) <= 16


def test_a_plan_within_a_latency_has_no_room_for_another_unit(model, frames):
    units = find_units(model, frames)
    latency = Latency(limit_ms=0.6, whole_ms=1.2, saved_ms=SAVED)
    plan = plan_on(np.eye(9), model, frames, units, Choices(budget=Budget(latency=latency)))
    taken = 1.2 - sum(saved for index, saved in enumerate(SAVED) if index not in plan.kept)
    assert taken <= 0.6
    assert all(taken + SAVED[index] > 0.6 for index in range(9) if index not in plan.kept)
    assert plan.settings["latency"] == {"limit_ms": 0.6, "whole_ms": 1.2, "saved_ms": SAVED}
    assert all(set(block).intersection(plan.kept) for block in plan.blocks)


@pytest.mark.parametrize("score", ["medoid", "l1", "random"])
def test_other_scores_keep_within_the_latency_too(model, frames, score):
    units = find_units(model, frames)
    latency = Latency(limit_ms=0.6, whole_ms=1.2, saved_ms=SAVED)
    plan = plan_on(np.eye(9), model, frames, units, Choices(budget=Budget(latency=latency), score=score))
    taken = 1.2 - sum(saved for index, saved in enumerate(SAVED) if index not in plan.kept)
    assert taken <= 0.6
    assert all(taken + SAVED[index] > 0.6 for index in range(9) if index not in plan.kept)


def test_a_model_whose_units_have_no_linear_form_goes_by_the_medoid():
    model = create_model("mcldnn", 5, 64, generator=torch.Generator().manual_seed(0)).eval()
    frames = np.random.default_rng(0).normal(size=(16, 2, 64)).astype(np.float32)
    units = find_units(model, frames)
    saved = tuple(0.0 if unit.kind == "fixed" else 0.1 for unit in units)
    latency = Latency(limit_ms=0.92, whole_ms=1.0, saved_ms=saved)
    plan = plan_on(np.eye(len(units)), model, frames, units, Choices(budget=Budget(latency=latency)))
    assert 1.0 - sum(saved[index] for index in range(len(units)) if index not in plan.kept) <= 0.92
