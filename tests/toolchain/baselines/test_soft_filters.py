import pytest
import torch
from torch.nn import functional as F

from toolchain.baselines import criterion_of, scope_of, softly, thinned

SHAPE = (2, 64)


def silent(layer):
    return (layer.weight.flatten(1) == 0).all(dim=1)


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_what_was_set_to_nothing_is_what_is_taken_out(model, ratio):
    scope = scope_of(model, SHAPE)
    model.train()
    softly(SHAPE, ratio, scope)(model)
    assert all(module.training for module in model.modules())
    model.eval()
    for layer in (model.stem[0], model.stages[1][1].branch[0], model.stages[2][0].branch[3]):
        assert silent(layer).sum() == ratio * layer.out_channels
    thinner = thinned(model, SHAPE, criterion_of("l2").scores(model, None, 0), ratio, scope)
    left = model.stem[0].weight[~silent(model.stem[0])]
    assert torch.equal(thinner.stem[0].weight, left)
    assert not silent(thinner.stages[1][1].branch[0]).any()


def test_filters_that_were_set_to_nothing_learn_and_some_come_back(model):
    frames = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64) % 5
    after_epoch = softly(SHAPE, 0.5, scope_of(model, SHAPE))
    after_epoch(model)
    layers = [unit.branch[0] for stage in model.stages for unit in stage]
    first = [silent(layer) for layer in layers]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for _ in range(5):
        optimiser.zero_grad()
        F.cross_entropy(model(frames), labels).backward()
        optimiser.step()
    after_epoch(model)
    now = [silent(layer) for layer in layers]
    assert all(each.sum() == was.sum() for each, was in zip(now, first, strict=True))
    assert any((was & ~each).any() for each, was in zip(now, first, strict=True))


def test_nothing_is_left_of_gradients_and_shapes_stay(model):
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    softly(SHAPE, 0.5, scope_of(model, SHAPE))(model)
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes
    assert all(parameter.requires_grad for parameter in model.parameters())
