import numpy as np
import pytest
import torch
from torch import nn

from toolchain.baselines import CRITERIA, Sample, criterion_of, scope_of, thinned, thinned_to
from toolchain.baselines.criteria import entropies
from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.export import export_onnx
from toolchain.models import ARCHITECTURES, ModelCard, create_model, load_model, save_model, widths_between
from toolchain.pruning import apply_plan, plan_layers, pruned_card

SHAPE = (2, 64)


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(96, 2, 64, generator=generator).numpy()
    return Sample(frames=frames, labels=np.arange(96) % 5)


def l1(sample, model):
    return criterion_of("l1").scores(model, sample, 3)


class Chain(nn.Module):
    """Two convolutions of four channels in a row; the second channel of each has the least weights, the third the most."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)
        for conv in (self.first, self.second):
            conv.weight.data = torch.ones_like(conv.weight) * torch.tensor([2.0, 1.0, 4.0, 3.0]).reshape(4, 1, 1)

    def forward(self, iq):
        return self.head(torch.relu(self.second(torch.relu(self.first(iq)))).mean(dim=2))


def test_the_channels_with_the_least_weights_go_and_the_classes_stay(sample):
    model = Chain()
    scope = scope_of(model, SHAPE)
    assert scope.ignored == ("head",)
    thinner = thinned(model, SHAPE, l1(sample, model), 0.5, scope)
    # Of each convolution the two with most weights are left, in their order.
    assert thinner.first.weight[:, 0, 0].tolist() == [4.0, 3.0]
    assert thinner.second.weight[:, 0, 0].tolist() == [4.0, 3.0]
    assert tuple(thinner.head.weight.shape) == (5, 2)
    assert tuple(model.first.weight.shape) == (4, 2, 3)


def test_channels_that_are_added_go_together(model, sample):
    thinner = thinned(model, SHAPE, l1(sample, model), 0.5, scope_of(model, SHAPE))
    outputs = {
        module.out_channels for name, module in thinner.stages[0].named_modules() if isinstance(module, nn.Conv1d)
    }
    assert outputs == {8}
    assert thinner.stem[0].out_channels == 8
    assert thinner(torch.zeros(3, *SHAPE)).shape == (3, 5)


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_thins_to_a_figure_and_the_model_is_read_from_its_file(name, model, sample, tmp_path):
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    criterion = CRITERIA[name]
    whole = cost(model, SHAPE).macs
    found = thinned_to(
        model, SHAPE, criterion.scores(model, sample, 3), scope_of(model, SHAPE), lambda each: cost(each, SHAPE).macs,
        0.4 * whole, everywhere=criterion.everywhere,
    )  # fmt: skip
    assert found.figure == cost(found.model, SHAPE).macs
    assert abs(found.figure / whole - 0.4) <= 0.02
    # The original is as it was, and has no gradients.
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    card = ModelCard(
        architecture="resnet1d20", classes=tuple("ABCDE"), length=64, widths=widths_between(model, found.model)
    )
    save_model(tmp_path / "m.safetensors", found.model, card)
    again, _ = load_model(tmp_path / "m.safetensors")
    with torch.no_grad():
        frames = torch.from_numpy(sample.frames)
        assert torch.equal(again(frames), found.model(frames))


def test_equal_seeds_draw_equal_channels(model, sample):
    scope = scope_of(model, SHAPE)

    def drawn(seed):
        ranker = criterion_of("random-channels").scores(model, sample, seed)
        return thinned(model, SHAPE, ranker, 0.5, scope).state_dict()

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_taylor_keeps_what_the_loss_hangs_on(sample):
    model = Chain()
    # Nothing that the third channel of the second convolution says counts, and it has the most weights.
    model.head.weight.data[:, 2] = 0.0
    model.second.bias.data[:] = 1.0
    scope = scope_of(model, SHAPE)
    by_weight = thinned(model, SHAPE, l1(sample, model), 0.25, scope)
    by_loss = thinned(model, SHAPE, criterion_of("taylor").scores(model, sample, 3), 0.25, scope)
    assert 4.0 in by_weight.second.weight[:, 0, 0].tolist()
    assert 4.0 not in by_loss.second.weight[:, 0, 0].tolist()


def test_a_channel_that_says_the_same_of_every_frame_has_no_entropy(sample):
    model = Chain()
    model.first.weight.data[3] = 0.0
    ranker = criterion_of("rfp").scores(model, sample, 3)
    thinner = thinned(model, SHAPE, ranker, 0.25, scope_of(model, SHAPE))
    assert 0.0 not in thinner.first.weight[:, 0, 0].tolist()


def test_of_models_that_fail_as_a_whole_the_inside_of_blocks_is_thinned(sample):
    model = create_model("resnet56", 5, 64, generator=torch.Generator().manual_seed(0)).eval()
    scope = scope_of(model, SHAPE)
    assert scope.inner
    # The first convolution of each unit alone: what is added stays as wide as it was.
    assert {path for path, module in model.named_modules() if isinstance(module, nn.Conv2d)} - set(scope.ignored) == {
        f"stages.{stage}.{unit}.branch.0" for stage in range(3) for unit in range(9)
    }
    thinner = thinned(model, SHAPE, l1(sample, model), 0.5, scope)
    assert thinner.stages[0][0].branch[0].out_channels == 8
    assert thinner.stages[0][0].branch[3].out_channels == 16


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "lstm2"])
def test_every_other_model_is_thinned_read_from_its_file_and_computes_the_same_in_onnx(name, tmp_path, held_to_parity):
    model = create_model(name, 5, 64, generator=torch.Generator().manual_seed(0)).eval()
    scope = scope_of(model, SHAPE)
    assert scope.inner == (name in ("resnet56", "resnet110", "transformer", "pet-cgdnn", "mcldnn"))
    thinner = thinned(model, SHAPE, criterion_of("l2").scores(model, None, 0), 0.5, scope)
    assert cost(thinner, SHAPE).macs < cost(model, SHAPE).macs
    card = ModelCard(architecture=name, classes=tuple("ABCDE"), length=64, widths=widths_between(model, thinner))
    save_model(tmp_path / "m.safetensors", thinner, card)
    read, _ = load_model(tmp_path / "m.safetensors")
    export_onnx(read, tmp_path / "m.onnx", classes=card.classes, length=64)
    noise = np.random.default_rng(0).normal(size=(8, 2, 64)).astype(np.float32)
    assert held_to_parity(read, tmp_path / "m.onnx", noise).agreement == 1.0


def test_models_that_it_cannot_take_are_told():
    model = create_model("lstm2", 5, 64, generator=torch.Generator().manual_seed(0)).eval()
    with pytest.raises(PlanError, match="Lstm2: its channels cannot be pruned by Torch-Pruning: no channel of it goes"):
        scope_of(model, SHAPE)


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_more_is_asked_to_go_the_less_is_left_and_a_channel_of_each_layer_stays(model, sample, everywhere):
    scope, scores = scope_of(model, SHAPE), l1(sample, model)
    left = [
        cost(thinned(model, SHAPE, scores, ratio, scope, everywhere=everywhere), SHAPE).macs
        for ratio in (0.0, 0.3, 0.6, 0.9, 0.95, 0.99, 1.0)
    ]
    assert left == sorted(left, reverse=True)
    assert left[0] == cost(model, SHAPE).macs
    smallest = thinned(model, SHAPE, scores, 1.0, scope, everywhere=everywhere)
    assert {module.out_channels for module in smallest.modules() if isinstance(module, nn.Conv1d)} == {1}


def test_equal_scores_go_from_the_first_on(sample):
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(0)).eval()
    # BatchNorm's scales are all one.
    criterion = criterion_of("bn-scale")
    scores = criterion.scores(model, sample, 0)
    thinner = thinned(model, SHAPE, scores, 0.5, scope_of(model, SHAPE), everywhere=criterion.everywhere)
    assert cost(thinner, SHAPE).macs < 0.7 * cost(model, SHAPE).macs


def test_scores_that_say_nothing_of_the_model_are_told(sample):
    model = Chain()
    scores = criterion_of("bn-scale").scores(model, sample, 0)
    with pytest.raises(PlanError, match="Chain: these scores say nothing of any channel that can go"):
        thinned_to(model, SHAPE, scores, scope_of(model, SHAPE), lambda each: cost(each, SHAPE).macs, 100)


def test_a_model_without_channels_is_told():
    class Means(nn.Module):
        def forward(self, iq):
            return iq.mean(dim=2)

    with pytest.raises(PlanError, match="Means: has no convolution and no dense layer"):
        scope_of(Means(), SHAPE)


def test_a_criterion_that_there_is_none_of_is_told():
    with pytest.raises(PlanError, match='criterion "l3" is not one of l1, l2, fpgm'):
        criterion_of("l3")


def test_numpy_is_not_drawn_from(model, sample):
    state = np.random.get_state()[1].copy()
    torch_state = torch.get_rng_state()
    for criterion in CRITERIA.values():
        criterion.scores(model, sample, 3)
    assert (np.random.get_state()[1] == state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_twin_of_the_other_sign_is_no_twin_to_the_geometric_median():
    layer = nn.Conv1d(1, 4, 2)
    layer.weight.data = torch.tensor([[3.0, 4.0], [-3.0, -4.0], [0.1, 0.0], [0.0, 0.1]])[:, None]
    scores = criterion_of("fpgm").scores(nn.Sequential(layer), None, 0)["0", "out"]
    # 10 to the other, and some 5 to each of the two near nothing.
    assert scores[0] == pytest.approx(10 + np.hypot(2.9, 4) + np.hypot(3, 3.9))
    assert scores[2] < scores[0]
    assert scores[2] < scores[1]


def test_lamp_is_a_square_over_those_that_are_no_smaller():
    layer = nn.Linear(1, 3)
    layer.weight.data = torch.tensor([[1.0], [3.0], [2.0]])
    scores = criterion_of("lamp").scores(nn.Sequential(layer), None, 0)["0", "out"]
    assert scores.tolist() == pytest.approx([1 / 14, 1.0, 4 / 13])


def test_entropy_counts_cells_and_what_differs_by_rounding_has_none():
    columns = np.stack([np.arange(10.0), np.repeat([0.0, 9.0], 5), np.ones(10), 1 + 1e-7 * np.arange(10)], axis=1)
    assert entropies(columns.astype(np.float32)) == pytest.approx([np.log2(10), 1.0, 0.0, 0.0])


def test_a_channel_that_its_activation_silences_has_no_entropy(model, sample):
    model.stem[1].bias.data[5] = -1000.0
    scores = criterion_of("rfp").scores(model, sample, 0)
    assert scores["stages.0.0.branch.0", "in"][5] == 0.0
    assert (scores["stages.0.0.branch.0", "in"] > 1.0).sum() > 8


def test_a_narrowed_model_whose_layers_are_pruned_too_is_read_from_its_file(model, sample, frames, tmp_path):
    thinner = thinned(model, SHAPE, l1(sample, model), 0.5, scope_of(model, SHAPE))
    card = ModelCard(
        architecture="resnet1d20", classes=tuple("ABCDE"), length=64, widths=widths_between(model, thinner)
    )
    plan = plan_layers(thinner, frames, keep=3)
    smaller = apply_plan(plan, thinner)
    save_model(tmp_path / "m.safetensors", smaller, pruned_card(card, plan))
    again, _ = load_model(tmp_path / "m.safetensors")
    with torch.no_grad():
        assert torch.equal(again(torch.from_numpy(frames)), smaller(torch.from_numpy(frames)))
