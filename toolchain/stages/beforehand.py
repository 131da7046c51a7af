"""What can be known to be wrong before the first stage, said before minutes are spent."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from deploy.affinity import cores_for
from deploy.host import usable_cores
from deploy.targets import check_is_here, load_target
from toolchain.data import is_set_folder
from toolchain.errors import ModelError, PlanError, RecipeError
from toolchain.models import ModelCard, create_model, load_card, load_model
from toolchain.models.residual import ResidualUnit, ShortcutUnit
from toolchain.pruning import units_to_keep
from toolchain.recipe import Recipe, files_in
from toolchain.stages.train import DEFAULT_ARCHITECTURE


def check_before_start(recipe: Recipe) -> ModelCard | None:
    """Hold ``recipe`` against this machine, its files and its model; return the card of the model file if it has one.

    Raises a ToolchainError or DeployError that names the key.
    """
    cores = len(usable_cores())
    if recipe.run.threads > cores:
        raise RecipeError(f"run.threads = {recipe.run.threads}: this process may use {cores} cores; 0 takes them all")
    check_is_here(load_target(recipe.profile.target))
    cores_for(recipe.profile.threads)
    for (table, key), text in files_in(recipe).items():
        if not Path(text).is_file() and not (key == "file" and is_set_folder(Path(text))):
            found = "this is no file" if Path(text).exists() else "there is no such file"
            raise RecipeError(f"{table}.{key} = {text}: {found}; expected a file")
    card = load_card(Path(recipe.model.weights)) if recipe.model.weights else None
    if card is not None:
        _check_card(recipe, card)
    _check_plan(recipe, _model(recipe, card))
    return card


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


def _model(recipe: Recipe, card: ModelCard | None) -> nn.Module:
    if card is not None and recipe.model.weights is not None:
        return load_model(Path(recipe.model.weights))[0]
    return create_model(recipe.model.name or DEFAULT_ARCHITECTURE)


def _check_plan(recipe: Recipe, model: nn.Module) -> None:
    if any(isinstance(module, ShortcutUnit) for module in model.modules()):
        raise PlanError(f"{recipe.model.weights}: this model was pruned already; plan from the original model")
    units = sum(isinstance(module, ResidualUnit) for module in model.modules())
    try:
        keep = units_to_keep(recipe.plan.keep, units)
    except PlanError as error:
        raise PlanError(f"plan.{error}") from error
    blocks = recipe.plan.blocks
    if isinstance(blocks, int) and keep < blocks:
        raise PlanError(
            f"plan.blocks = {blocks}: each block keeps a unit at least, and plan.keep = {recipe.plan.keep} keeps {keep} of "
            f"{units}; expected at most {keep} blocks"
        )
