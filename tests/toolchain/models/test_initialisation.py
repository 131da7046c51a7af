import pytest
import torch
from torch import nn

from toolchain.models import create_model
from toolchain.models.initialisation import initialise


def test_an_lstm_begins_by_remembering():
    layers = create_model("lstm2", generator=torch.Generator().manual_seed(0)).recurrent.layers
    for layer in range(2):
        bias = getattr(layers, f"bias_ih_l{layer}") + getattr(layers, f"bias_hh_l{layer}")
        assert [gate.unique().tolist() for gate in bias.chunk(4)] == [[0.0], [1.0], [0.0], [0.0]]


def test_a_module_without_a_rule_is_a_mistake_of_ours_and_said():
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match="no rule draws the weights of Gain"):
        initialise(nn.Sequential(Gain()), torch.Generator())


def test_without_batchnorm_values_do_not_grow_with_depth():
    model = create_model("cnn1d", generator=torch.Generator().manual_seed(0)).eval()
    iq = torch.randn(16, 2, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert 0.1 < model(iq).std() < 3
