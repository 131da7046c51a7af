import warnings

import numpy as np
import pytest
import torch
from torch import nn

from toolchain.cost import cost
from toolchain.errors import ModelError
from toolchain.models import ARCHITECTURES, create_model
from toolchain.models.scaling import UnitRms
from toolchain.models.zoo import Architecture

# At 128 samples and 11 classes.
PARAMS = {
    # The design's figures; the ones it does not give are worked out the same way, layer by layer.
    "resnet1d20": 94_027,
    "resnet1d56": 290_251,
    "resnet1d110": 584_587,
    "resnet56": 852_795,
    "resnet110": 1_727_739,
    "vgg16": 8_854_475,
    # Convolutions 2,546,688, their BatchNorm 5,376, the dense layers with theirs 1,083,915.
    "vgg1d16": 3_635_979,
    # Patches 1,088, positions 31 * 64, eight layers of 49,984, the last norm 128, the head 715.
    "transformer": 403_787,
    # The first stack 32 + 4 * 32 * 32 * 6, five of 32 * 32 + 4 * 32 * 32 * 3, dense 64 * 128 + 128, the head 1,419.
    "cnn1d": 100_907,
    # As its authors' code prints it in Keras.
    "vt-cnn2": 2_830_427,
    # As Zhang et al. give them ("Deep learning based automatic modulation recognition: models, datasets, and challenges",
    # 2022, AMR-Benchmark), to the last: no BatchNorm, whose statistics Keras would count, and CuDNN's recurrent layers, which
    # have two biases as PyTorch's do.
    "cnn2": 858_123,
    "mcldnn": 406_199,
    "pet-cgdnn": 71_871,
    "lstm2": 201_099,
    # ResNet-50's 25,557,032, with two channels in place of three (-3,136), 11 classes of 1,000 (-2,026,461), and 18 filters.
    "signet50": 23_527_453,
}


def short(name):
    """Samples that the model takes and that cost little: the work of some grows with their square."""
    return max(40, ARCHITECTURES[name].least_length)


def seeded(name, seed=1, classes=11, length=None):
    return create_model(name, classes, length or short(name), generator=torch.Generator().manual_seed(seed))


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_has_the_parameters_that_were_worked_out_or_published(name):
    assert sum(parameter.numel() for parameter in create_model(name).parameters()) == PARAMS[name]


@pytest.mark.parametrize(
    ("name", "units", "macs"),
    [
        ("resnet1d20", 9, 3_945_152),
        ("resnet1d56", 27, 12_202_688),
        ("resnet56", 27, 41_620_160),
        ("resnet110", 54, 84_087_488),
    ],
)
def test_residual_networks_weigh_what_the_method_says(name, units, macs):
    model = create_model(name, classes=11, length=128)
    found = cost(model, (2, 128))
    assert (found.params, found.macs, found.flops) == (PARAMS[name], macs, 2 * macs)
    assert sum(len(stage) for stage in model.stages) == units


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("vgg16", 917_666_688),
        # Convolutions of 49,152 + 2 * 1,572,864 + 2 * 3,145,728 + 3 * 6,291,456 + 2 * 12,582,912, dense 1,082,752.
        ("vgg1d16", 54_609_280),
        # The first stack 7,872,512, the others 13,312 for each of 64 + 32 + 16 + 8 + 4 samples, dense 9,600.
        ("cnn1d", 9_532_800),
        # 256 * 3 for each of 2 * 130 samples, 80 * 256 * 6 for each of 132, dense 2,706,176.
        ("vt-cnn2", 19_126_016),
        # 16 weights a pair of channels, on two rows: 256 * 16 for each of 2 * 128 samples, 128 * 256 * 16 for each of 2 * 64,
        # 64 * 128 * 16 for each of 2 * 32, 64 * 64 * 16 for each of 2 * 16, dense 132,480.
        ("cnn2", 78_775_680),
    ],
)
def test_plain_networks_cost_what_was_worked_out(name, macs):
    assert cost(create_model(name), (2, 128)).macs == macs


@pytest.mark.parametrize(
    ("name", "classes", "length", "params", "macs"),
    [
        # The figures at 128 samples: without the head's 64 a class they grow with the length, and a class has 65 weights.
        ("resnet56", 12, 512, 852_860, 166_478_592),
        ("resnet56", 24, 1024, 853_640, 332_957_184),
        ("resnet110", 12, 512, 1_727_804, 336_347_904),  # the method's 336.4 M is rounded twice
        ("resnet110", 24, 1024, 1_728_584, 672_695_808),
    ],
)
def test_longer_frames_cost_residual_networks_what_was_worked_out(name, classes, length, params, macs):
    found = cost(create_model(name, classes, length), (2, length))
    assert (found.params, found.macs) == (params, macs)


