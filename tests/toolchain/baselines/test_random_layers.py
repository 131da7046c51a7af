from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from torch import nn

from toolchain.baselines import BASELINES, Sample, random_layers
from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.pruning import Budget, Latency, apply_plan, log_flow, plan_from_json


class Widening(nn.Module):
    """Four units behind a stem, of which the one that widens is fixed: it has no shortcut."""

    def __init__(self):
        super().__init__()
        widths = (2, 4, 4, 6, 6, 6)
        self.layers = nn.Sequential(*(nn.Conv1d(*pair, 3, padding=1) for pair in pairwise(widths)))
        self.head = nn.Linear(6, 3)

    def forward(self, iq):
        return self.head(self.layers(iq).mean(dim=2))


@pytest.fixture
def widening():
    return Widening().eval()


def test_every_baseline_is_in_the_table(model, frames):
    sample = Sample(frames=frames, labels=np.arange(len(frames)) % 5)
    latency = Latency(limit_ms=0.5, whole_ms=1.0, saved_ms=(0.1,) * 9)
    for budget in (Budget(keep=3), Budget(macs_cut=0.5), Budget(latency=latency)):
        plans = {name: plan(model, sample, budget, seed=0) for name, plan in BASELINES.items()}
        assert set(plans) == {"psr", "random-layers", "sr-init", "lcp"}
        for plan in plans.values():
            assert plan_from_json(plan.to_json()).kept == plan.kept
            if budget.keep:
                assert len(plan.kept) == 3
            elif budget.latency:
                # Of nine tenths four are left.
                assert len(plan.kept) == 4
            else:
                assert plan.macs_left <= 0.5 * plan.macs


def test_a_larger_plan_holds_every_smaller_one(model, frames):
    kept = [set(random_layers(model, frames, Budget(keep=keep), seed=2).kept) for keep in range(1, 10)]
    assert all(smaller < larger for smaller, larger in pairwise(kept))
    assert kept[-1] == set(range(9))


@pytest.mark.parametrize("what", ["macs", "params"])
def test_within_a_cut_each_unit_of_the_order_that_still_fits_is_kept(model, frames, what):
    for seed in range(5):
        order = []
        for keep in range(1, 10):
            order += set(random_layers(model, frames, Budget(keep=keep), seed=seed).kept).difference(order)
        plan = random_layers(model, frames, Budget(**{f"{what}_cut": 0.5}), seed=seed)
        kept = ()
        for index in order:
            more = replace(plan, kept=tuple(sorted((*kept, index))))
            if getattr(more, f"{what}_left") <= 0.5 * getattr(plan, what):
                kept = more.kept
        assert plan.kept == kept
        assert getattr(cost(apply_plan(plan, model), (2, 64)), what) == getattr(plan, f"{what}_left")


def test_each_unit_is_drawn_as_often_as_another(widening):
    frames = np.zeros((1, 2, 16), np.float32)
    drawn = Counter(
        index for seed in range(30) for index in random_layers(widening, frames, Budget(keep=2), seed=seed).kept
    )
    # The fixed unit always; of the three others ten draws each are expected.
    assert sorted(drawn.values())[-1] == 30
    assert all(5 <= count <= 15 for count in sorted(drawn.values())[:-1])
    assert len(drawn) == 4


def test_where_no_unit_has_a_linear_form_no_flow_is_told():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv1d(2, 2, 3, padding=1)

        def forward(self, x):
            out = self.layer(x)
            return x + out * out.sigmoid()

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(Gated(), Gated(), Gated())
            self.head = nn.Linear(2, 3)

        def forward(self, iq):
            return self.head(self.layers(iq).mean(dim=2))

    plan = random_layers(Network().eval(), np.zeros((1, 2, 16), np.float32), Budget(keep=2), seed=0)
    assert (plan.log_flow, plan.log_flow_whole, plan.scores) == (None, None, (None,))


def test_what_is_fixed_stays(widening):
    frames = np.zeros((1, 2, 16), np.float32)
    plans = [random_layers(widening, frames, Budget(keep=2), seed=seed) for seed in range(4)]
    (fixed,) = plans[0].fixed
    assert all(fixed in plan.kept and len(plan.kept) == 2 for plan in plans)
    assert random_layers(widening, frames, Budget(keep=1), seed=0).kept == (fixed,)


def test_a_plan_is_a_plan(model, frames):
    plan = random_layers(model, frames, Budget(keep=4), seed=3)
    assert plan_from_json(plan.to_json()) == plan
    assert plan == random_layers(model, frames, Budget(keep=4), seed=3)
    assert plan.log_flow == pytest.approx(log_flow(model, plan.kept, (2, 64)), rel=1e-12)
    assert cost(apply_plan(plan, model), (2, 64)).macs == plan.macs_left


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"keep": 10}, "asks for 10 units of 9"),
        ({"macs_cut": 0.999}, "the nearest keeps 1 of 9 .*, or prune channels as well"),
        ({}, "one of keep, macs_cut, params_cut, latency; got none"),
    ],
)
def test_what_cannot_be_planned_is_refused(model, frames, asked, message):
    with pytest.raises(PlanError, match=message):
        random_layers(model, frames, Budget(**asked), seed=0)


@pytest.mark.parametrize("seed", [None, -1, 1.0, True, "1"])
def test_a_seed_is_a_whole_number(model, frames, seed):
    with pytest.raises(PlanError, match="expected a whole number from 0"):
        random_layers(model, frames, Budget(keep=3), seed=seed)


def test_frames_with_nan_are_refused(model, frames):
    frames[:2] = np.nan
    with pytest.raises(PlanError, match="2 of 32 frames hold NaN"):
        random_layers(model, frames, Budget(keep=3), seed=0)
