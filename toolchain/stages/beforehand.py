"""What can be known to be wrong before the first stage, said before minutes are spent."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from deploy.affinity import cores_for
from deploy.host import usable_cores
from deploy.runtimes import version_here
from deploy.targets import check_is_here, load_target
from toolchain.data import is_set_folder
from toolchain.data.generator import PRESETS
from toolchain.errors import ModelError, RecipeError
from toolchain.models import ModelCard, build_model, is_own, load_card, load_model
from toolchain.models.own import DEFAULT_CLASSES
from toolchain.models.source import DEFAULT_LENGTH
from toolchain.recipe import Recipe, files_in
from toolchain.stages.plan import require_plannable
from toolchain.stages.train import DEFAULT_ARCHITECTURE, hardware_of


def check_before_start(recipe: Recipe) -> ModelCard | None:
    """Hold ``recipe`` against this machine, its files and its model; return the card of the model file if it has one.

    Raises a ToolchainError or DeployError that names the key.
    """
    cores = len(usable_cores())
    if recipe.run.threads > cores:
        raise RecipeError(f"run.threads = {recipe.run.threads}: this process may use {cores} cores; 0 takes them all")
    check_is_here(
        load_target(recipe.profile.target), way_out="name this machine's, and profile the bundles on that one"
    )
    cores_for(recipe.profile.threads)
    version_here(recipe.profile.runtime)
    for (table, key), text in files_in(recipe).items():
        require_file(f"{table}.{key}", text, may_be_folder=key == "file")
    for batch in (recipe.train.batch, recipe.finetune.batch):
        hardware_of(recipe.run, batch)
    card = load_card(Path(recipe.model.weights)) if recipe.model.weights else None
    if card is not None:
        _check_card(recipe, card)
    # A model of the user's may go with no other length and classes than the file's, which was not opened yet.
    if card is not None or recipe.data.file is None or not is_own(recipe.model.name or DEFAULT_ARCHITECTURE):
        length = card.length if card else _expected_length(recipe)
        require_plannable(recipe.plan, _model(recipe, card, length), length)
    return card


def require_file(where: str, text: str, *, may_be_folder: bool) -> None:
    """Raise RecipeError, which names the key ``where``, for a file that is not there; a set may be a folder."""
    path = Path(text)
    if not path.is_file() and not (may_be_folder and is_set_folder(path)):
        found = "this is no file" if path.exists() else "there is no such file"
        raise RecipeError(f"{where} = {text}: {found}; expected a file")


def _check_card(recipe: Recipe, card: ModelCard) -> None:
    asked = recipe.model
    if asked.name not in (None, card.architecture):
        raise ModelError(
            f'{asked.weights}: the file holds a {card.architecture}, and the recipe says [model] name = "{asked.name}"; '
            "leave the name out"
        )
    if asked.classes not in (None, card.classes):
        raise ModelError(
            f"{asked.weights}: the file says its classes itself, {', '.join(card.classes)}, and the recipe says others; "
            "leave [model] classes out"
        )


def _expected_length(recipe: Recipe) -> int:
    """Samples a frame; of a file that was not opened yet, a guess that units do not depend on."""
    preset = None if recipe.data.file else PRESETS.get(recipe.data.preset)
    return recipe.data.length or (preset.length if preset else DEFAULT_LENGTH)


def _model(recipe: Recipe, card: ModelCard | None, length: int) -> nn.Module:
    name = recipe.model.name
    if card is not None and recipe.model.weights is not None:
        return load_model(Path(recipe.model.weights), trusted=name)[0]
    preset = PRESETS.get(recipe.data.preset)
    classes = recipe.data.classes or (preset.classes if preset else ())
    # No budget depends on a zoo model's classes, where a file has them.
    return build_model(name or DEFAULT_ARCHITECTURE, len(classes) or DEFAULT_CLASSES, length)
