"""What can be known to be wrong with a comparison, said before hours are spent; and how each set is used."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.affinity import cores_for
from deploy.host import processor_facts, usable_cores
from deploy.progress import Progress
from deploy.runtimes import version_here
from deploy.targets import check_is_here, load_target
from toolchain.comparison.frames import FramesAsked, labels_only, whole_set
from toolchain.comparison.grid import Grid, Start
from toolchain.comparison.recipe import ComparedData, ComparedModel, ComparisonRecipe, files_named
from toolchain.data import Dataset, check_frames, files_of_set, use_in_training, with_class_order
from toolchain.errors import DatasetError, ModelError, RecipeError
from toolchain.models import ModelCard, build_model, is_own, load_card
from toolchain.models.own import DEFAULT_CLASSES, factory_of
from toolchain.run_folder import file_identity, key_of
from toolchain.stages.beforehand import require_file
from toolchain.stages.run import use_asked
from toolchain.stages.train import hardware_of
from toolchain.training import Hardware

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Beforehand:
    """What is known of a comparison before it starts.

    ``frames`` says for each start which frames it has and how they are used, ``cards`` hold those of the model files that are
    brought along, by the model's label, and ``identities`` tell the recipe's files from others. ``processor`` and the versions
    of the ``runtimes`` are those that latencies are measured by.
    """

    frames: dict[Start, FramesAsked]
    cards: dict[str, ModelCard]
    identities: dict[str, str]
    hardware: Hardware
    processor: str
    runtimes: dict[str, str]


def looked_at(recipe: ComparisonRecipe, progress: Progress, *, trained_here: bool = True) -> Beforehand:
    """Hold ``recipe`` against this machine, its files and its models; training is not held to it unless ``trained_here``.

    Raises a ToolchainError or DeployError that names the key.
    """
    grid = Grid(recipe)
    grid.require_names()
    run = recipe.run
    # As it was asked for: "auto" is for each machine to say.
    hardware = Hardware(accelerator=run.accelerator, devices=run.devices, precision=run.precision)
    if trained_here:
        _check_training(recipe)
    runtimes = _check_measuring(recipe)
    for where, text in files_named(recipe).items():
        require_file(where, text, may_be_folder=where.startswith("data."))
    cards = {
        table.called: card
        for table in recipe.models
        if table.weights is not None and (card := load_card(Path(table.weights))) is not None
    }
    for table in recipe.models:
        _check_model(table, cards.get(table.called))
    frames = dict[Start, FramesAsked]()
    for data in recipe.data:
        whole = _of_file(data, progress)
        for start in grid.starts:
            if start.data == data.name:
                frames[start] = _frames_asked(recipe, start, data, whole, cards.get(start.model), progress)
    return Beforehand(
        frames=frames,
        cards=cards,
        identities=_identities(recipe),
        hardware=hardware,
        processor=str(processor_facts()["cpu_model"]),
        runtimes=runtimes,
    )


def _check_training(recipe: ComparisonRecipe) -> None:
    cores = len(usable_cores())
    if recipe.run.threads > cores:
        raise RecipeError(f"run.threads = {recipe.run.threads}: this process may use {cores} cores; 0 takes them all")
    for batch in (recipe.train.batch, recipe.finetune.batch):
        hardware_of(recipe.run, batch)


def _check_measuring(recipe: ComparisonRecipe) -> dict[str, str]:
    """The versions of the runtimes."""
    check_is_here(
        load_target(recipe.measure.target),
        way_out="compare on a machine that is: its latencies are measured where the comparison is started",
    )
    cores_for(recipe.measure.threads)
    return {runtime: version_here(runtime) for runtime in recipe.measure.runtimes}


def _check_model(table: ComparedModel, card: ModelCard | None) -> None:
    """Raise ModelError for an architecture that is none, and for a file that is of another one."""
    if card is not None:
        if table.classes is not None:
            raise ModelError(f"{table.weights}: the file says its classes itself; leave models.classes out")
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
    if is_own(table.name):
        # A model of the user's may take no other classes and length than its set's: that it is there is enough.
        factory_of(table.name)
    else:
        build_model(table.name, DEFAULT_CLASSES)


def _of_file(data: ComparedData, progress: Progress) -> Dataset | None:
    """The set of a file, every frame looked at once; None for one that will be generated."""
    if data.file is None:
        return None
    whole = whole_set(data, 0, progress)
    check_frames(use_asked(data, 0).selected(whole), progress=progress)
    return whole


def _frames_asked(
    recipe: ComparisonRecipe,
    start: Start,
    data: ComparedData,
    whole: Dataset | None,
    card: ModelCard | None,
    progress: Progress,
) -> FramesAsked:
    """Which frames a start has; the set that a brought model was trained on is used as then, so that tests stay unseen."""
    of_start = whole
    if of_start is None:
        # Without its frames, where nobody has to know them: what is asked of them can be held against their labels.
        of_start = labels_only(data) if card is None else whole_set(data, start.seed, progress)
    asked = use_asked(data, start.seed)
    table = next(table for table in recipe.models if table.called == start.model)
    remembered = None if card is None else use_in_training(card.training, of_start)
    first = start.seed == recipe.compare.seeds[0]
    if first and table.weights is not None and card is None and whole is not None and asked.split == "stratified":
        log.warning(
            "models.%s: plain weights do not say on which frames they were trained; those of data.%s that test them may be "
            "among them, and others for each seed. A file of thinwave's says it",
            start.model,
            data.name,
        )
    if first and remembered is not None and remembered != asked:
        log.warning(
            "models.%s: was trained on data.%s, whose frames are used as then, whatever the recipe says, so that those that "
            "it is tested on stay unseen",
            start.model,
            data.name,
        )
    use = remembered or asked
    chosen = use.selected(of_start)
    classes = card.classes if card is not None else table.classes
    if classes is not None:
        with_class_order(chosen, classes)
    if card is not None and card.length != chosen.length:
        raise DatasetError(
            f"data.{data.name}: its frames have {chosen.length} samples, and models.{start.model} takes {card.length}; "
            "expected the same length"
        )
    frames = len(use.split_of(of_start).train)
    for name, batch in (("train", recipe.train.batch), ("finetune", recipe.finetune.batch)):
        if batch > frames and (name == "finetune" or table.weights is None):
            raise RecipeError(
                f"{name}.batch = {batch}: more than the {frames} training frames of data.{data.name}; lower it, or take more "
                "frames"
            )
    return FramesAsked(
        table=data, seed=start.seed, use=use, classes=classes, fingerprint="" if whole is None else whole.fingerprint
    )


def _identities(recipe: ComparisonRecipe) -> dict[str, str]:
    """What the recipe's files hold, wherever they lie and whatever they are called; a set may be several files.

    Of a model of the user's own it is the file that defines it.
    """
    identities = {
        where: key_of(files=[file_identity(file) for file in files_of_set(Path(text))])
        if where.startswith("data.")
        else file_identity(Path(text))
        for where, text in files_named(recipe).items()
    }
    for table in recipe.models:
        if table.name is None or not is_own(table.name):
            continue
        # It was imported when the model was looked at.
        source = sys.modules[table.name.partition(":")[0]].__file__
        if source is not None:
            identities[f"models.{table.called}.code"] = file_identity(Path(source))
    return identities
