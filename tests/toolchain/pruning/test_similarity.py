import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr
from torch import nn

from toolchain.errors import PlanError
from toolchain.pruning import find_units, similarity_matrix


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
