"""What can be known to be wrong with a comparison, said before hours are spent; and how each set is used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.affinity import cores_for
from deploy.host import usable_cores
from deploy.progress import Progress
from deploy.runtimes import version_here
from deploy.targets import check_is_here, load_target
from toolchain.comparison.frames import FramesAsked, use_asked, whole_set
from toolchain.comparison.grid import Grid, Start
from toolchain.comparison.recipe import ComparedData, ComparedModel, ComparisonRecipe, files_named
from toolchain.data import Dataset, check_frames, files_of_set, is_set_folder, use_in_training, with_class_order
from toolchain.data.generator import PRESETS
from toolchain.errors import DatasetError, ModelError, RecipeError, TrainingError
from toolchain.models import ModelCard, build_model, is_own, load_card
from toolchain.models.own import DEFAULT_CLASSES
from toolchain.run_folder import file_identity, key_of
from toolchain.training import Hardware, resolved


@dataclass(frozen=True, kw_only=True)
class Beforehand:
    """What is known of a comparison before it starts.

    ``frames`` says for each start which frames it has and how they are used, ``cards`` hold those of the model files that are
    brought along, by the model's label, and ``identities`` tell the recipe's files from others.
    """

    frames: dict[Start, FramesAsked]
    cards: dict[str, ModelCard]
    identities: dict[str, str]
    hardware: Hardware


def looked_at(recipe: ComparisonRecipe, progress: Progress) -> Beforehand:
    """Hold ``recipe`` against this machine, its files and its models.

    Raises a ToolchainError or DeployError that names the key.
    """
    _check_machine(recipe)
    _check_files(recipe)
    hardware = _hardware(recipe)
    cards = {
        table.called: card
        for table in recipe.models
        if table.weights is not None and (card := load_card(Path(table.weights))) is not None
    }
    for table in recipe.models:
        _check_model(table, cards.get(table.called))
    grid, frames = Grid(recipe), dict[Start, FramesAsked]()
    for data in recipe.data:
        whole = _whole(data, progress)
        for start in grid.starts:
            if start.data == data.name:
                frames[start] = _frames_asked(recipe, start, data, whole, cards.get(start.model))
    return Beforehand(frames=frames, cards=cards, identities=_identities(recipe), hardware=hardware)


def _check_machine(recipe: ComparisonRecipe) -> None:
    cores = len(usable_cores())
    if recipe.run.threads > cores:
        raise RecipeError(f"run.threads = {recipe.run.threads}: this process may use {cores} cores; 0 takes them all")
    check_is_here(
        load_target(recipe.measure.target),
        way_out="compare on a machine that is: its latencies are measured where the comparison is started",
    )
    cores_for(recipe.measure.threads)
    for runtime in recipe.measure.runtimes:
        version_here(runtime)


def _check_files(recipe: ComparisonRecipe) -> None:
    for where, text in files_named(recipe).items():
        if not Path(text).is_file() and not (where.startswith("data.") and is_set_folder(Path(text))):
            found = "this is no file" if Path(text).exists() else "there is no such file"
            raise RecipeError(f"{where} = {text}: {found}; expected a file")


def _hardware(recipe: ComparisonRecipe) -> Hardware:
    run = recipe.run
    asked = Hardware(accelerator=run.accelerator, devices=run.devices, precision=run.precision)
    for batch in (recipe.train.batch, recipe.finetune.batch):
        try:
            resolved(asked, batch=batch)
        except TrainingError as error:
            raise RecipeError(f"run.{error}") from error
    # As it was asked for: "auto" is for each machine to say.
    return asked


def _check_model(table: ComparedModel, card: ModelCard | None) -> None:
    """Raise ModelError for an architecture that is none, and for a file that is of another one."""
    if card is not None:
        if table.name not in (None, card.architecture):
            raise ModelError(
                f'{table.weights}: the file holds a {card.architecture}, and the recipe says name = "{table.name}"; leave the '
                "name out"
            )
        if is_own(card.architecture) and table.name is None:
            raise ModelError(
                f"{table.weights}: its model is built by {card.architecture}, code that is not thinwave's; to let that code "
                f'run, say so with name = "{card.architecture}"'
            )
        return
    if table.name is None:
        raise ModelError(f"{table.weights}: plain weights do not say of which architecture; add its name")
    if not is_own(table.name):
        # A model of the user's may take no other classes than its own.
        build_model(table.name, DEFAULT_CLASSES)


def _whole(data: ComparedData, progress: Progress) -> Dataset | None:
    """The set of a file, every frame looked at once; None for one that will be generated."""
    if data.file is None:
        if data.preset not in PRESETS:
            raise DatasetError(f'data.{data.name}: preset "{data.preset}" is not one of {", ".join(PRESETS)}')
        return None
    whole = whole_set(data, 0, progress)
    check_frames(use_asked(data, 0).selected(whole), progress=progress)
    return whole


def _frames_asked(
    recipe: ComparisonRecipe, start: Start, data: ComparedData, whole: Dataset | None, card: ModelCard | None
) -> FramesAsked:
    """Which frames a start has; the set that a brought model was trained on is used as then, so that tests stay unseen."""
    use = use_asked(data, start.seed)
    table = next(table for table in recipe.models if table.called == start.model)
    classes = card.classes if card is not None else table.classes
    if whole is None:
        preset = PRESETS[data.preset]
        has, length = data.classes or preset.classes, preset.length
        if classes is not None and sorted(classes) != sorted(has):
            raise DatasetError(
                f"models.{start.model}: answers with {', '.join(classes)}, and data.{data.name} has {', '.join(has)}; "
                "expected the same classes"
            )
    else:
        remembered = None if card is None else use_in_training(card.training, whole)
        use = remembered or use
        chosen = use.selected(whole)
        length = chosen.length
        if classes is not None:
            with_class_order(chosen, classes)
        split = use.split_of(whole)
        for name, batch in (("train", recipe.train.batch), ("finetune", recipe.finetune.batch)):
            if batch > len(split.train):
                raise RecipeError(
                    f"{name}.batch = {batch}: more than the {len(split.train)} training frames of data.{data.name}; lower it"
                )
    if card is not None and card.length != length:
        raise DatasetError(
            f"data.{data.name}: its frames have {length} samples, and models.{start.model} takes {card.length}; expected the "
            "same length"
        )
    return FramesAsked(
        table=data, seed=start.seed, use=use, classes=classes, fingerprint="" if whole is None else whole.fingerprint
    )


def _identities(recipe: ComparisonRecipe) -> dict[str, str]:
    """What the recipe's files hold, wherever they lie and whatever they are called; a set may be several files."""
    return {
        where: key_of(files=[file_identity(file) for file in files_of_set(Path(text))])
        if where.startswith("data.")
        else file_identity(Path(text))
        for where, text in files_named(recipe).items()
    }
