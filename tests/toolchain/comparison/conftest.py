"""A comparison that takes seconds: a resnet1d20, three SNRs, a few steps."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.baselines import Sample
from toolchain.comparison.frames import FramesAsked
from toolchain.comparison.pruning import Opened, PruneAsked
from toolchain.comparison.recipe import ComparedData
from toolchain.models import ModelCard
from toolchain.recipe import ChoicesTable
from toolchain.stages.run import use_asked

RECIPE = """
[compare]
methods = ["layers", "l1", "sfp", "scratch"]
seeds = [1]
[budgets]
macs_cut = [0.6]
[[data]]
name = "tiny"
frames_per_cell = 12
snr_min_db = 10
snr_max_db = 18
snr_step_db = 4
[[models]]
name = "resnet1d20"
[train]
steps = 12
batch = 64
[finetune]
steps = 8
batch = 64
[plan]
frames = 64
[measure]
processes = 2
seconds = 0.02
"""


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def changed(recipe_file, tmp_path):
    """The recipe with texts in the place of others."""

    def write(*changes):
        text = recipe_file.read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        path = tmp_path / "changed.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def start(model, frames):
    """The model as methods find it opened, with frames of five classes by turns."""
    card = ModelCard(architecture="resnet1d20", classes=tuple("abcde"), length=64)
    sample = Sample(frames=frames, labels=np.arange(len(frames)) % 5)
    return Opened(model=model, card=card, sample=sample, seed=1)


@pytest.fixture
def asked_of():
    """A budget for that model by a method, with no set behind it."""
    data = ComparedData(name="none")
    frames = FramesAsked(table=data, seed=1, use=use_asked(data, 1))

    def asked_of(method, asked, wanted=None):
        return PruneAsked(
            method=method, asked=asked, frames=frames, architecture="resnet1d20", choices=ChoicesTable(frames=32),
            wanted=wanted,
        )  # fmt: skip

    return asked_of
