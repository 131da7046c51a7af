from __future__ import annotations

import pytest
import torch

from toolchain.errors import RecipeError, TrainingError
from toolchain.recipe import Recipe
from toolchain.stages.train import hardware_of
from toolchain.training.hardware import Hardware, resolved


@pytest.fixture
def machine(monkeypatch):
    def has(*, gpus, cores=4):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr("toolchain.training.hardware.usable_cores", lambda: list(range(cores)))

    return has


@pytest.mark.parametrize(
    ("gpus", "asked", "got"),
    [
        (0, {}, Hardware(accelerator="cpu")),
        (2, {}, Hardware(accelerator="gpu")),
        (2, {"devices": 2, "precision": "16-mixed"}, Hardware(accelerator="gpu", devices=2, precision="16-mixed")),
        (2, {"accelerator": "cpu", "devices": 4}, Hardware(accelerator="cpu", devices=4)),
        (0, {"precision": "bf16-mixed"}, Hardware(accelerator="cpu", precision="bf16-mixed")),
    ],
)
def test_auto_is_a_gpu_where_there_is_one(machine, gpus, asked, got):
    machine(gpus=gpus)
    assert resolved(Hardware(**asked), batch=64) == got


@pytest.mark.parametrize(
    ("gpus", "asked", "message"),
    [
        (0, {"accelerator": "gpu"}, 'accelerator = "gpu": torch finds no GPU here; train with "cpu"'),
        (0, {"devices": 4}, "devices = 4: torch finds no GPU here; expected 1"),
        (1, {"devices": 4}, "devices = 4: torch finds 1 GPU here; expected at most 1"),
        (0, {"accelerator": "cpu", "devices": 5}, "may use 4 cores; expected at most as many"),
        (1, {"accelerator": "cpu", "precision": "16-mixed"}, 'precision = "16-mixed": float16 needs a GPU'),
        (3, {"devices": 3}, "cannot share a batch of 64 frames evenly; expected a batch that is a multiple of 3"),
    ],
)
def test_what_this_machine_does_not_have_is_refused(machine, gpus, asked, message):
    machine(gpus=gpus)
    with pytest.raises(TrainingError, match=message):
        resolved(Hardware(**asked), batch=64)


def test_recipe_that_asks_for_it_is_refused_by_its_key(machine):
    machine(gpus=0)
    recipe = Recipe.model_validate({"run": {"devices": 4}})
    with pytest.raises(RecipeError, match=r"^run\.devices = 4: torch finds no GPU here"):
        hardware_of(recipe.run, recipe.train.batch)
    assert hardware_of(Recipe().run, 64) == Hardware(accelerator="cpu")


def test_command_refuses_it_before_it_opens_the_frames(refused, tmp_path):
    arguments = ("--data", tmp_path / "none.h5", "--model", "resnet1d20", "--out", tmp_path / "m.safetensors")
    said = refused("train", *arguments, "--accelerator", "cpu", "--devices", "9999")
    assert said.startswith("thinwave: error: devices = 9999: on the CPU each is a process")
    assert list(tmp_path.iterdir()) == []
