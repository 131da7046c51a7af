"""A comparison that takes seconds: a resnet1d20, three SNRs, a few steps."""

from __future__ import annotations

import pytest

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
