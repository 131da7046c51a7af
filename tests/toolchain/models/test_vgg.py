import copy

import pytest
import torch
from torch import nn

from toolchain.cost import cost
from toolchain.models import create_model


def without_what_keeps_its_shape(model):
    """The model without the convolutions whose output has the shape of their input, and how many there were."""
    thinner, count = copy.deepcopy(model), 0
    x = thinner.scaling(torch.zeros(1, 2, 128))
    x = x.unsqueeze(1) if isinstance(thinner.features[0][0], nn.Conv2d) else x
    for index, piece in enumerate(thinner.features):
        before, x = x, piece(x)
        if before.shape == x.shape:
            thinner.features[index] = nn.Identity()
            count += 1
    return thinner, count


@pytest.mark.parametrize(("name", "units", "cut"), [("vgg1d16", 6, 0.778), ("vgg16", 4, 0.586)])
def test_dropping_what_keeps_its_shape_saves_what_the_method_says(name, units, cut):
    # Along time 64, 128, 256 twice and 512 twice; in the image the first two stages' padding lets it grow.
    model = create_model(name).eval()
    thinner, count = without_what_keeps_its_shape(model)
    assert count == units
    assert 1 - cost(thinner, (2, 128)).macs / cost(model, (2, 128)).macs == pytest.approx(cut, abs=0.0005)


@pytest.mark.parametrize("name", ["vgg16", "vgg1d16"])
def test_every_convolution_is_a_piece_with_its_norm_and_activation(name):
    pieces = [piece for piece in create_model(name).features if isinstance(piece, nn.Sequential)]
    assert len(pieces) == 10
    for conv, norm, activation in pieces:
        assert conv.bias is not None
        assert norm.num_features == conv.out_channels
        assert isinstance(activation, nn.ReLU)


@pytest.mark.parametrize("length", [1, 2, 33, 100, 127])
def test_the_image_lives_through_four_poolings_at_any_length(length):
    model = create_model("vgg16", 4, length).eval()
    assert model(torch.ones(1, 2, length)).shape == (1, 4)
