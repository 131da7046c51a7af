import warnings

import pytest
import torch
from torch import nn

from toolchain.cost import cost
from toolchain.models import create_model


def test_a_small_net_is_counted_as_by_hand():
    net = nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1),  # 2*4*3 + 4 = 28 parameters; 8 samples * 4 * 6 = 192 MACs
        nn.BatchNorm1d(4),  # 8 parameters
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 3),  # 99 parameters, 96 MACs
    )
    found = cost(net, (2, 8))
    assert [(layer.name, layer.params, layer.macs, layer.activations) for layer in found.layers] == [
        ("0", 28, 192, 32),
        ("1", 8, 0, 32),
        ("4", 99, 96, 3),
    ]
    assert (found.params, found.macs, found.flops) == (135, 288, 576)


def test_grouped_and_strided_convolutions_count_their_own_products():
    net = nn.Conv1d(4, 8, 5, stride=2, groups=2, bias=False)  # 8 * (4/2) * 5 = 80 a sample, 6 samples
    assert cost(net, (4, 16)).macs == 480


@pytest.mark.parametrize("name", ["resnet1d20", "resnet1d56"])
def test_macs_agree_with_fvcore_on_the_products(name):
    with warnings.catch_warnings():
        # fvcore is used as the witness, whatever it uses of torch.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        model = create_model(name).eval()
        analysis = FlopCountAnalysis(model, torch.zeros(1, 2, 128)).unsupported_ops_warnings(False)
        by_operator = analysis.by_operator()
    # fvcore's "flop" is a multiply-accumulate; it also counts BatchNorm and pooling, which the convention leaves out.
    assert cost(model, (2, 128)).macs == by_operator["conv"] + by_operator["linear"]


def test_a_layer_of_an_unknown_kind_is_listed_not_silently_zero():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.factor

    found = cost(nn.Sequential(nn.Conv1d(2, 2, 1), Scaled()), (2, 4))
    assert found.uncounted == ("1",)
    assert found.params == 7


def test_counting_leaves_the_model_as_it_was():
    model = create_model("resnet1d20").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cost(model, (2, 128))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_units_share_is_what_lies_inside_it():
    model = create_model("resnet1d20")
    found = cost(model, (2, 128))
    unit = found.within("stages.1.0")
    assert unit.params == 16 * 32 * 3 + 32 * 32 * 3 + 2 * 64 + 16 * 32 + 64
    assert unit.macs == (16 * 32 * 3 + 32 * 32 * 3 + 16 * 32) * 64
    assert found.within("stages.1.00").params == 0
