import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.models.residual import ResidualUnit
from toolchain.pruning import (
    Budget,
    Choices,
    apply_plan,
    check_budget,
    find_units,
    log_flow,
    plan_layers,
    plan_on,
    segment,
    similarity_matrix,
)


def test_a_plan_follows_the_method(model, frames):
    plan = plan_layers(model, frames, keep=4, blocks=3)
    matrix = similarity_matrix(model, frames, plan.units)
    assert plan.boundaries == segment(matrix, 3).boundaries
    assert len(plan.kept) == 4
    assert all(any(index in block for index in plan.kept) for block in plan.blocks)
    assert plan.log_flow == pytest.approx(log_flow(model, plan.kept, (2, 64)), rel=1e-12)
    assert plan.log_flow < plan.log_flow_whole == pytest.approx(log_flow(model, range(9), (2, 64)), rel=1e-12)
    assert plan.settings["keep"] == 4


def test_the_flow_of_units_that_were_named_is_theirs(model, frames):
    named = ["stages.0.*", "stages.2.1"]
    plan = plan_layers(model, frames, keep=2, units=named)
    assert len(plan.units) == 4
    assert plan.log_flow == pytest.approx(log_flow(model, plan.kept, (2, 64), named), rel=1e-12)


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
        ({}, "one of keep, macs_cut, params_cut, latency; got none"),
        ({"keep": 3, "macs_cut": 0.5}, "got keep = 3, macs_cut = 0.5"),
        ({"macs_cut": 1.0}, "macs_cut = 1.0: expected a fraction over 0 and under 1"),
        ({"keep": 3, "score": "taylor"}, 'score "taylor" is not one of synflow, medoid, l1, random'),
        ({"keep": 3, "score": "medoid", "direction": "min"}, 'score "medoid" has no direction'),
        ({"keep": 3, "similarity": "cca"}, 'similarity "cca" is not one of cka, cosine, rsa'),
        (
            {"keep": 3, "blocks": 4},
            "keep = 3 keeps 3 of 9 units, but each of 4 blocks keeps one at least; expected 4 to 9",
        ),
        ({"keep": 3, "blocks": 10}, 'expected "auto" or a number from 1 to the 9 units'),
        ({"keep": 3, "blocks": "some"}, 'expected "auto" or a number'),
        ({"keep": 3, "blocks": True}, 'blocks = True: expected "auto" or a number'),
        ({"keep": 3, "blocks": 2.0}, 'blocks = 2.0: expected "auto" or a number'),
        ({"keep": 3, "seed": -1}, "seed = -1: expected a whole number from 0"),
        ({"keep": 3, "units": [1]}, "expected globs of module paths"),
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


def test_planning_is_the_same_every_time_and_leaves_the_model_alone(model, frames):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert plan_layers(model, frames, keep=3) == plan_layers(model, frames.copy(), keep=3)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_pruned_model_can_be_pruned_further(model, frames, without_units):
    once = without_units(model, ["stages.1.0", "stages.2.1"])
    again = plan_layers(once, frames, keep=3)
    # What the reduced transition left is no unit: it would count among those that are kept.
    assert [unit.name for unit in again.units][3:5] == ["stages.1.1", "stages.1.2"]
    assert (len(again.units), len(again.kept)) == (7, 3)
    assert apply_plan(again, once)(torch.from_numpy(frames)).shape == (32, 5)


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("what", ["macs", "params"])
def test_a_cut_is_met_and_no_dropped_unit_could_be_put_back(model, frames, cut, what):
    plan = plan_layers(model, frames, **{f"{what}_cut": cut})
    whole, left = (getattr(cost(made, (2, 64)), what) for made in (model, apply_plan(plan, model)))
    assert left <= (1 - cut) * whole
    assert left == getattr(plan, f"{what}_left")
    for index in set(range(9)) - set(plan.kept):
        more = replace(plan, kept=tuple(sorted((*plan.kept, index))))
        assert getattr(more, f"{what}_left") > (1 - cut) * whole
    # The number that is shared out in proportion is the largest that fits.
    for keep in range(len(plan.kept) + 1, 10):
        assert getattr(plan_layers(model, frames, keep=keep), f"{what}_left") > (1 - cut) * whole


