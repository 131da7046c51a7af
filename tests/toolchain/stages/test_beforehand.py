"""What is refused before the first stage, and what must not be."""

import sys
import textwrap

import numpy as np
import pytest

from toolchain.data import write_h5
from toolchain.errors import ModelError, PlanError
from toolchain.recipe import read_recipe
from toolchain.stages.beforehand import check_before_start


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A folder with a model of three classes and 16 samples, and a file of such frames; the tests run in it."""
    (tmp_path / "three.py").write_text(
        textwrap.dedent(
            """
            import torch
            from torch import nn

            class Three(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.stem = nn.Conv1d(2, 4, 3, padding=1)
                    self.layers = nn.ModuleList(nn.Conv1d(4, 4, 3, padding=1) for _ in range(3))
                    self.head = nn.Linear(64, 3)

                def forward(self, x):
                    x = self.stem(x)
                    for layer in self.layers:
                        x = x + torch.relu(layer(x))
                    return self.head(x.flatten(1))
            """
        )
    )
    iq = np.random.default_rng(0).normal(size=(60, 2, 16)).astype("f4")
    label, snr_db = np.tile(np.arange(3), 20), np.zeros(60, "f4")
    write_h5(
        tmp_path / "frames.h5", iq=iq, label=label, snr_db=snr_db, classes=("a", "b", "c"), sample_rate_hz=None,
        made_by="test",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("three", None)


def recipe_of(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


MODEL = """
[model]
name = "three:Three"
"""


def test_a_users_model_may_go_with_the_files_classes_and_length_alone(three):
    assert check_before_start(recipe_of(three, MODEL + '[data]\nfile = "frames.h5"')) is None


def test_a_users_model_is_held_against_what_is_generated(three):
    with pytest.raises(ModelError, match="three:Three: the model fails on frames"):
        check_before_start(recipe_of(three, MODEL))


def test_its_plan_is_checked_before_it_is_trained(three, refused_here):
    tables = '[data]\nfile = "frames.h5"\n[train]\nbatch = 9\n[finetune]\nbatch = 9\n[plan]\nkeep = 4'
    (three / "recipe.toml").write_text(MODEL + tables)
    said = refused_here("run", "recipe.toml", "--out", "run")
    assert "plan.keep = 4 asks for 4 units of 3: expected 1 to 3" in said
    assert not list((three / "run").rglob("checkpoint.pt"))


def test_a_budget_that_no_plan_meets_is_refused_at_once(three):
    with pytest.raises(PlanError, match=r"plan\.macs_cut = 0\.99: no plan removes that much of this model"):
        check_before_start(recipe_of(three, "[plan]\nmacs_cut = 0.99"))
