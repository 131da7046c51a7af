import warnings

import pytest
import torch
from torch import nn

from toolchain.cost import cost
from toolchain.errors import ModelError
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
        ("1", 8, 0, 0),
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


def test_what_has_no_count_is_listed_not_silently_zero():
    class Triangle(nn.Module):
        def forward(self, x):
            return torch.linalg.qr(x).R

    found = cost(nn.Sequential(nn.Conv1d(2, 2, 1), Triangle()), (2, 4))
    assert found.uncounted == ("1 (aten.linalg_qr)",)
    assert (found.params, found.macs) == (6, 16)


class BiLSTM(nn.LSTM):
    """As somebody might call their own."""


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    ("module", "macs"),
    [
        # A step: gates * hidden * (inputs + hidden); 7 steps of 2 inputs.
        (nn.RNN(2, 5), 7 * 5 * (2 + 5)),
        (nn.GRU(2, 5), 7 * 3 * 5 * (2 + 5)),
        (nn.LSTM(2, 5), 7 * 4 * 5 * (2 + 5)),
        (BiLSTM(2, 5, bidirectional=True), 7 * 2 * 4 * 5 * (2 + 5)),
        # The second layer reads both directions of the first.
        (nn.GRU(2, 5, num_layers=2, bidirectional=True), 7 * 2 * (3 * 5 * (2 + 5) + 3 * 5 * (10 + 5))),
        # A projection to 3: the state is 3 wide, and 5 * 3 more products a step.
        (nn.LSTM(2, 5, num_layers=2, proj_size=3), 7 * ((4 * 5 * (2 + 3) + 15) + (4 * 5 * (3 + 3) + 15))),
    ],
)
def test_recurrent_layers_are_counted_by_their_formulas(module, macs):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            module.batch_first = True
            self.layers = module

        def forward(self, iq):
            return self.layers(iq.movedim(1, 2))[0].mean(1)

    found = cost(Recurrent(), (2, 7))
    assert found.macs == macs
    assert found.params == sum(parameter.numel() for parameter in module.parameters())
    assert found.uncounted == ()


def test_a_recurrent_cell_counts_every_step():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(2, 5)

        def forward(self, iq):
            state = iq.new_zeros(iq.shape[0], 5)
            for sample in iq.unbind(2):
                state = self.cell(sample, state)
            return state

    assert cost(Cell(), (2, 7)).macs == 7 * 3 * 5 * (2 + 5)


def test_an_encoder_layer_counts_projections_scores_and_averages():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, iq):
            return self.layer(iq.reshape(iq.shape[0], -1, 8)).mean(1)

    # 6 tokens, 8 wide: Q, K, V and out 4 * 8 * 8 a token, scores and averages 2 * 6 * 8 a token, and 2 * 8 * 16.
    found = cost(Encoder(), (2, 24))
    assert found.macs == 6 * (4 * 64 + 2 * 6 * 8 + 2 * 8 * 16)
    assert found.uncounted == ()


def test_products_written_as_functions_are_counted_where_they_stand():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 16))
            self.kernel = nn.Parameter(torch.ones(2, 4, 3))

        def forward(self, iq):
            spread = nn.functional.conv_transpose1d(iq, self.kernel, stride=2)[:, :, :8]
            return torch.einsum("bi,oi->bo", spread[:, :2].flatten(1), self.weight)

    # Each of 2 * 8 inputs goes to 4 * 3 outputs; then 3 sums of 16.
    found = cost(Functional(), (2, 8))
    assert [(layer.name, layer.params, layer.macs) for layer in found.layers] == [("", 72, 2 * 8 * 12 + 48)]


def test_shared_weights_are_parameters_once_and_products_twice():
    layer = nn.Conv1d(2, 2, 1)
    found = cost(nn.Sequential(layer, layer), (2, 4))
    assert (found.params, found.macs) == (6, 2 * 16)


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


def test_a_complex_product_is_four_real_ones():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 3, dtype=torch.complex64))

        def forward(self, iq):
            return (torch.complex(iq[:, 0], iq[:, 1]) @ self.weight).abs()

    found = cost(Complex(), (2, 8))
    # (a + jb)(c + jd): ac, bd, ad, bc.
    assert (found.params, found.macs) == (2 * 8 * 3, 4 * 8 * 3)


@pytest.mark.parametrize("shape", [(2, -1), (2, 1.5), 128, ()])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ModelError, match=r"frames of shape .*: expected \(2, length\)"):
        cost(nn.Flatten(), shape)
