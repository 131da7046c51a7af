import sys

import numpy as np
import pytest
import torch
from torch import nn

from toolchain.baselines import Sample, sr_init
from toolchain.baselines.sr_init import drawn_anew
from toolchain.errors import PlanError
from toolchain.models import create_model
from toolchain.models.residual import ResidualUnit
from toolchain.pruning import Budget, find_units


@pytest.fixture
def sample(model, frames):
    """Frames whose labels are what the model says of them: it is always right."""
    with torch.no_grad():
        labels = model(torch.from_numpy(frames)).argmax(dim=1).numpy()
    return Sample(frames=frames, labels=labels)


def test_what_goes_with_a_unit_is_drawn_anew_and_the_rest_stays(model, frames):
    units = find_units(model, frames)
    (reducible,) = [unit for unit in units if unit.name == "stages.1.0"]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    anew = drawn_anew(model, reducible, seed=1).state_dict()
    changed = {name for name, tensor in anew.items() if not torch.equal(tensor, before[name])}
    assert all(name.startswith("stages.1.0.branch.") for name in changed)
    assert {"stages.1.0.branch.0.weight", "stages.1.0.branch.4.running_var"} <= changed
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_equal_seeds_draw_equal_weights_and_the_global_generator_stays(model, frames):
    unit = find_units(model, frames)[0]
    state = torch.get_rng_state()
    first, again, other = (drawn_anew(model, unit, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_equal_seeds_make_equal_plans(model, sample):
    plan = sr_init(model, sample, Budget(keep=4), seed=0)
    assert plan == sr_init(model, sample, Budget(keep=4), seed=0)
    assert plan.scored_by == ("sr-init",)


def test_the_unit_that_is_missed_most_stays(model, sample, monkeypatch):
    def share(drawn, frames, labelled):
        # The unit whose weights are no longer the model's.
        names = [
            name for name, tensor in model.named_parameters() if not torch.equal(tensor, drawn.get_parameter(name))
        ]
        return {"stages.1.2": 0.1, "stages.2.0": 0.2}.get(".".join(names[0].split(".")[:3]), 0.9)

    monkeypatch.setattr(sys.modules[drawn_anew.__module__], "_share_right", share)
    plan = sr_init(model, sample, Budget(keep=2), seed=0)
    assert [plan.units[index].name for index in plan.kept] == ["stages.1.2", "stages.2.0"]


def test_attention_is_drawn_anew_too():
    model = create_model("transformer", 5, 64, generator=torch.Generator().manual_seed(0)).eval()
    frames = np.zeros((2, 2, 64), np.float32)
    unit = find_units(model, frames)[0]
    anew = drawn_anew(model, unit, seed=1)
    assert not torch.equal(anew.layers[0].self_attn.in_proj_weight, model.layers[0].self_attn.in_proj_weight)
    assert torch.equal(anew.layers[1].self_attn.in_proj_weight, model.layers[1].self_attn.in_proj_weight)


def test_a_module_that_does_not_say_how_it_starts_is_told(frames):
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(2, 1))

        def forward(self, x):
            return torch.relu(x * self.factor)

    units = [ResidualUnit(nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), Scale()), nn.Identity()) for _ in range(2)]
    model = nn.Sequential(*units, nn.Flatten(), nn.Linear(128, 5)).eval()
    with pytest.raises(PlanError, match="no rule draws the weights of Scale"):
        sr_init(model, Sample(frames=frames, labels=np.zeros(32, np.int64)), Budget(keep=1), seed=0)
