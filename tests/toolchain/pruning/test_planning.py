import json

import pytest
import torch

from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.models import create_model, without_units
from toolchain.models.residual import ResidualUnit
from toolchain.pruning import apply_plan, log_flow, plan_from_json, plan_layers, segment, similarity_matrix


def test_a_plan_follows_the_method(model, frames):
    plan = plan_layers(model, frames, keep=4, blocks=3)
    matrix = similarity_matrix(model, frames, plan.units)
    assert plan.boundaries == segment(matrix, 3).boundaries
    assert len(plan.kept) == 4
    assert all(any(index in block for index in plan.kept) for block in plan.blocks)
    assert plan.log_flow == pytest.approx(log_flow(model, plan.kept, (2, 64)), rel=1e-12)
    assert plan.log_flow < plan.log_flow_whole == pytest.approx(log_flow(model, range(9), (2, 64)), rel=1e-12)
    assert plan.settings["keep"] == 4


def test_the_sum_signature_is_the_rows_sum(model, frames):
    plan = plan_layers(model, frames, keep=4, blocks=3, signature="sum")
    matrix = similarity_matrix(model, frames, plan.units)
    assert plan.boundaries == segment(matrix.sum(axis=1, keepdims=True), 3).boundaries


def test_direction_min_keeps_less_flow_than_max(model, frames):
    most, least = (plan_layers(model, frames, keep=4, blocks=2, direction=way) for way in ("max", "min"))
    assert least.log_flow < most.log_flow


@pytest.mark.parametrize(("keep", "count"), [(0.25, 2), (0.5, 4), (1.0, 9), (9, 9), (1, 1)])
def test_a_fraction_is_rounded_to_units(model, frames, keep, count):
    assert len(plan_layers(model, frames, keep=keep).kept) == count


def test_an_automatic_number_of_blocks_shrinks_to_what_is_kept(model, frames):
    assert len(plan_layers(model, frames, keep=1).boundaries) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"keep": 10}, "asks for 10 units of 9: expected 1 to 9"),
        ({"keep": 0}, "expected 1 to 9"),
        ({"keep": 0.01}, "asks for 0 units of 9"),
        ({"keep": 1.5}, "expected a fraction"),
        ({"keep": 3, "blocks": 4}, "4 blocks keep at least 4 units, and keep asks for 3 of 9"),
        ({"keep": 3, "blocks": 10}, 'expected "auto" or a number from 1 to the 9 units'),
        ({"keep": 3, "blocks": "some"}, 'expected "auto" or a number'),
        ({"keep": 3, "signature": "column"}, 'signature "column" is not one of row, sum'),
    ],
)
def test_what_cannot_be_planned_is_refused_with_what_can(model, frames, asked, message):
    with pytest.raises(PlanError, match=message):
        plan_layers(model, frames, **asked)


def test_the_pruned_model_has_the_kept_units_with_their_weights(model, frames):
    plan = plan_layers(model, frames, keep=4)
    pruned = apply_plan(plan, model)
    left = [name for name, module in pruned.named_modules() if isinstance(module, ResidualUnit)]
    assert left == [plan.units[index].name for index in plan.kept]
    before, after = model.state_dict(), pruned.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    saved = sum(plan.units[index].params for index in range(9) if index not in plan.kept)
    shortcuts = sum(
        cost(pruned, (2, 64)).within(f"{unit.name}.shortcut").params
        for index, unit in enumerate(plan.units)
        if index not in plan.kept and unit.kind == "reducible"
    )
    assert cost(pruned, (2, 64)).params == cost(model, (2, 64)).params - saved + shortcuts


def test_keeping_all_units_gives_the_same_model(model, frames):
    pruned = apply_plan(plan_layers(model, frames, keep=9), model)
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        assert torch.equal(pruned(iq), model(iq))


def test_a_plan_comes_back_from_json(model, frames):
    plan = plan_layers(model, frames, keep=4)
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "a newer thinwave wrote it"),
        ({"kept": [99]}, "an index that is no unit"),
        ({"kept": None}, "no pruning plan"),
        ({"units": [{"name": "a"}]}, "no pruning plan"),
        ({"colour": "red"}, "no pruning plan"),
    ],
)
def test_what_is_no_plan_is_refused(model, frames, change, message):
    with pytest.raises(PlanError, match=message):
        plan_from_json({**plan_layers(model, frames, keep=4).to_json(), **change})


def test_a_plan_is_for_its_model_and_once(model, frames):
    plan = plan_layers(model, frames, keep=4)
    with pytest.raises(PlanError, match="for a model of 9 units, this one has 27; it has others"):
        apply_plan(plan, create_model("resnet1d56"))
    with pytest.raises(PlanError, match="for a model of 9 units, this one has 4; it lacks"):
        apply_plan(plan, apply_plan(plan, model))


def test_planning_is_the_same_every_time_and_leaves_the_model_alone(model, frames):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert plan_layers(model, frames, keep=3) == plan_layers(model, frames.copy(), keep=3)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_model_whose_transitions_were_reduced_is_not_planned_again(model, frames):
    once = without_units(model, ["stages.1.0", "stages.2.1"])
    with pytest.raises(PlanError, match=r"pruned already: stages\.1\.0 reduced; plan from the original"):
        plan_layers(once, frames, keep=3)


def test_a_model_without_some_removable_units_can_be_pruned_further(model, frames):
    once = without_units(model, ["stages.2.1"])
    twice = plan_layers(once, frames, keep=3)
    assert len(twice.units) == 8
    assert apply_plan(twice, once)(torch.from_numpy(frames)).shape == (32, 5)
