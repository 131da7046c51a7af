import json

import pytest
from torch import nn

from toolchain.errors import PlanError
from toolchain.models import create_model
from toolchain.pruning import apply_plan, plan_from_json, plan_layers


@pytest.fixture
def plan(model, frames):
    return plan_layers(model, frames, keep=4, blocks=2)


@pytest.fixture
def written(plan):
    return json.loads(json.dumps(plan.to_json()))


def test_a_plan_comes_back_from_json(plan, written):
    assert plan_from_json(written) == plan
    assert plan_from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "a newer thinwave wrote it"),
        ({"schema": 1}, "plan again"),
        ({"kept": [99]}, "kept holds .99., expected rising indices of its 9 units"),
        ({"kept": []}, "kept holds"),
        ({"kept": [1, 1, 2]}, "kept holds"),
        ({"kept": [2, 1]}, "kept holds"),
        ({"kept": [-1, 1]}, "kept holds"),
        ({"kept": None}, "no pruning plan: kept is None"),
        ({"boundaries": []}, "boundaries are"),
        ({"boundaries": [1, 2]}, "boundaries are .1, 2., expected rising indices from 0, under 9"),
        ({"boundaries": [0, 0]}, "boundaries are"),
        ({"boundaries": [0, True]}, "boundaries.1 is True"),
        ({"scores": [1.0]}, "scores has 1 entries for 2 blocks"),
        ({"scored_by": ["synflow"] * 3}, "scored_by has 3 entries for 2 blocks"),
        ({"candidate_log_flows": [[]]}, "candidate_log_flows has 1 entries"),
        ({"candidate_log_flows": [["a"], []]}, "candidate_log_flows.0.0 is 'a'"),
        ({"losses": [1.0, -1.0]}, "losses are not all finite numbers from 0"),
        ({"losses": [float("nan")]}, "losses are not all finite"),
        ({"losses": ["1"]}, "losses.0 is '1'"),
        ({"log_flow": "much"}, "log_flow is 'much'"),
        ({"log_flow": float("inf")}, "a log-flow is not finite"),
        ({"params": 0}, "params = 0"),
        ({"macs": -5}, "macs = -5"),
        ({"macs": 1 << 80}, "macs = 1.21e"),
        ({"macs": 1.5}, "macs is 1.5"),
        ({"settings": []}, "settings is"),
        ({"settings": {"units": "layers"}}, "settings.units is 'layers', expected a list of names"),
        ({"settings": {"units": [1]}}, "settings.units is .1., expected a list of names"),
        ({"frame_shape": [2]}, "frame_shape is"),
        ({"frame_shape": [3, 64]}, "frame_shape is"),
        ({"frame_shape": [2, 0]}, "frame_shape is"),
        ({"frame_shape": [2, (1 << 20) + 1]}, "frame_shape is"),
        ({"units": []}, "kept holds"),
        ({"units": [{"name": "a"}]}, "no pruning plan: units.0"),
        ({"units": None}, "no pruning plan: units is None"),
        ({"model": [1]}, "no pruning plan: model is"),
        ({"colour": "red"}, "no pruning plan"),
    ],
)
def test_what_is_no_plan_is_refused(written, change, message):
    with pytest.raises(PlanError, match=message):
        plan_from_json({**written, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"reason": None},
        {"kind": "odd"},
        {"params": "many"},
        {"params": -1},
        {"macs": True},
        {"macs": 1 << 70},
        {"activation_bytes": -1},
        {"shortcut_macs": 0.5},
        {"shape": ["a"]},
        {"shape": [-1]},
        {"input_shape": 3},
        {"edits": [{"module": "a", "becomes": "larger"}]},
        {"edits": [{"module": "a", "becomes": "gone", "how": 1}]},
        {"surprise": 1},
    ],
)
def test_a_unit_that_is_none_is_refused(written, change):
    written["units"][1].update(change)
    with pytest.raises(PlanError, match="no pruning plan"):
        plan_from_json(written)


@pytest.mark.parametrize("values", [None, [], "plan", 3, {}, {"schema": 2}, {"schema": 2, "kept": {1, 2}}])
def test_other_values_are_no_plan(values):
    with pytest.raises(PlanError, match="this is no pruning plan"):
        plan_from_json(values)


def test_edits_that_are_not_the_models_own_are_refused(model, plan, written):
    gone = next(index for index, unit in enumerate(plan.units) if index not in plan.kept)
    written["units"][gone]["edits"] = [{"module": "head.2", "becomes": "identity"}]
    with pytest.raises(PlanError, match=f"dropping {plan.units[gone].name} is written otherwise in the plan"):
        apply_plan(plan_from_json(written), model)


def test_a_plan_for_frames_that_the_model_cannot_take_is_refused(plan, written):
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(128, 128), nn.Linear(128, 5))

        def forward(self, iq):
            return self.layers(iq)

    with pytest.raises(PlanError, match="for a model of 9 units; "):
        apply_plan(plan_from_json({**written, "frame_shape": [2, 63]}), Dense())


def test_a_plan_is_for_its_model_and_once(model, plan):
    with pytest.raises(PlanError, match=r"for a model of 9 units, this one has 27; stages.0.3 is removable with"):
        apply_plan(plan, create_model("resnet1d56"))
    # The same units, and another head.
    with pytest.raises(PlanError, match=r"the plan is for a model of [\d,]+ parameters and [\d,]+ MACs, this one has "):
        apply_plan(plan, create_model("resnet1d20", classes=7, length=64))
    with pytest.raises(PlanError, match=r"for a model of 9 units, .*; it lacks"):
        apply_plan(plan, apply_plan(plan, model))
    with pytest.raises(PlanError, match=r"for a model of 9 units; .* has no unit that can be dropped"):
        apply_plan(plan, nn.Sequential(nn.Flatten(), nn.Linear(128, 5)))
