from itertools import chain as chained
from itertools import combinations

import numpy as np
import pytest

from toolchain.errors import PlanError
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


@pytest.mark.parametrize(("asked", "allot"), [("shares", "shares"), ("flow", "flow"), ("auto", "flow")])
def test_a_plan_within_a_latency_has_no_room_for_another_unit(model, frames, asked, allot):
    units = find_units(model, frames)
    latency = Latency(limit_ms=0.6, whole_ms=1.2, saved_ms=SAVED)
    plan = plan_on(np.eye(9), model, frames, units, Choices(budget=Budget(latency=latency), allot=asked))
    taken = 1.2 - sum(saved for index, saved in enumerate(SAVED) if index not in plan.kept)
    assert taken <= 0.6
    assert all(taken + SAVED[index] > 0.6 for index in range(9) if index not in plan.kept)
    assert plan.settings["latency"] == {"limit_ms": 0.6, "whole_ms": 1.2, "saved_ms": SAVED}
    assert plan.settings["allot"] == allot
    assert all(set(block).intersection(plan.kept) for block in plan.blocks)


def test_the_most_flow_goes_to_quick_units_and_shares_to_all_blocks(model, frames):
    # Three blocks of three; a unit of the last takes half as long as another, and 0.35 ms are left for units. Four, shared
    # out, are 0.2 + 0.1 + 0.05 ms; or one of the first two blocks each, and all of the last.
    units = find_units(model, frames)
    blocks = np.kron(np.eye(3), np.ones((3, 3)))
    latency = Latency(limit_ms=0.45, whole_ms=0.85, saved_ms=(0.1,) * 6 + (0.05,) * 3)

    def planned(allot):
        choices = Choices(budget=Budget(latency=latency), blocks=3, allot=allot)
        plan = plan_on(blocks, model, frames, units, choices)
        return [len(set(block).intersection(plan.kept)) for block in plan.blocks], plan.log_flow

    (shares, flow_of_shares), (flow, most_flow_of_all) = planned("shares"), planned("flow")
    assert shares == [2, 1, 1]
    assert flow == [1, 1, 3]
    assert most_flow_of_all > flow_of_shares


@pytest.mark.parametrize("score", ["medoid", "l1", "random"])
def test_other_scores_keep_within_the_latency_too(model, frames, score):
    units = find_units(model, frames)
    latency = Latency(limit_ms=0.6, whole_ms=1.2, saved_ms=SAVED)
    plan = plan_on(np.eye(9), model, frames, units, Choices(budget=Budget(latency=latency), score=score))
    taken = 1.2 - sum(saved for index, saved in enumerate(SAVED) if index not in plan.kept)
    assert taken <= 0.6
    assert all(taken + SAVED[index] > 0.6 for index in range(9) if index not in plan.kept)
    assert plan.settings["allot"] == "shares"


def test_a_unit_without_a_linear_form_is_no_matter_of_flow(gated, frames):
    units = find_units(gated, frames)
    budget = Budget(latency=Latency(limit_ms=0.6, whole_ms=1.2, saved_ms=SAVED))
    plan = plan_on(np.eye(9), gated, frames, units, Choices(budget=budget))
    assert 1.2 - sum(saved for index, saved in enumerate(SAVED) if index not in plan.kept) <= 0.6
    assert plan.settings["allot"] == "shares"
    with pytest.raises(PlanError, match=r'allot "flow": no flow is known of stages.1.1; allot "shares" needs none'):
        plan_on(np.eye(9), gated, frames, units, Choices(budget=budget, allot="flow"))


def test_the_most_flow_is_asked_for_where_flow_chooses():
    with pytest.raises(PlanError, match='allot "flow" is for score "synflow"; with score "l1" blocks have shares'):
        Choices(allot="flow", score="l1")
