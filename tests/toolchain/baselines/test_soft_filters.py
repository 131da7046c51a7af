import pytest
import torch
import torch_pruning as tp
from torch import nn

from toolchain.baselines import scope_of, thinned
from toolchain.baselines.soft_filters import softly

SHAPE = (2, 64)


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_what_was_set_to_nothing_is_what_is_taken_out_and_that_changes_nothing(model, ratio):
    scope = scope_of(model, SHAPE)
    model.train()
    softly(SHAPE, ratio, scope)(model)
    assert model.training
    assert all(module.training for module in model.modules())
    model.eval()
    silent = (model.stem[0].weight.flatten(1) == 0).all(dim=1)
    assert silent.sum() == ratio * 16
    thinner = thinned(model, SHAPE, lambda _copy: tp.importance.GroupMagnitudeImportance(p=2), ratio, scope)
    assert thinner.stem[0].out_channels == 16 * (1 - ratio)
    frames = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(thinner(frames), model(frames), rtol=1e-4, atol=1e-5)


def test_shapes_stay_and_channels_can_come_back(model):
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    after_epoch = softly(SHAPE, 0.5, scope_of(model, SHAPE))
    after_epoch(model)
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes
    silent = (model.stem[0].weight.flatten(1) == 0).all(dim=1)
    # One that was set to nothing learns most, and another goes in its stead.
    back = int(silent.nonzero()[0])
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.BatchNorm1d) and module.weight.shape[0] == 16:
            nn.init.constant_(module.weight[back], 10.0)
    after_epoch(model)
    now = (model.stem[0].weight.flatten(1) == 0).all(dim=1)
    assert not now[back]
    assert now.sum() == 8
