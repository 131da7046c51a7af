"""A run: the stages in order, each skipped where it was finished before.

Every stage reads what the stages before it left on disk, so a run that another process takes up goes the same way. A
stage's key is a hash of the settings that decide its outputs and of the key of the stage before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from deploy.host import usable_cores
from deploy.progress import Progress
from deploy.targets import check_is_here, load_target
from toolchain.errors import ModelError, RecipeError
from toolchain.models import ModelCard, load_card
from toolchain.recipe import Recipe
from toolchain.run_folder import StageOutput, file_identity, key_of, opened
from toolchain.stages import data, export, finetune, plan, profile, report, train
from toolchain.stages.run import Run


@dataclass(frozen=True)
class Stage:
    """One stage: its name, how it is made, what it leaves at the top of the run folder, and the tables that decide it.

    ``tables`` are those of the recipe that no earlier stage read.
    """

    name: str
    make: Callable[[Run, StageOutput, Progress], str]
    outputs: tuple[str, ...]
    tables: tuple[str, ...]


STAGES = (
    Stage("data", data.make, ("data",), ("data",)),
    Stage("train", train.make, ("original.safetensors",), ("train",)),
    Stage("plan", plan.make, ("plan.json", "similarity.npy"), ("plan",)),
    Stage("finetune", finetune.make, ("pruned.safetensors",), ("finetune",)),
    Stage("export", export.make, ("bundles",), ("export",)),
    Stage("profile", profile.make, ("latency",), ("profile",)),
    Stage("report", report.make, ("figures", "report.md", "results.json"), ()),
)


class View(Protocol):
    """What a run shows of itself while it goes on."""

    def working(self, stage: str) -> AbstractContextManager[Progress]:
        """``stage`` is at work inside the block."""

    def finished(self, stage: str, text: str, seconds: float) -> None:
        """``stage`` has ended; ``text`` says with what."""

    def kept(self, stage: str, seconds: float) -> None:
        """``stage`` was finished before and is taken as it is; it took ``seconds`` then."""


def run_recipe(recipe: Recipe, path: Path, view: View, *, replace: bool = False) -> dict[str, Any]:
    """Run ``recipe`` in the folder ``path``, going on after the last finished stage; return what results.json holds.

    ``replace`` allows a folder that holds the run of another recipe: what fits is kept, the rest is made anew.

    Raises a ToolchainError or DeployError for whatever the user can mend; what was finished stays.
    """
    check_is_here(load_target(recipe.profile.target))
    _prepare_torch(recipe.run.threads)
    settings, identities, card = _described(recipe)
    keys = _keys(settings, identities)
    with opened(path, settings, identities, replace=replace) as folder:
        folder.forget_other(keys, {stage.name: stage.outputs for stage in STAGES})
        run = Run(recipe, settings, folder, card)
        for stage in STAGES:
            key = keys[stage.name]
            if folder.finished(stage.name, key):
                view.kept(stage.name, folder.seconds(stage.name))
                continue
            with view.working(stage.name) as progress, folder.making(stage.name, key, stage.outputs) as out:
                said = stage.make(run, out, progress)
            view.finished(stage.name, said, out.seconds)
        return dict(json.loads((path / "results.json").read_text()))


def _prepare_torch(threads: int) -> None:
    if threads > len(usable_cores()):
        raise RecipeError(
            f"run.threads = {threads}: this process may use {len(usable_cores())} cores; 0 takes them all"
        )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def _described(recipe: Recipe) -> tuple[dict[str, Any], dict[str, str], ModelCard | None]:
    """The recipe's values, the identities of its input files, and the card of its model file if that has one."""
    settings = recipe.model_dump(mode="json")
    identities: dict[str, str] = {}
    for table, key in (("data", "file"), ("model", "weights")):
        text = settings[table][key]
        if text is None:
            continue
        if not Path(text).is_file():
            raise RecipeError(f"{table}.{key} = {text}: there is no such file")
        # What counts is the content, wherever the file lies; the name is for people.
        settings[table][key] = Path(text).name
        identities[f"{table}.{key}"] = file_identity(Path(text))
    card = load_card(Path(recipe.model.weights)) if recipe.model.weights else None
    if card and recipe.model.name not in (None, card.architecture):
        raise ModelError(
            f"{recipe.model.weights}: the file holds a {card.architecture}, and the recipe says "
            f'[model] name = "{recipe.model.name}"; leave the name out'
        )
    return settings, identities, card


def _keys(settings: Mapping[str, Any], identities: Mapping[str, str]) -> dict[str, str]:
    # The model comes first: a model that was brought along decides the order of the classes.
    keys, before = {}, key_of(run=settings["run"], model=settings["model"], inputs=identities)
    for stage in STAGES:
        decides = {table: settings[table] for table in stage.tables}
        before = keys[stage.name] = key_of(stage=stage.name, decides=decides, before=before)
    return keys
