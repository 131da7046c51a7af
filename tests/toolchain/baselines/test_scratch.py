import pytest
import torch
from torch import nn

from toolchain.baselines import criterion_of, from_scratch, scope_of, thinned
from toolchain.errors import PlanError
from toolchain.models import create_model

SHAPE = (2, 64)


def test_the_shape_stays_and_the_weights_are_drawn_by_the_seed(model):
    thinner = thinned(model, SHAPE, criterion_of("l1").scores(model, None, 0), 0.5, scope_of(model, SHAPE))
    first, again, other = (from_scratch(thinner, seed).state_dict() for seed in (1, 1, 2))
    assert {name: tensor.shape for name, tensor in first.items()} == {
        name: tensor.shape for name, tensor in thinner.state_dict().items()
    }
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])
    # BatchNorm knows nothing of what it saw.
    assert (first["stem.1.weight"] == 1).all()
    assert (first["stem.1.running_mean"] == 0).all()
    assert (first["stem.1.running_var"] == 1).all()


def test_of_a_whole_architecture_it_is_what_the_zoo_makes():
    made = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(7)).state_dict()
    drawn = from_scratch(create_model("resnet1d20", 5, 64), 7).state_dict()
    assert all(torch.equal(made[name], drawn[name]) for name in made)


def test_a_module_that_does_not_say_how_it_starts_is_told():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    with pytest.raises(PlanError, match="Scale cannot start from scratch: no rule draws the weights of Scale"):
        from_scratch(Scale(), 0)
