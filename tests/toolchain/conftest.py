"""What the tests of the toolchain share: one thread, and a small model with weights that mean something."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from deploy.command_line import run_command_line
from deploy.runtimes import open_runtime
from toolchain.cli import thinwave as command
from toolchain.errors import ToolchainError
from toolchain.export import parity_of, require_parity
from toolchain.models import create_model, edited
from toolchain.pruning import find_units
from toolchain.training import logits_of

# Tests are small: threads would only wait for each other.
torch.set_num_threads(1)


@pytest.fixture
def model() -> nn.Module:
    """A resnet1d20 with drawn weights and BatchNorm statistics that are not the initial ones, in evaluation mode."""
    made = create_model("resnet1d20", classes=5, length=64, generator=torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(4)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean = torch.randn(module.num_features, generator=rng)
            module.running_var = torch.rand(module.num_features, generator=rng) + 0.5
            module.weight.data = torch.randn(module.num_features, generator=rng)
            module.bias.data = torch.randn(module.num_features, generator=rng)
    return made.eval()


class Gate(nn.Module):
    """What has no linear form."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)


@pytest.fixture
def gated(model) -> nn.Module:
    """The model, of whose nine units the fifth has no linear form."""
    model.stages[1][1].branch.insert(2, Gate())
    return model


@pytest.fixture
def frames() -> np.ndarray:
    """32 frames of noise, float32 (32, 2, 64)."""
    return np.random.default_rng(5).normal(size=(32, 2, 64)).astype(np.float32)


@pytest.fixture(scope="session")
def without_units():
    """A model without those of its units that are named."""

    def taken_out(model, names):
        units = find_units(model, np.zeros((1, 2, 64), np.float32))
        assert set(names) <= {unit.name for unit in units}
        return edited(model, [edit for unit in units if unit.name in names for edit in unit.edits])

    return taken_out


@pytest.fixture(scope="session")
def held_to_parity():
    """Raise ExportError unless the ONNX file computes what the model does, else say how nearly."""

    def held(model, path, frames):
        expected = logits_of(model, frames).numpy()
        with open_runtime("onnxruntime", path) as runtime:
            parity = parity_of(expected, runtime.run(frames), np.zeros(len(frames), np.int64))
        require_parity(parity, expected, path.name)
        return parity

    return held


def _text(argument):
    return argument if isinstance(argument, bytes) else str(argument)


@pytest.fixture(scope="session")
def thinwave():
    """The command, run in a process of its own."""

    def run(*arguments):
        command = [sys.executable, "-m", "toolchain.cli", *map(os.fsencode, map(_text, arguments))]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def thinwave_here(capsys):
    """The command, run in this process: torch is imported already, which takes seconds in a fresh one."""

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    def run(*arguments):
        # As a process gets them: bytes that are no UTF-8 come as surrogates.
        words = [os.fsdecode(_text(argument)) for argument in arguments]
        code = run_command_line(command, words, user_errors=(ToolchainError,))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    yield run
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def refused_here(thinwave_here):
    """As ``refused``, in this process."""

    def run(*arguments):
        done = thinwave_here(*arguments)
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert done.stderr.startswith("thinwave: error: ")
        return done.stderr

    return run


@pytest.fixture(scope="session")
def refused(thinwave):
    """What the command said when it ended as a user's mistake ends: one message, exit code 2, no traceback."""

    def run(*arguments):
        done = thinwave(*arguments)
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("thinwave: error: ")
        return done.stderr

    return run
