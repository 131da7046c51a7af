import pytest
import torch
from torch import nn

from toolchain.errors import ModelError
from toolchain.models import without_units


def test_dropping_a_unit_is_the_same_as_a_branch_that_gives_zero(model, frames):
    thinner = without_units(model, ["stages.0.1", "stages.1.0"])
    silenced = without_units(model, [])
    for name in ("stages.0.1", "stages.1.0"):
        norm = silenced.get_submodule(f"{name}.branch.4")
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        assert torch.equal(thinner(iq), silenced(iq))


def test_a_dropped_unit_leaves_an_identity_and_a_transition_its_shortcut_with_its_weights(model):
    thinner = without_units(model, ["stages.0.1", "stages.1.0"])
    assert isinstance(thinner.stages[0][1], nn.Identity)
    kept = thinner.state_dict()
    assert torch.equal(kept["stages.1.0.shortcut.0.weight"], model.state_dict()["stages.1.0.shortcut.0.weight"])
    assert not any(name.startswith("stages.1.0.branch") for name in kept)


def test_the_original_is_left_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    thinner = without_units(model, ["stages.1.0"])
    nn.init.zeros_(thinner.stages[1][0].shortcut[0].weight)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", ["stages.7.0", "stem", "head.2"])
def test_what_is_no_unit_cannot_be_dropped(model, name):
    with pytest.raises(ModelError, match=f'cannot drop "{name}"'):
        without_units(model, [name])