@pytest.mark.parametrize("score", ["synflow", "medoid", "l1", "random"])
def test_a_cut_that_any_plan_meets_is_met(model, frames, score):
    # One unit of the first stage alone, the cheapest: what every score would rather keep, too, may be too dear.
    units, whole = find_units(model, frames), cost(model, (2, 64))
    most = 1 - (whole.macs - sum(unit.macs - unit.shortcut_macs for unit in units[1:])) / whole.macs
    plan = plan_layers(model, frames, macs_cut=most, score=score)
    assert len(plan.kept) == 1
    assert plan.macs_left == pytest.approx((1 - most) * whole.macs)
    nearest = f"nearest keeps 1 of 9 units and removes {most:.2%}: ask for at most macs_cut = {int(most * 1e4) / 1e4}"
    with pytest.raises(PlanError, match=re.escape(nearest)):
        plan_layers(model, frames, macs_cut=most + 1e-3, score=score)
    with pytest.raises(PlanError, match=r"no plan of 3 blocks removes more than .* ask for less, or for fewer blocks"):
        check_budget(units, whole, Budget(macs_cut=0.99), 3)
    # What is checked before any work says the same.
    with pytest.raises(PlanError, match=re.escape(nearest)):
        check_budget(units, whole, Budget(macs_cut=most + 1e-3), "auto")


@pytest.mark.parametrize("score", ["synflow", "medoid", "l1", "random"])
def test_every_score_keeps_as_many_units_of_each_block(model, frames, score):
    plan = plan_layers(model, frames, keep=5, blocks=3, score=score)
    base = plan_layers(model, frames, keep=5, blocks=3)
    shares = [[sum(index in block for index in each.kept) for block in each.blocks] for each in (plan, base)]
    assert shares[0] == shares[1]
    assert plan.scored_by == (score,) * 3
    assert plan.log_flow <= base.log_flow + 1e-9
    assert apply_plan(plan, model)(torch.from_numpy(frames)).shape == (32, 5)


def test_random_choices_come_from_the_seed(model, frames):
    kept = {plan_layers(model, frames, keep=4, score="random", seed=seed).kept for seed in range(8)}
    assert len(kept) > 1
    assert (
        plan_layers(model, frames, keep=4, score="random", seed=3).kept
        == plan_layers(model, frames, keep=4, score="random", seed=3).kept
    )


def test_the_medoid_is_the_unit_in_the_middle_of_its_run(model, frames):
    plan = plan_layers(model, frames, keep=1, score="medoid")
    matrix = similarity_matrix(model, frames, plan.units)
    assert plan.kept == (int(((matrix - matrix.mean(axis=0)) ** 2).sum(axis=1).argmin()),)


def test_l1_keeps_the_units_of_the_largest_weights(model, frames):
    for name in ("stages.0.2", "stages.2.1"):
        for parameter in model.get_submodule(name).parameters():
            parameter.data *= 100
    plan = plan_layers(model, frames, keep=2, blocks=1, score="l1")
    assert [plan.units[index].name for index in plan.kept] == ["stages.0.2", "stages.2.1"]


def test_a_block_with_a_unit_that_has_no_linear_form_goes_by_the_medoid_and_says_so(gated, frames):
    plan = plan_layers(gated, frames, keep=4, blocks=3)
    expected = tuple("medoid" if 4 in block else "synflow" for block in plan.blocks)
    assert plan.scored_by == expected
    assert set(expected) == {"medoid", "synflow"}


def test_numbers_of_numpy_are_taken_as_pythons(model, frames):
    plan = plan_layers(model, frames, keep=np.int64(4), blocks=np.int64(2), score="random", seed=np.int32(1))
    assert plan == plan_layers(model, frames, keep=4, blocks=2, score="random", seed=1)
    assert json.loads(json.dumps(plan.to_json()))["settings"]["keep"] == 4
    assert json.dumps(plan_layers(model, frames, macs_cut=np.float32(0.5)).to_json())


def test_frames_may_be_a_tensor_or_of_float64(model, frames):
    plan = plan_layers(model, frames, keep=4)
    assert plan_layers(model, torch.from_numpy(frames), keep=4) == plan
    assert plan_layers(model, frames.astype(np.float64), keep=4) == plan


def test_planning_leaves_the_frames_alone_where_the_model_works_in_place(model, frames):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, iq):
            return self.inner(iq.mul_(2.0))

    before = frames.copy()
    plan_layers(InPlace().eval(), frames, keep=4)
    assert np.array_equal(frames, before)


