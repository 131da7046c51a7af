"""Every model of the zoo becomes an ONNX file that computes the same."""

import numpy as np
import onnx
import pytest
import torch

from deploy.parity import agreement, largest_difference, most_difference
from deploy.runtimes import open_runtime
from toolchain.export import export_onnx
from toolchain.models import ARCHITECTURES, create_model
from toolchain.training import logits_of

# One kind of recurrent layer each, and how many of them; the other models are for the slow tests.
QUICK = {"lstm2": ("LSTM", 2), "pet-cgdnn": ("GRU", 1)}


def special_frames(length):
    """Noise of two scales, silence, and frames with I or Q alone: where a phase has its corners."""
    frames = np.random.default_rng(0).normal(size=(7, 2, length)).astype(np.float32)
    frames[0] = 0
    frames[1, 1] = 0
    frames[2, 0] = 0
    frames[3] = np.stack([-np.abs(frames[3, 0]), np.zeros(length)])
    frames[4] *= 1000
    return frames


def exported(name, frames, path):
    """A model that has seen ``frames``, so that its BatchNorms keep values in bounds, and its file at ``path``."""
    length = frames.shape[-1]
    model = create_model(name, 4, length, generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        for _ in range(30):
            model(torch.from_numpy(frames))
    export_onnx(model.eval(), path, classes=("a", "b", "c", "d"), length=length)
    return model


def check(model, path, frames):
    expected = logits_of(model, frames).numpy()
    with open_runtime("onnxruntime", path) as runtime:
        for batch in (1, 2, 7):
            got = runtime.run(frames[:batch])
            assert agreement(expected[:batch], got) == 1.0
            # Of the logits' size: in float32 the deepest are no nearer to what they are in float64.
            assert largest_difference(expected[:batch], got) <= most_difference(expected)


@pytest.fixture(scope="module", params=QUICK)
def recurrent(request, tmp_path_factory):
    """The name of a model with recurrent layers, the model, its file and frames; exporting takes seconds, so once."""
    frames = special_frames(24)
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    return request.param, exported(request.param, frames, path), path, frames


def test_a_recurrent_model_computes_the_same_in_onnx(recurrent):
    _, *made = recurrent
    check(*made)


def test_recurrent_layers_become_operators_and_no_loops(recurrent):
    name, _, path, _ = recurrent
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    kind, count = QUICK[name]
    assert kinds.count(kind) == count
    assert "Loop" not in kinds
    assert len(kinds) < 100


@pytest.mark.slow
@pytest.mark.parametrize("length", [128, 101])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_computes_the_same_in_onnx(name, length, tmp_path):
    frames, path = special_frames(length), tmp_path / "m.onnx"
    check(exported(name, frames, path), path, frames)
