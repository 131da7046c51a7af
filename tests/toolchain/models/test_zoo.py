import numpy as np
import pytest
import torch
from torch import nn

from toolchain.cost import cost
from toolchain.errors import ModelError
from toolchain.models import create_model
from toolchain.models.scaling import UnitRms


@pytest.mark.parametrize(
    ("name", "units", "params", "macs"),
    [("resnet1d20", 9, 94_027, 3_945_152), ("resnet1d56", 27, 290_251, 12_202_688)],
)
def test_residual_networks_weigh_what_the_method_says(name, units, params, macs):
    # resnet1d56: the figures of the design; resnet1d20 worked out the same way, layer by layer.
    model = create_model(name, classes=11, length=128)
    found = cost(model, (2, 128))
    assert (found.params, found.macs, found.flops) == (params, macs, 2 * macs)
    assert found.params == sum(parameter.numel() for parameter in model.parameters())
    assert sum(len(stage) for stage in model.stages) == units


def test_logits_have_a_column_a_class_for_any_batch_and_length():
    model = create_model("resnet1d20", classes=4, length=64).eval()
    assert model(torch.zeros(3, 2, 64)).shape == (3, 4)
    assert model(torch.zeros(1, 2, 100)).shape == (1, 4)


def test_the_same_generator_gives_the_same_weights():
    first, second, other = (
        create_model("resnet1d20", generator=torch.Generator().manual_seed(seed)).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


def test_drawing_weights_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    model = create_model("resnet1d20", generator=torch.Generator().manual_seed(1))
    torch.random.set_rng_state(before)
    again = create_model("resnet1d20", generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.head[2].weight, again.head[2].weight)


def test_a_name_that_is_not_in_the_table_is_refused_with_the_nearest():
    with pytest.raises(ModelError, match=r'"resnet1d65" is not one of .*did you mean "resnet1d56"\?'):
        create_model("resnet1d65")


@pytest.mark.parametrize("scale", [1e-8, 1.0, 32767.0])
def test_a_frame_is_brought_to_unit_rms_whatever_its_scale(scale):
    iq = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 2, 50)).astype(np.float32)) * scale
    scaled = UnitRms()(iq)
    power = scaled.square().sum(dim=1).mean(dim=1)
    assert torch.allclose(power, torch.ones(4), rtol=1e-5)


def test_a_silent_frame_stays_silent():
    assert torch.equal(UnitRms()(torch.zeros(1, 2, 8)), torch.zeros(1, 2, 8))


def test_a_models_answer_does_not_depend_on_the_scale_of_the_file(model, frames):
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        assert torch.allclose(model(iq), model(iq * 1e-3), atol=1e-4)


def test_convolutions_have_no_bias_and_the_head_has_one():
    model = create_model("resnet1d20")
    assert all(module.bias is None for module in model.modules() if isinstance(module, nn.Conv1d))
    assert model.head[2].bias is not None
