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

from deploy.progress import Progress
from toolchain.data import files_of_set
from toolchain.recipe import Recipe, files_in
from toolchain.run_folder import StageOutput, file_identity, key_of, opened
from toolchain.stages import data, export, finetune, plan, profile, report, train
from toolchain.stages.beforehand import check_before_start
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
    card = check_before_start(recipe)
    identities = _identities(recipe)
    deciding = _deciding(recipe)
    keys = _keys(deciding, identities)
    torch.set_num_threads(recipe.run.threads)
    torch.use_deterministic_algorithms(True)
    with opened(path, deciding, identities, replace=replace) as folder:
        outputs = {stage.name: stage.outputs for stage in STAGES}
        run = Run(recipe, folder, card)
        for stage in STAGES:
            key = keys[stage.name]
            if folder.finished(stage.name, key):
                view.kept(stage.name, folder.seconds(stage.name))
                continue
            with view.working(stage.name) as progress, folder.making(stage.name, key, stage.outputs) as out:
                if stage.make is not data.make:
                    run.read(progress)
                said = stage.make(run, out, progress)
                folder.take_over(keys, outputs)
            view.finished(stage.name, said, out.seconds)
        return dict(json.loads((path / "results.json").read_text()))


def _identities(recipe: Recipe) -> dict[str, str]:
    """What the recipe's files hold, wherever they lie and whatever they are called."""
    named = files_in(recipe)
    identities = {f"{table}.{key}": file_identity(Path(text)) for (table, key), text in named.items()}
    if ("data", "file") in named:
        # A set may be several files.
        identities["data.file"] = key_of(
            files=[file_identity(file) for file in files_of_set(Path(named["data", "file"]))],
        )
    return identities


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values that decide what comes out: without the names of files, and without what a file makes idle."""
    values = recipe.model_dump(mode="json")
    for table, key in files_in(recipe):
        del values[table][key]
    if recipe.data.file is not None:
        for key in ("preset", "frames_per_cell", "snr_step_db"):
            del values["data"][key]
    if recipe.model.weights is not None:
        del values["train"]
    return values


def _keys(deciding: Mapping[str, Any], identities: Mapping[str, str]) -> dict[str, str]:
    # The model comes first: a model that was brought along decides the order of the classes.
    inputs = {name: identity for name, identity in identities.items() if name != "profile.target"}
    keys, before = {}, key_of(run=deciding["run"], model=deciding["model"], inputs=inputs)
    for stage in STAGES:
        decides = {table: deciding.get(table) for table in stage.tables}
        if stage.name == "profile":
            decides["target"] = identities.get("profile.target")
        before = keys[stage.name] = key_of(stage=stage.name, decides=decides, before=before)
    return keys
