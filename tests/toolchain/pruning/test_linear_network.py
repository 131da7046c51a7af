import math

import numpy as np
import pytest
import torch
from torch import nn

from toolchain.models.residual import ResidualUnit
from toolchain.pruning import log_flow, synflow_scores


def flow_of(*modules, keep=(0,), shape=(2, 4)):
    """R of the modules, then one unit that adds its input to itself, then the sum of all."""
    unit = nn.Conv1d(2, 2, 1, groups=2, bias=False)
    unit.weight.data.fill_(1.0)
    net = nn.Sequential(*modules, ResidualUnit(unit, nn.Identity()), nn.Flatten()).eval()
    return math.exp(log_flow(net, keep, shape))


def filled(module, value):
    for name, parameter in module.named_parameters():
        parameter.data.fill_(7.0 if name.endswith("bias") else value)
    return module


def test_without_anything_before_it_the_unit_doubles_eight_ones():
    assert flow_of() == pytest.approx(16)
    assert flow_of(keep=()) == pytest.approx(8)


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.ELU(), nn.LeakyReLU(), nn.PReLU(), nn.Hardswish(),
     nn.Softplus(), nn.Mish(), nn.ReLU6(), nn.Dropout(), nn.ReLU(inplace=True)],
)  # fmt: skip
def test_activations_pass_all_through(activation):
    assert flow_of(activation) == pytest.approx(16)


def test_weights_count_by_their_absolute_value_and_biases_do_not():
    assert flow_of(filled(nn.Conv1d(2, 2, 1), -3.0)) == pytest.approx(2 * 3 * 16)
    assert flow_of(filled(nn.Linear(4, 4), -3.0)) == pytest.approx(4 * 3 * 16)


def test_normalisation_is_its_positive_scale():
    assert flow_of(filled(nn.LayerNorm(4), -3.0)) == pytest.approx(3 * 16)
    assert flow_of(filled(nn.GroupNorm(2, 2), -3.0)) == pytest.approx(3 * 16)
    assert flow_of(nn.LayerNorm(4, elementwise_affine=False)) == pytest.approx(16)
    assert flow_of(filled(nn.RMSNorm(4), -3.0)) == pytest.approx(3 * 16)
    assert flow_of(nn.RMSNorm(4, elementwise_affine=False)) == pytest.approx(16)
    norm = filled(nn.BatchNorm1d(2, eps=0.0), -3.0)
    norm.running_var.fill_(4.0)
    assert flow_of(norm) == pytest.approx(1.5 * 16)


def test_max_pooling_averages():
    # Of 8 samples a channel 4 are left.
    assert flow_of(nn.MaxPool1d(2), shape=(2, 8)) == pytest.approx(16)
    assert flow_of(nn.AdaptiveMaxPool2d((2, 4)), shape=(2, 8)) == pytest.approx(16)


class Attention(nn.Module):
    """Attention over samples, by hand: softmax(q k) v."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (filled(nn.Linear(2, 2), value) for value in (5.0, -2.0, -3.0))

    def forward(self, x):
        x = x.transpose(1, 2)
        scores = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 2.0, dim=-1)
        return (scores @ self.v(x)).transpose(1, 2)


class Fused(Attention):
    def forward(self, x):
        x = x.transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x)).transpose(1, 2)


@pytest.mark.parametrize("attention", [Attention, Fused])
def test_attention_is_a_uniform_average_of_the_values(attention):
    # Each value is 2 * 3, and so is each average of them, whatever queries and keys are.
    assert flow_of(attention()) == pytest.approx(6 * 16)


def test_what_is_added_without_coming_from_the_input_is_a_bias():
    class Position(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.full((2, 4), 9.0))

        def forward(self, x):
            return x + self.position

    assert flow_of(Position()) == pytest.approx(16)


def test_the_score_of_an_encoder_layer_is_the_flow_with_it_less_the_flow_without_it():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(
                [nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True) for _ in range(3)]
            )

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x.flatten(1)

    net = Encoder().eval()
    scores = synflow_scores(net, (2, 4))
    whole = math.exp(log_flow(net, range(3), (2, 4)))
    for index in range(3):
        without = math.exp(log_flow(net, [other for other in range(3) if other != index], (2, 4)))
        assert math.exp(scores[index]) == pytest.approx(whole - without, rel=1e-9)


def test_every_layer_of_a_plain_chain_has_the_same_score():
    layers = [nn.Conv1d(2, 4, 3, padding=1), *[nn.Conv1d(4, 4, 3, padding=1) for _ in range(4)], nn.Flatten()]
    scores = synflow_scores(nn.Sequential(*layers), (2, 4))
    assert len(scores) == 4
    assert np.allclose(scores, scores[0], rtol=1e-12)


def test_a_branch_that_is_added_in_part_flows_in_part():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv1d(2, 2, 1, groups=2, bias=False)
            self.layer.weight.data.fill_(3.0)

        def forward(self, x):
            return torch.add(x, self.layer(x), alpha=-0.5).flatten(1)

    # 8 ones, each with half of 3 beside it.
    assert math.exp(log_flow(Scaled(), [0], (2, 4))) == pytest.approx(8 * (1 + 1.5))


def test_a_layer_whose_branches_both_give_nothing_has_no_flow_of_its_own():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8, batch_first=True) for _ in range(2)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x.flatten(1)

    net = Encoder().eval()
    nn.init.zeros_(net.layers[1].self_attn.out_proj.weight)
    nn.init.zeros_(net.layers[1].linear2.weight)
    scores = synflow_scores(net, (2, 4))
    assert np.isfinite(scores[0])
    assert scores[1] == -math.inf
