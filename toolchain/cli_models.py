"""``thinwave train`` and ``thinwave evaluate``: a model by itself, outside of a run. One command, one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, write_json
from deploy.host import usable_cores
from toolchain.cli_options import (
    make_folder,
    refuse_existing,
    replace_option,
    require_extra,
    selection_options,
    writable_output,
)
from toolchain.errors import ToolchainError

if TYPE_CHECKING:
    from toolchain.training_hardware import Accelerator, Precision

SPLITS = ("stratified", "amr-benchmark", "sequential-80-20", "own")
ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
PARTS = ("test", "validation", "train", "all")


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave train --data RML2016.10a_dict.pkl --model resnet1d56 --out resnet.safetensors\n"
    "  thinwave train --data rml2018.h5 --model resnet1d20 --out small.safetensors --epochs 5 --batch 512\n"
    "\n\bAfter an interrupt the same command goes on from the last finished epoch.",
)
@click.option("--data", "file", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The frames.")
@click.option("--model", "architecture", required=True, metavar="NAME", help="resnet1d20, resnet1d56 or resnet1d110.")
@click.option(
    "--out",
    required=True,
    metavar="MODEL.safetensors",
    type=click.Path(path_type=Path),
    callback=writable_output,
    help="Where the model goes.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="Passes over the training split."
)
@click.option("--batch", type=click.IntRange(min=2), default=64, show_default=True, help="Frames a step.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, max=10, min_open=True),
    default=6e-3,
    show_default=True,
    help="The peak of its cycle.",
)
@click.option("--weight-decay", type=click.FloatRange(min=0, max=10), default=0.02, show_default=True)
@click.option("--rotate/--no-rotate", default=True, show_default=True, help="Turn frames by a random phase when seen.")
@click.option(
    "--ema",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.0,
    show_default=True,
    help="Decay of an average of the weights that is kept in their stead, such as 0.99; 0: none.",
)
@selection_options
@click.option("--split", type=click.Choice(SPLITS), default=SPLITS[0], show_default=True, help="How the set is split.")
@click.option("--seed", type=click.IntRange(0, (1 << 32) - 1), default=1, show_default=True)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPU threads. More are many times slower on a busy machine.",
)
@click.option(
    "--accelerator",
    type=click.Choice(ACCELERATORS),
    default=ACCELERATORS[0],
    show_default=True,
    help="auto: a GPU where there is one. Equal seeds give equal bits on the CPU alone.",
)
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="GPUs, or processes on the CPU, that share each batch.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), default=PRECISIONS[0], show_default=True)
@replace_option
def train(
    file: Path,
    architecture: str,
    out: Path,
    epochs: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    rotate: bool,
    ema: float,
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    split: str,
    seed: int,
    threads: int,
    accelerator: Accelerator,
    devices: int,
    precision: Precision,
    replace: bool,
) -> None:
    """Train a model of the zoo on FILE; of its epochs, the best on the validation split is kept."""
    require_extra()
    if out.suffix != ".safetensors":
        raise ToolchainError(f"--out {out}: expected a name that ends in .safetensors, which is what is written")
    refuse_existing(out, replace=replace, read=file)
    cores = len(usable_cores())
    if threads > cores:
        raise ToolchainError(f"--threads {threads}: this process may use {cores} cores; expected at most as many")
    import torch

    from deploy.progress import progress_bar
    from toolchain.data import open_dataset, use_in_words
    from toolchain.training_hardware import Hardware, resolved
    from toolchain.training_job import TrainingJob, train_on

    hardware = Hardware(accelerator=accelerator, devices=devices, precision=precision)
    # Before a large file is opened.
    resolved(hardware, batch=batch)
    job = TrainingJob(
        architecture=architecture,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        rotate=rotate,
        use=use_in_words(classes=classes, snr_db=snr_db, split=split, seed=seed),
        ema=ema,
        hardware=hardware,
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with progress_bar(stderr, "train") as progress:
            dataset = open_dataset(file, length=length, unknown_snr_db=unknown_snr_db, progress=progress)
            card, history = train_on(dataset, job, out, replace=replace, progress=progress)
    except KeyboardInterrupt:
        click.echo("The same command goes on from the last finished epoch.", err=True)
        raise
    best = history.epochs[history.best_epoch]
    click.echo(
        f"{out}: {architecture}, {len(card.classes)} classes; of {epochs} {'epoch' if epochs == 1 else 'epochs'} the best "
        f"was number {history.best_epoch + 1}, validation accuracy {best['validation_accuracy']:.3f}\n"
        f"thinwave evaluate {out} --data {file}   judges it by the test split"
    )


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave evaluate resnet.safetensors --data RML2016.10a_dict.pkl --plots plots\n"
    "  thinwave evaluate runs/quickstart/pruned.safetensors --data other.h5 --snr-db 10: --json",
)
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.option("--data", "file", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The frames.")
@click.option(
    "--part",
    type=click.Choice(PARTS),
    help="Which frames. [default: test, where FILE is the set the model was trained on; else FILE's own test part, or all]",
)
@selection_options
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.6,
    show_default=True,
    help="Sensitivity is the SNR at which the accuracy crosses this.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Draw accuracy by SNR and the confusion matrix into DIR.",
)
@json_option
def evaluate(
    model_path: Path,
    file: Path,
    part: str | None,
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    level: float,
    threads: int,
    plots: Path | None,
    json_path: str | None,
) -> None:
    """Say how good MODEL is on FILE: accuracy, by SNR, confusion, sensitivity in dB."""
    require_extra()
    if plots is not None:
        make_folder(plots)
    import torch

    from deploy.progress import progress_bar
    from toolchain.data import open_dataset, use_in_words
    from toolchain.evaluation import evaluate_on
    from toolchain.models import load_model

    model, card = load_model(model_path)
    use = use_in_words(classes=classes, snr_db=snr_db)
    torch.set_num_threads(threads)
    with progress_bar(stderr, "evaluate") as progress:
        cut = card.length if length is None else length
        dataset = open_dataset(file, length=cut, unknown_snr_db=unknown_snr_db, progress=progress)
        evaluation = evaluate_on(dataset, use, model, card, wanted=part, level=level, progress=progress)
    if json_path:
        write_json(json_path, {"model": str(model_path), "data": dataset.source, **evaluation.to_json()})
    if json_path != "-":
        from toolchain.report.evaluation_text import show_evaluation

        show_evaluation(stdout(), evaluation, source=dataset.source)
    if plots is not None:
        from toolchain.report.figures import write_evaluation_figures

        write_evaluation_figures(plots, evaluation, name=model_path.stem)
