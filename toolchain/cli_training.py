"""``thinwave train`` and ``thinwave finetune``: a model trained by itself, outside of a run. One command, one call."""

from __future__ import annotations

import shlex
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.command_line import CONTEXT, stderr
from deploy.host import usable_cores
from toolchain.cli_options import (
    ARCHITECTURES,
    SPLITS,
    Decorated,
    data_option,
    model_options,
    refuse_existing,
    remembered_split_option,
    replace_option,
    require_extra,
    selection_options,
    writable_output,
)
from toolchain.errors import ToolchainError

if TYPE_CHECKING:
    from toolchain.training.hardware import Accelerator, Precision
    from toolchain.training_job import TrainingJob

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

DISTILLATION, TEMPERATURE = 0.5, 4.0

out_option = click.option(
    "--out",
    required=True,
    metavar="MODEL.safetensors",
    type=click.Path(path_type=Path),
    callback=writable_output,
    help="Where the model goes, in a folder that is there.",
)


def training_options(command: Decorated) -> Decorated:
    """Give a command the options that :func:`_job` reads, and ``--threads``."""
    options = (
        click.option(
            "--epochs", type=click.IntRange(min=1), default=30, show_default=True, help="Passes over the training split."
        ),
        click.option("--batch", type=click.IntRange(min=2), default=64, show_default=True, help="Frames a step."),
        click.option(
            "--learning-rate", type=click.FloatRange(min=0, max=10, min_open=True), default=6e-3, show_default=True,
            help="The peak of its cycle.",
        ),
        click.option("--weight-decay", type=click.FloatRange(min=0, max=10), default=0.02, show_default=True),
        click.option(
            "--rotate/--no-rotate", default=True, show_default=True, help="Turn frames by a random phase when seen."
        ),
        click.option(
            "--ema", type=click.FloatRange(min=0, max=1, max_open=True), default=0.0, show_default=True,
            help="Decay of an average of the weights that is kept in their stead, such as 0.99; 0: none.",
        ),
        click.option(
            "--seed", type=click.IntRange(0, (1 << 32) - 1), default=1, show_default=True,
            help="Draws the split, the order of the frames, and a new model's weights.",
        ),
        click.option(
            "--threads", type=click.IntRange(min=1), default=1, show_default=True,
            help="CPU threads. More are many times slower on a busy machine.",
        ),
        click.option(
            "--accelerator", type=click.Choice(ACCELERATORS), default=ACCELERATORS[0], show_default=True,
            help="auto: a GPU where there is one. Equal seeds give equal bits on the CPU alone.",
        ),
        click.option(
            "--devices", type=click.IntRange(min=1), default=1, show_default=True,
            help="GPUs, or processes on the CPU, that share each batch.",
        ),
        click.option("--precision", type=click.Choice(PRECISIONS), default=PRECISIONS[0], show_default=True),
    )  # fmt: skip
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave train --data RML2016.10a_dict.pkl --model resnet1d56 --out resnet.safetensors\n"
    "  thinwave train --data rml2018.h5 --model resnet1d20 --out small.safetensors --epochs 5 --batch 512\n"
    "  thinwave train --data frames.h5 --model mypackage.models:build --out mine.safetensors\n"
    "\nAfter an interrupt the same command goes on from the last finished epoch.",
)
@data_option
@click.option(
    "--model",
    "architecture",
    required=True,
    metavar="NAME",
    help=f"Of the zoo: {', '.join(ARCHITECTURES)}. Or a model of your own: package.module:factory.",
)
@out_option
@training_options
@selection_options
@click.option("--split", type=click.Choice(SPLITS), default=SPLITS[0], show_default=True, help="How the set is split.")
@replace_option
def train(
    file: Path,
    architecture: str,
    out: Path,
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    split: str,
    replace: bool,
    **training: Any,
) -> None:
    """Train a model of the zoo, or your own, on FILE; of its epochs, the best on the validation split is kept."""
    require_extra()
    _refuse_output(out, file, replace=replace)
    job = _job(**training)
    from deploy.progress import progress_bar
    from toolchain.data import open_dataset, use_in_words
    from toolchain.training_job import train_on

    use = use_in_words(classes=classes, snr_db=snr_db, split=split, seed=job.seed)
    with progress_bar(stderr, "train") as progress:
        dataset = open_dataset(file, length=length, unknown_snr_db=unknown_snr_db, progress=progress)
        card, history = train_on(dataset, architecture, use, job, out, replace=replace, progress=progress)
    best = history.epochs[history.best_epoch]
    click.echo(
        f"{out}: {architecture}, {len(card.classes)} classes; of {job.epochs} {'epoch' if job.epochs == 1 else 'epochs'} "
        f"the best was number {history.best_epoch + 1}, validation accuracy {best['validation_accuracy']:.3f}"
    )
    _say_next(out, file, architecture)


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave finetune pruned/model.safetensors --data frames.h5 --teacher trained.safetensors --out small.safetensors\n"
    "  thinwave finetune trained.safetensors --data other.h5 --epochs 5 --learning-rate 1e-3 --out here.safetensors\n"
    "  thinwave finetune --model mypackage.models:build --weights w.pt --data frames.h5 --out mine.safetensors\n"
    "\nAfter an interrupt the same command goes on from the last finished epoch.",
)
@model_options
@data_option
@click.option(
    "--teacher",
    "teacher_text",
    metavar="MODEL",
    help="A model whose answers are learnt too, such as the one that MODEL was pruned from; with the same classes.",
)
@click.option(
    "--teacher-weights",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Plain weights of the teacher, where it is a name of the zoo or package.module:factory.",
)
@click.option(
    "--distillation",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help=f"Weight of the teacher's answers against the labels. [default: {DISTILLATION:g} with a teacher]",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, max=100, min_open=True),
    help=f"What the teacher's answers are softened by. [default: {TEMPERATURE:g}]",
)
@out_option
@training_options
@selection_options
@remembered_split_option
@replace_option
def finetune(
    model_text: str | None,
    model_name: str | None,
    weights: Path | None,
    file: Path,
    teacher_text: str | None,
    teacher_weights: Path | None,
    distillation: float | None,
    temperature: float | None,
    out: Path,
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    split: str | None,
    replace: bool,
    **training: Any,
) -> None:
    """Train MODEL further on FILE, from its weights; of its epochs, the best on the validation split is kept.

    MODEL is a file that thinwave wrote; or a name of the zoo or package.module:factory, with its --weights. On the set that it
    was trained on it learns from the training split of then, and its test frames stay unseen; of another set it is to know
    all classes.
    """
    require_extra()
    models = [Path(text) for text in (model_text, teacher_text) if text is not None]
    _refuse_output(out, file, *models, *filter(None, (weights, teacher_weights)), replace=replace)
    if teacher_text is None and (teacher_weights, distillation, temperature) != (None, None, None):
        raise ToolchainError(
            "--teacher-weights, --distillation and --temperature are for a teacher; name it with --teacher, or leave them out"
        )
    weight = DISTILLATION if distillation is None else distillation
    if teacher_text is None:
        weight = 0.0
    job = _job(**training, distillation=weight, temperature=temperature or TEMPERATURE)
    from deploy.progress import progress_bar
    from toolchain.data import use_in_words
    from toolchain.trained_model import model_and_set, teacher_of
    from toolchain.training_job import finetune_on

    use = use_in_words(classes=classes, snr_db=snr_db, split=split or SPLITS[0], seed=job.seed)
    asked = None if (classes, snr_db, split) == (None, None, None) else use
    with progress_bar(stderr, "finetune") as progress:
        model, card, dataset = model_and_set(
            model_text, file, use, name=model_name, weights=weights, length=length, unknown_snr_db=unknown_snr_db,
            progress=progress,
        )  # fmt: skip
        teacher = None
        if teacher_text is not None:
            teacher = teacher_of(card, teacher_text, name=model_name, weights=teacher_weights)
        card, history = finetune_on(
            dataset, model, card, job, out, asked=asked, teacher=teacher, replace=replace, progress=progress
        )
    before, after = (
        card.training["validation_accuracy_before"],
        history.epochs[history.best_epoch]["validation_accuracy"],
    )
    click.echo(
        f"{out}: {card.architecture}, {len(card.classes)} classes; validation accuracy {before:.3f} before, "
        f"{after:.3f} after (the best was epoch {history.best_epoch + 1} of {job.epochs})"
    )
    _say_next(out, file, card.architecture)


def _refuse_output(out: Path, *read: Path, replace: bool) -> None:
    if out.suffix != ".safetensors":
        raise ToolchainError(f"--out {out}: expected a name that ends in .safetensors, which is what is written")
    for path in read:
        refuse_existing(out, replace=replace, read=path)


def _job(
    *, threads: int, accelerator: Accelerator, devices: int, precision: Precision, batch: int, **settings: Any
) -> TrainingJob:
    """Make a job of the training options, and torch ready for it; raise before a large file is opened."""
    cores = len(usable_cores())
    if threads > cores:
        raise ToolchainError(f"--threads {threads}: this process may use {cores} cores; expected at most as many")
    import torch

    from toolchain.training import Hardware, resolved
    from toolchain.training_job import TrainingJob

    hardware = Hardware(accelerator=accelerator, devices=devices, precision=precision)
    resolved(hardware, batch=batch)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    return TrainingJob(hardware=hardware, batch=batch, **settings)


def _say_next(out: Path, file: Path, architecture: str) -> None:
    # Code of the user's runs only where it is named again.
    trust = ["--model", architecture] if ":" in architecture else []
    command = shlex.join(["thinwave", "evaluate", str(out), "--data", str(file), *trust])
    click.echo(f"{command}   judges it by the test split")
