import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from toolchain.errors import ModelError
from toolchain.models import ModelCard, Width, create_model, load_model, narrowed, save_model, widths_between
from toolchain.models.widths import width_from_json


@pytest.fixture
def chain():
    return nn.Sequential(nn.Conv1d(2, 8, 3, bias=False), nn.BatchNorm1d(8), nn.Flatten(), nn.Linear(8 * 4, 5))


NARROW = (Width("0", (2, 3, 1)), Width("1", (3,)), Width("3", (12, 5)))


def test_narrowed_modules_have_the_shapes_of_their_sizes_and_the_model_stays(chain):
    before = {name: tensor.clone() for name, tensor in chain.state_dict().items()}
    thinner = narrowed(chain, NARROW)
    shapes = {name: tuple(tensor.shape) for name, tensor in thinner.state_dict().items() if tensor.ndim}
    assert shapes == {
        "0.weight": (3, 2, 3), "1.weight": (3,), "1.bias": (3,), "1.running_mean": (3,), "1.running_var": (3,),
        "3.weight": (5, 12), "3.bias": (5,),
    }  # fmt: skip
    assert thinner(torch.zeros(2, 2, 6)).shape == (2, 5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in chain.state_dict().items())


def test_transposed_and_grouped_convolutions_have_their_own_order_of_sizes():
    model = nn.Sequential(nn.ConvTranspose1d(4, 6, 3), nn.Conv1d(6, 6, 3, groups=6))
    thinner = narrowed(model, [Width("0", (4, 2, 1)), Width("1", (2, 2, 2))])
    assert tuple(thinner[0].weight.shape) == (4, 2, 3)
    assert tuple(thinner[1].weight.shape) == (2, 1, 3)
    assert thinner(torch.zeros(1, 4, 8)).shape == (1, 2, 8)


def test_what_narrowed_a_model_is_found_again(chain):
    assert widths_between(chain, narrowed(chain, NARROW)) == NARROW
    assert widths_between(chain, chain) == ()
    other = narrowed(chain, NARROW)
    other[3].bias = nn.Parameter(torch.zeros(4))
    with pytest.raises(ModelError, match=r"3\.bias has another shape than the widths of its module say"):
        widths_between(chain, other)


@pytest.mark.parametrize("width", [Width("9", (2,)), Width("2", (2,)), Width("1", (2, 2))])
def test_a_width_of_no_such_module_is_refused(chain, width):
    with pytest.raises(ModelError, match=f'cannot narrow "{width.module}"'):
        narrowed(chain, [width])


@pytest.mark.parametrize("size", [9, 10**9, 10**30])
def test_a_module_is_not_made_wider(chain, size):
    with pytest.raises(ModelError, match=r'cannot narrow "1" to \(\d+,\): it has \(8,\)'):
        narrowed(chain, [Width("1", (size,))])


@pytest.mark.parametrize(
    "values", [{"module": 1, "sizes": [1]}, {"module": "a", "sizes": [0]}, {"module": "a", "sizes": [True]},
               {"module": "a", "sizes": "12"}, {"module": "a", "sizes": [1], "more": 1}]
)  # fmt: skip
def test_what_is_no_width_is_refused(values):
    with pytest.raises(ValueError, match="no width"):
        width_from_json(values)


def test_a_width_travels_as_json():
    width = Width("stages.0.1", (16, 3, 1))
    assert width_from_json(json.loads(json.dumps(asdict(width)))) == width


def test_a_narrowed_model_is_read_from_its_file(tmp_path):
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(0))
    # The inside of the first unit: 16 channels become 3.
    widths = (
        Width("stages.0.0.branch.0", (16, 3, 1)), Width("stages.0.0.branch.1", (3,)), Width("stages.0.0.branch.3", (3, 16, 1))
    )  # fmt: skip
    thinner = narrowed(model, widths).eval()
    for parameter in thinner.parameters():
        nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "m.safetensors"
    save_model(path, thinner, ModelCard(architecture="resnet1d20", classes=tuple("ABCDE"), length=64, widths=widths))
    found, card = load_model(path)
    assert card.widths == widths
    frames = torch.randn(3, 2, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(found(frames), thinner(frames))


def test_widths_that_do_not_fit_the_model_are_told(tmp_path):
    model = create_model("resnet1d20", 5, 64)
    path = tmp_path / "m.safetensors"
    card = ModelCard(architecture="resnet1d20", classes=tuple("ABCDE"), length=64, widths=(Width("nothing", (1,)),))
    save_model(path, model, card)
    with pytest.raises(ModelError, match='its model cannot be built: cannot narrow "nothing"'):
        load_model(path)