def test_frames_that_hold_nan_are_counted(model, frames):
    frames[[3, 5], 0, 7] = np.nan, np.inf
    with pytest.raises(PlanError, match="2 of 32 frames hold NaN or infinity"):
        plan_layers(model, frames, keep=4)


def test_weights_that_hold_nan_are_named(model, frames):
    units, matrix = find_units(model, frames), np.eye(9)
    model.stages[1][0].branch[0].weight.data[0, 0, 0] = np.nan
    with pytest.raises(PlanError, match=r"stages.1.0.branch.0.weight of ResNet1d holds NaN"):
        plan_layers(model, frames, keep=4)
    with pytest.raises(PlanError, match=r"stages.1.0.branch.0.weight of ResNet1d holds NaN"):
        plan_on(matrix, model, frames, units, Choices(budget=Budget(keep=4), blocks=2, score="medoid"))


def test_similarities_of_other_units_are_refused(model, frames):
    with pytest.raises(PlanError, match=r"got shape \(3, 3\), expected a row and a column for 9 units"):
        plan_on(
            np.eye(3),
            model,
            frames,
            find_units(model, frames),
            Choices(budget=Budget(keep=4), blocks=2, score="medoid"),
        )


def test_layers_that_are_alike_but_for_rounding_are_one_block(model, frames):
    noise = np.random.default_rng(0).normal(scale=1e-7, size=(9, 9))
    plan = plan_on(
        1.0 - abs(noise), model, frames, find_units(model, frames), Choices(budget=Budget(keep=6), score="medoid")
    )
    assert plan.boundaries == (0,)


def test_a_budget_is_checked_with_the_tolerance_that_planning_has(model, frames):
    units, whole = find_units(model, frames), cost(model, (2, 64))
    with pytest.raises(PlanError, match="ask for at most macs_cut") as error:
        check_budget(units, whole, Budget(macs_cut=0.999), "auto")
    nearest = float(re.search(r"at most macs_cut = ([\d.]+)", str(error.value))[1])
    check_budget(units, whole, Budget(macs_cut=nearest), "auto")
    saved = sorted((unit.macs - unit.shortcut_macs for unit in units), reverse=True)
    check_budget(units, whole, Budget(macs_cut=sum(saved[:8]) / whole.macs + 1e-13), "auto")


@pytest.mark.parametrize("blocks", [0, 10, True, "some"])
def test_blocks_are_checked_before_any_work(model, frames, blocks):
    with pytest.raises(PlanError, match='expected "auto" or a number from 1 to the 9 units'):
        check_budget(find_units(model, frames), cost(model, (2, 64)), Budget(keep=4), blocks)


class ComplexNet(nn.Module):
    """Residual layers on complex samples, as complex-valued receivers have them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(1, 1, 3, padding=1, dtype=torch.complex64) for _ in range(4))
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        z = torch.complex(x[:, 0:1], x[:, 1:2])
        for layer in self.layers:
            z = (z + layer(z)).conj()
        return self.head(z.conj().abs().flatten(1))


def test_a_complex_network_is_planned_by_its_medoids(frames):
    model = ComplexNet()
    units = find_units(model, frames)
    assert [unit.name for unit in units] == ["layers.0", "layers.1", "layers.2", "layers.3"]
    # What only the imaginary part holds counts too: turning the samples by 90 degrees changes no similarity.
    turned = np.stack([-frames[:, 1], frames[:, 0]], axis=1)
    with torch.no_grad():
        for layer in model.layers:
            layer.bias.zero_()
    assert np.allclose(similarity_matrix(model, frames, units), similarity_matrix(model, turned, units), atol=1e-5)
    plan = plan_layers(model, frames, keep=2)
    assert set(plan.scored_by) == {"medoid"}
    # Whatever stands in for its units flows the same, whichever stay.
    assert (plan.log_flow, plan.log_flow_whole, plan.scores) == (None, None, (None,) * len(plan.boundaries))
    assert apply_plan(plan, model)(torch.from_numpy(frames)).shape == (32, 3)


def test_planning_tells_how_far_it_is(model, frames):
    told = []
    plan_layers(model, frames, macs_cut=0.5, progress=lambda done, total, note: told.append((done, total, note)))
    assert {total for _, total, _ in told} == {18}
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[0] == (0, 18, "comparing units")
    assert told[9] == (9, 18, "comparing units")
    assert told[-1][0] < 18
    assert told[-1][2] == "selecting units"
