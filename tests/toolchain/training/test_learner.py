from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from deploy.progress import silent
from toolchain.data.batches import Batch
from toolchain.training.fabric import _Mixed, on_devices
from toolchain.training.hardware import Hardware
from toolchain.training.learner import FitSettings, Learner

SETTINGS = FitSettings(steps=3, batch=8, learning_rate=1e-2, weight_decay=0.01, ema=0.75)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(32, 3))


def batch_of(number):
    rng = np.random.default_rng(number)
    return Batch(rng.normal(size=(8, 2, 16)).astype("f4"), rng.integers(0, 3, 8), np.arange(8))


def test_average_is_exponential_over_the_steps_with_batchnorms_statistics(net):
    phases = np.zeros(8, dtype="f4")

    def work(fabric, progress):
        learner, after = Learner(fabric, net, None, SETTINGS), []
        for number in range(3):
            learner.step(batch_of(number), phases)
            after.append({name: tensor.clone() for name, tensor in learner.parts["model"].state_dict().items()})
        learner.settle()
        return after, learner.judged.state_dict()

    (first, second, third), averaged = on_devices(Hardware(accelerator="cpu"), work, progress=silent)
    for name in ("2.weight", "2.bias", "0.weight", "0.running_mean", "0.running_var"):
        expected = 0.75 * (0.75 * first[name] + 0.25 * second[name]) + 0.25 * third[name]
        assert torch.allclose(averaged[name], expected, atol=1e-6)
        assert not torch.equal(averaged[name], third[name])
    assert averaged["0.num_batches_tracked"] == 3


def test_float16_keeps_the_gradients_scale_with_the_rest(net):
    """On a GPU; here float16 on the CPU, which a user is not given."""
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[_Mixed("16-mixed", "cpu")])
    learner = Learner(fabric, net, None, SETTINGS)
    assert set(learner.parts) == {"model", "optimiser", "averaged", "gradient_scale"}
    before = net[2].weight.detach().clone()
    assert learner.step(batch_of(0), np.zeros(8, dtype="f4")) > 0
    assert not torch.equal(learner.parts["model"].state_dict()["2.weight"], before)
    state = learner.parts["gradient_scale"].state_dict()
    learner.parts["gradient_scale"].load_state_dict({**state, "scale": 128.0})
    assert learner.parts["gradient_scale"].state_dict()["scale"] == 128.0
