import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from toolchain.errors import ModelError, PlanError
from toolchain.models import create_model
from toolchain.models.residual import ResidualUnit
from toolchain.pruning import find_units, log_flow, synflow_scores

SHAPE = (2, 64)


def linearised(model):
    """A linear copy, made module by module: |weights|, no biases, BatchNorm's mean and shift gone, no scaling."""
    linear = copy.deepcopy(model).double().eval()
    linear.scaling = nn.Identity()
    for module in linear.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.zero_()
        if isinstance(module, nn.Conv1d | nn.Linear | nn.BatchNorm1d):
            module.weight.data.abs_()
            if module.bias is not None:
                module.bias.data.zero_()
    return linear


def flow(model):
    """R without logarithms: feed ones, sum the logits of the linear copy."""
    return linearised(model)(torch.ones(1, *SHAPE, dtype=torch.float64)).sum().detach()


def names(model):
    return [unit.name for unit in find_units(model, np.zeros((1, *SHAPE), np.float32))]


def test_the_flow_of_a_tiny_net_is_as_by_hand():
    # One channel pair in, a stem of weight 2 without bias, one unit that adds |-3| times its input, a head that
    # averages four samples and weighs the two channels by 1 and |-1|:  2 * (1 + 3) * (1 + 1) = 16.
    stem, inner, head = nn.Conv1d(2, 2, 1, groups=2), nn.Conv1d(2, 2, 1, groups=2), nn.Linear(2, 1)
    for layer, weight in ((stem, [[[2.0]], [[-2.0]]]), (inner, [[[-3.0]], [[3.0]]]), (head, [[1.0, -1.0]])):
        layer.weight.data = torch.tensor(weight)
        layer.bias.data.fill_(7.0)
    net = nn.Sequential(
        stem, ResidualUnit(nn.Sequential(inner), nn.Identity()), nn.AdaptiveAvgPool1d(1), nn.Flatten(), head
    )
    assert log_flow(net, [0], (2, 4)) == pytest.approx(math.log(16), rel=1e-12)
    assert log_flow(net, [], (2, 4)) == pytest.approx(math.log(4), rel=1e-12)
    assert synflow_scores(net, (2, 4))[0] == pytest.approx(math.log(12), rel=1e-12)


def test_batchnorm_counts_as_its_positive_scale_in_evaluation_form():
    norm = nn.BatchNorm1d(2)
    norm.weight.data, norm.bias.data = torch.tensor([-6.0, 1.0]), torch.tensor([100.0, 100.0])
    norm.running_mean, norm.running_var = torch.tensor([5.0, 5.0]), torch.tensor([4.0, 1.0]) - norm.eps
    unit = nn.Conv1d(2, 2, 1, groups=2, bias=False)
    unit.weight.data.fill_(1.0)
    # (6 / 2 + 1 / 1) channels, 3 samples each.
    net = nn.Sequential(norm, ResidualUnit(unit, nn.Identity()), nn.Flatten())
    assert log_flow(net, [], (2, 3)) == pytest.approx(math.log(12), rel=1e-6)


def test_a_units_score_is_autograds_sum_of_weight_times_gradient(model):
    linear = linearised(model)
    for parameter in linear.parameters():
        parameter.requires_grad_()
    linear(torch.ones(1, *SHAPE, dtype=torch.float64)).sum().backward()
    scores = synflow_scores(model, SHAPE)
    for index, name in enumerate(names(model)):
        for layer in (0, 3):  # both convolutions of the branch carry the same flow
            weight = linear.get_submodule(name).branch[layer].weight
            expected = (weight * weight.grad).sum().log().item()
            assert scores[index] == pytest.approx(expected, rel=1e-9)


def test_a_units_score_is_the_flow_with_it_less_the_flow_without_it(model, without_units):
    whole = flow(model)
    for score, name in zip(synflow_scores(model, SHAPE), names(model), strict=True):
        without = flow(without_units(model, [name]))
        assert math.exp(score) == pytest.approx(float(whole - without), rel=1e-9)


def test_the_flow_of_what_is_kept_is_that_of_the_pruned_model(model, without_units):
    units = names(model)
    for keep in ([], [0, 4, 8], [3, 6], list(range(9))):
        dropped = [name for index, name in enumerate(units) if index not in keep]
        expected = math.log(flow(without_units(model, dropped)))
        assert log_flow(model, keep, SHAPE) == pytest.approx(expected, rel=1e-12)


def test_depth_neither_overflows_nor_underflows():
    made = create_model("resnet1d110", classes=5, length=64, generator=torch.Generator().manual_seed(0)).eval()
    for factor, sign in ((1e4, 1), (1e-7, -1)):
        for module in made.modules():
            if isinstance(module, ResidualUnit):
                module.branch[4].weight.data.fill_(factor)
                if isinstance(module.shortcut, nn.Identity):
                    module.shortcut = nn.Sequential(
                        nn.Conv1d(module.branch[0].in_channels, module.branch[0].in_channels, 1)
                    )
                nn.init.constant_(module.shortcut[0].weight, factor)
        found = log_flow(made, range(54), SHAPE)
        assert math.isfinite(found)
        # Far outside what float64 can hold without the logarithm: e^709.
        assert sign * found > 500
        assert np.isfinite(synflow_scores(made, SHAPE)).all()


def test_no_flow_is_minus_infinity(model):
    nn.init.zeros_(model.head[2].weight)
    assert log_flow(model, range(9), SHAPE) == -math.inf
    assert (synflow_scores(model, SHAPE) == -math.inf).all()


def test_scoring_leaves_the_model_bit_identical(model):
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    synflow_scores(model, SHAPE)
    log_flow(model, [0, 1], SHAPE)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_a_gate_has_no_linear_form_and_is_named(model):
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    model.stages[1][1].branch.insert(2, Gate())
    scores = synflow_scores(model, SHAPE)
    assert np.isnan(scores[4])
    assert np.isfinite(np.delete(scores, 4)).all()
    with pytest.raises(PlanError, match=r"no linear form for stages\.1\.1\.branch\.2 \(mul\): a product of two values"):
        log_flow(model, range(9), SHAPE)


@pytest.mark.parametrize("keep", [[0, 9, -1], [0.5, 1.5], "abc", [True]])
def test_what_is_no_unit_cannot_be_kept(model, keep):
    with pytest.raises(PlanError, match=r"keep = \[.*\]: expected indices of the model's units, 0 to 8"):
        log_flow(model, keep, SHAPE)


@pytest.mark.parametrize("shape", [(2, 0), 64])
def test_what_is_no_shape_is_refused(model, shape):
    with pytest.raises(ModelError, match=r"expected \(2, length\)"):
        synflow_scores(model, shape)
