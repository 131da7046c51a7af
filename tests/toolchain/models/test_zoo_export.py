"""Every model of the zoo becomes an ONNX file that computes the same."""

import numpy as np
import onnx
import pytest
import torch

from deploy.runtimes import open_runtime
from toolchain.export import export_onnx, parity_of
from toolchain.models import ARCHITECTURES, create_model
from toolchain.training import logits_of

# One kind of recurrent layer each; the others take longer and are for the slow tests.
QUICK = ("lstm2", "pet-cgdnn")


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


def check(name, length, path):
    frames = special_frames(length)
    expected = logits_of(exported(name, frames, path), frames).numpy()
    with open_runtime("onnxruntime", path) as runtime:
        for batch in (1, 2, 7):
            parity = parity_of(expected[:batch], runtime.run(frames[:batch]))
            assert parity.agreement == 1.0
            # Of the logits' size: in float32 the deepest are no nearer to what they are in float64.
            assert parity.max_abs_diff < 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("name", QUICK)
def test_a_recurrent_model_computes_the_same_in_onnx(name, tmp_path):
    check(name, 24, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("length", [128, 101])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_computes_the_same_in_onnx(name, length, tmp_path):
    check(name, length, tmp_path / "m.onnx")


def test_recurrent_layers_become_operators_and_no_loops(tmp_path):
    exported("lstm2", special_frames(24), tmp_path / "m.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert kinds.count("LSTM") == 2
    assert "Loop" not in kinds
    assert len(kinds) < 100
