import copy

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr
from torch import nn

from toolchain.errors import PlanError
from toolchain.pruning import find_units, plan_layers, similarity_matrix


def outputs(model, frames, units):
    kept = {}
    hooks = [
        model.get_submodule(unit.name).register_forward_hook(
            lambda _m, _i, out, name=unit.name: kept.__setitem__(name, out.flatten(1).double().numpy())
        )
        for unit in units
    ]
    with torch.no_grad():
        model(torch.from_numpy(frames))
    for hook in hooks:
        hook.remove()
    return [kept[unit.name] for unit in units]


def cka(x, y):
    """Kornblith et al. (2019), equation 5, from the features themselves."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def test_linear_cka_agrees_with_its_definition_on_the_features(model, frames):
    units = find_units(model, frames)
    features = outputs(model, frames, units)
    expected = [[cka(x, y) for y in features] for x in features]
    assert np.allclose(similarity_matrix(model, frames, units), expected, atol=2e-5)


def centred_gram(x):
    x = x - x.mean(axis=0)
    return x @ x.T


def cosine(x, y):
    x, y = centred_gram(x), centred_gram(y)
    return np.mean([a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in zip(x, y, strict=True)])


def rsa(x, y):
    return pearsonr(pdist(x), pdist(y)).statistic


@pytest.mark.parametrize(("kind", "definition"), [("cosine", cosine), ("rsa", rsa)])
def test_other_similarities_agree_with_their_definitions_on_the_features(model, frames, kind, definition):
    units = find_units(model, frames)
    features = outputs(model, frames, units)
    expected = [[definition(x, y) for y in features] for x in features]
    assert np.allclose(similarity_matrix(model, frames, units, kind), expected, atol=1e-4)


def test_a_skip_outside_counts_with_its_sum(frames):
    class Outside(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.rows = nn.Conv1d(2, 4, 1), nn.ModuleList([nn.Conv1d(4, 4, 1) for _ in range(2)])

        def forward(self, x):
            x = self.stem(x)
            for row in self.rows:
                x = x + row(x)
            return x.flatten(1)

    net = Outside()
    with torch.no_grad():
        first = net.stem(torch.from_numpy(frames))
        first = first + net.rows[0](first)
        second = first + net.rows[1](first)
    x, y = (features.flatten(1).double().numpy() for features in (first, second))
    assert similarity_matrix(net, frames, find_units(net, frames))[0, 1] == pytest.approx(cka(x, y), abs=1e-5)


def test_a_unit_that_runs_twice_counts_with_both_its_outputs(frames):
    shared = nn.Conv1d(4, 4, 1)
    net = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(4, 4, 1), shared, shared, nn.Conv1d(4, 4, 1), nn.Flatten()).eval()
    units = find_units(net, frames)
    with torch.no_grad():
        features = [net[:end](torch.from_numpy(frames)).flatten(1).double().numpy() for end in range(2, 6)]
    expected = [[cka(x, y) for y in features] for x in features]
    assert [unit.name for unit in units] == ["1", "2", "2", "4"]
    assert np.allclose(similarity_matrix(net, frames, units), expected, atol=1e-5)


class Steps(nn.Module):
    """Layers on samples first and the batch second, or on segments of frames as frames of their own."""

    def __init__(self, segments):
        super().__init__()
        self.first, self.rows = nn.Linear(2, 4), nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.segments = segments

    def forward(self, x):
        count = len(x)
        x = x.transpose(1, 2).reshape(-1, 16, 2) if self.segments else x.permute(2, 0, 1)
        x = self.first(x)
        for row in self.rows:
            x = torch.tanh(row(x)) + x
        return x.reshape(count, -1) if self.segments else x.mean(0)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("count", [2, 3, 32])
def test_frames_are_told_apart_wherever_the_batch_is(frames, segments, count):
    net = Steps(segments).eval()
    frames = frames[:count]
    with torch.no_grad():
        x = net.first(torch.from_numpy(frames).transpose(1, 2))
        features = []
        for row in net.rows:
            x = torch.tanh(row(x)) + x
            features.append(x.flatten(1).double().numpy())
    expected = [[cka(x, y) for y in features] for x in features]
    assert np.allclose(similarity_matrix(net, frames, find_units(net, frames)), expected, atol=1e-4)


def test_the_callers_frames_are_not_written_to(model, frames):
    class Halved(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            x /= 2
            return self.model(x)

    before = frames.copy()
    plan_layers(Halved().eval(), frames, keep=3)
    assert np.array_equal(frames, before)


@pytest.mark.parametrize("kind", ["cka", "cosine", "rsa"])
def test_the_matrix_is_symmetric_with_ones_on_its_diagonal(model, frames, kind):
    matrix = similarity_matrix(model, frames, find_units(model, frames), kind)
    assert matrix.dtype == np.float64
    assert matrix.shape == (9, 9)
    assert np.array_equal(np.diag(matrix), np.ones(9))
    assert np.allclose(matrix, matrix.T, atol=1e-7)
    assert matrix.min() >= (0 if kind == "cka" else -1)
    assert matrix.max() <= 1


def test_a_layer_that_never_varies_is_like_itself_alone(model, frames):
    units = find_units(model, frames)
    head = model.get_submodule(units[-1].name)
    for norm in (head.branch[1], head.branch[4]):
        norm.weight.data.zero_()
        norm.bias.data.fill_(-1e9)
    # The branch's large constant lets no input through the activation: the unit's output is zero for every frame.
    matrix = similarity_matrix(model, frames, units)
    assert matrix[-1, -1] == 1
    assert np.array_equal(matrix[-1, :-1], np.zeros(8))


def test_comparing_leaves_the_model_as_it_was(model, frames):
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    similarity_matrix(model, frames, find_units(model, frames))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_unknown_kind_and_a_single_frame_are_refused(model, frames):
    units = find_units(model, frames)
    with pytest.raises(PlanError, match='similarity "ckaa" is not one of cka, cosine, rsa'):
        similarity_matrix(model, frames, units, "ckaa")
    with pytest.raises(PlanError, match="at least 2 frames to compare, got 1"):
        similarity_matrix(model, frames[:1], units)


def test_outputs_that_are_no_numbers_are_told_with_their_unit(model, frames):
    units = find_units(model, frames)
    large = copy.deepcopy(model)
    large.stages[1][0].branch[0].weight.data.fill_(1e30)
    with pytest.raises(PlanError, match=r"what stages\.1\.0 puts out is NaN, infinite or too large"):
        similarity_matrix(large, frames, units)
    large.stages[1][0].branch[0].weight.data.fill_(np.nan)
    with pytest.raises(PlanError, match=r"stages\.1\.0\.branch\.0\.weight of ResNet1d holds NaN"):
        similarity_matrix(large, frames, units)