@pytest.mark.parametrize(
    ("classes", "length", "thousand_params", "million_macs"), [(12, 512, 12_000, 3258), (24, 1024, 16_200, 6378)]
)
def test_longer_frames_cost_vgg_what_the_method_says(classes, length, thousand_params, million_macs):
    found = cost(create_model("vgg16", classes, length), (2, length))
    assert found.params / 1e3 == pytest.approx(thousand_params, abs=5)
    assert found.macs / 1e6 == pytest.approx(million_macs, abs=0.5)


@pytest.mark.parametrize("name", ["resnet56", "vgg16", "vgg1d16", "cnn1d", "cnn2", "vt-cnn2"])
def test_macs_agree_with_fvcore_on_the_products(name):
    model = create_model(name).eval()
    with warnings.catch_warnings():
        # fvcore is used as the witness, whatever it uses of torch.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        by_operator = FlopCountAnalysis(model, torch.zeros(1, 2, 128)).unsupported_ops_warnings(False).by_operator()
    # fvcore's "flop" is a multiply-accumulate; it also counts BatchNorm and pooling, which the convention leaves out.
    assert cost(model, (2, 128)).macs == by_operator["conv"] + by_operator["linear"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scaling_is_the_first_thing_that_a_model_does(name):
    model = seeded(name).eval()
    first, module = next(model.named_children())
    assert (first, type(module)) == ("scaling", UnitRms)
    iq = noise(2, 2, short(name))
    with torch.no_grad():
        assert torch.allclose(model(iq), model(iq * 1024), atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_have_a_column_a_class_for_any_batch_in_training_and_after(name):
    model = seeded(name, classes=4)
    for batch in (1, 3):
        for training in (True, False):
            logits = model.train(training)(noise(batch, 2, short(name)))
            assert logits.shape == (batch, 4)
            assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_can_be_made_for_an_odd_length(name):
    odd = short(name) | 1
    assert seeded(name, length=odd).eval()(noise(1, 2, odd)).shape == (1, 11)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_silent_frame_gets_finite_logits(name):
    assert torch.isfinite(seeded(name).eval()(torch.zeros(1, 2, short(name)))).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_is_trained(name):
    model = seeded(name)
    model(noise(2, 2, short(name))).square().sum().backward()
    # The first of the gradients that are missing, to say which.
    assert next((name for name, parameter in model.named_parameters() if parameter.grad is None), None) is None


def test_models_without_a_flattened_head_take_any_length():
    model = create_model("resnet1d20", classes=4, length=64).eval()
    assert model(torch.zeros(1, 2, 100)).shape == (1, 4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_come_from_the_generator_alone(name):
    # The global generator is in another state each time.
    first, again, other = (seeded(name, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key, tensor in first.items() if tensor.dim() > 1]
    assert drawn
    assert not [key for key in drawn if torch.equal(first[key], other[key])]


def test_a_name_that_is_not_in_the_table_is_refused_with_the_nearest():
    with pytest.raises(ModelError, match=r'"resnet1d65" is not one of .*did you mean "resnet1d56"\?'):
        create_model("resnet1d65")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_length_that_is_too_short_is_refused_with_the_least_that_works(name):
    least = ARCHITECTURES[name].least_length
    message = rf'"{name}" cannot take frames of {least - 1} samples: it needs at least {least};'
    with pytest.raises(ModelError, match=message):
        create_model(name, 4, least - 1)
    create_model(name, 4, least).train()(noise(1, 2, least)).sum().backward()


@pytest.mark.parametrize("name", [name for name, row in ARCHITECTURES.items() if row.least_length > 1])
def test_the_least_length_is_no_larger_than_it_must_be(name):
    shorter = ARCHITECTURES[name].least_length - 1
    with pytest.raises((RuntimeError, ValueError, UserWarning)):
        ARCHITECTURES[name].build(4, shorter).train()(noise(1, 2, shorter))


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


def test_numbers_beyond_reason_and_models_beyond_memory_are_refused(monkeypatch):
    with pytest.raises(ModelError, match=r"classes = 100000000: expected at most 10,000$"):
        create_model("resnet1d20", 100_000_000)
    with pytest.raises(ModelError, match=r"length = 100000000000: expected at most 1,048,576$"):
        create_model("resnet1d20", 11, 100_000_000_000)

    def dense(classes, length):
        return nn.Linear(1 << 58, 1)  # more bytes than an address has

    monkeypatch.setitem(ARCHITECTURES, "dense", Architecture(dense))
    with pytest.raises(ModelError, match='"dense" for frames of 128 samples and 11 classes does not fit into memory'):
        create_model("dense")
