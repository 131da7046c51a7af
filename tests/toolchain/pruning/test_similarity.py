import numpy as np
import pytest
import torch

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


def test_the_matrix_is_symmetric_with_ones_on_its_diagonal(model, frames):
    matrix = similarity_matrix(model, frames, find_units(model, frames))
    assert matrix.dtype == np.float64
    assert matrix.shape == (9, 9)
    assert np.array_equal(np.diag(matrix), np.ones(9))
    assert np.allclose(matrix, matrix.T, atol=1e-7)
    assert matrix.min() >= 0
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
    with pytest.raises(PlanError, match='similarity "ckaa" is not one of cka'):
        similarity_matrix(model, frames, units, "ckaa")
    with pytest.raises(PlanError, match="at least 2 frames to compare, got 1"):
        similarity_matrix(model, frames[:1], units)
