import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torch import nn

from toolchain.baselines import Sample, linear_probes
from toolchain.baselines.linear_probes import features_of, probe_accuracies, probe_accuracy
from toolchain.errors import PlanError
from toolchain.pruning import Budget, find_units


def test_a_probe_tells_what_is_linear_in_its_features_and_guesses_what_is_not():
    rng = np.random.default_rng(0)
    # In turns, so that every second frame is of the same class.
    labels = np.arange(400) % 2
    told = rng.normal(size=(400, 3)) + 4.0 * labels[:, None]
    assert probe_accuracy(told, labels) > 0.99
    assert abs(probe_accuracy(rng.normal(size=(400, 3)), labels) - 0.5) < 0.15
    # Labels with gaps, features that do not vary, and more features than frames.
    wide = np.concatenate([told, np.ones((400, 500)), rng.normal(size=(400, 300))], axis=1)
    assert probe_accuracy(wide, 7 * labels + 3) > 0.9


def test_a_probe_is_scikit_learns_ridge_classifier():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 100)
    features = rng.normal(size=(300, 4)) + np.eye(3)[labels] @ rng.normal(size=(3, 4))
    scaled = (features - features[::2].mean(axis=0)) / features[::2].std(axis=0)
    theirs = RidgeClassifier(alpha=1e-2 * 150).fit(scaled[::2], labels[::2]).score(scaled[1::2], labels[1::2])
    # Theirs does not hold back the constant.
    assert probe_accuracy(features, labels) == pytest.approx(theirs, abs=0.02)


def test_a_class_of_one_frame_is_told():
    with pytest.raises(PlanError, match="two frames of each class at the least, class 5 has one"):
        probe_accuracy(np.zeros((3, 2)), np.array([1, 1, 5]))


def test_channels_are_found_in_whichever_dimension_they_are():
    output = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    features = features_of(output)
    assert features.shape == (2, 7)
    assert features[0].tolist() == [1.5, 5.5, 9.5, 4.0, 5.0, 6.0, 7.0]
    assert features_of(torch.ones(2, 5)).shape == (2, 5)


class Squaring(nn.Module):
    """Whether a frame is loud is linear in its squares, and not in its samples: the second unit makes all the difference."""

    def __init__(self):
        super().__init__()
        self.units = nn.Sequential(Turn(), Square(), Turn())
        self.head = nn.Linear(2, 2)

    def forward(self, iq):
        return self.head(self.units(iq).mean(dim=2))


class Turn(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv1d(2, 2, 1)

    def forward(self, x):
        return x + 0.1 * self.mix(x)


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv1d(2, 2, 1)

    def forward(self, x):
        return x + self.mix(x) ** 2


@pytest.fixture
def loud():
    rng = np.random.default_rng(2)
    labels = np.arange(200) // 2 % 2
    frames = (rng.normal(size=(200, 2, 32)) * (1.0 + 3.0 * labels)[:, None, None]).astype(np.float32)
    return Sample(frames=frames, labels=labels)


def test_the_unit_after_which_the_classes_can_be_told_stays(loud):
    torch.manual_seed(0)
    model = Squaring().eval()
    units = find_units(model, loud.frames)
    told = probe_accuracies(model, loud.frames, loud.labels, units)
    assert told[0] < 0.7 < 0.85 < min(told[1], told[2])
    plan = linear_probes(model, loud, Budget(keep=1))
    assert plan.kept == (1,)
    assert plan.scored_by == ("lcp",)
