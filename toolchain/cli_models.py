"""``thinwave evaluate``: how good a model is, outside of a run. One command, one call."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, write_json
from toolchain.cli_options import data_option, make_folder, model_options, require_extra, selection_options

PARTS = ("test", "validation", "train", "all")


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave evaluate resnet.safetensors --data RML2016.10a_dict.pkl --plots plots\n"
    "  thinwave evaluate runs/quickstart/pruned.safetensors --data other.h5 --snr-db 10: --json\n"
    "  thinwave evaluate --model resnet1d56 --weights w.pt --data frames.h5\n"
    "  thinwave evaluate mine.safetensors --model mypackage.models:build --data frames.h5",
)
@model_options
@data_option
@click.option(
    "--part",
    type=click.Choice(PARTS),
    help="Which frames. Of a set that the model was trained on, test, validation and train are of the SNRs and classes that "
    "the training took. [default: test, where FILE is the set the model was trained on; else FILE's own test part, or all]",
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
    help="Draw accuracy by SNR and the confusion matrix into DIR, which is made where it is not there.",
)
@json_option
def evaluate(
    model_text: str | None,
    model_name: str | None,
    weights: Path | None,
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
    """Say how good MODEL is on FILE: accuracy, by SNR, confusion, sensitivity in dB.

    MODEL is a file that thinwave wrote; or a name of the zoo or package.module:factory, with its --weights: its classes are
    then those of FILE (or of --classes), in their order.
    """
    require_extra()
    if plots is not None:
        make_folder(plots)
    import torch

    from deploy.progress import progress_bar
    from toolchain.data import use_in_words
    from toolchain.evaluation import evaluate_on
    from toolchain.trained_model import model_and_set

    use = use_in_words(classes=classes, snr_db=snr_db)
    torch.set_num_threads(threads)
    with progress_bar(stderr, "evaluate") as progress:
        model, card, dataset = model_and_set(
            model_text,
            file,
            use,
            name=model_name,
            weights=weights,
            length=length,
            unknown_snr_db=unknown_snr_db,
            progress=progress,
        )
        evaluation = evaluate_on(dataset, use, model, card, wanted=part, level=level, progress=progress)
    named = str(model_text or model_name)
    if json_path:
        write_json(json_path, {"model": named, "data": dataset.source, **evaluation.to_json()})
    if json_path != "-":
        from toolchain.report.evaluation_text import show_evaluation

        taken = f", of which the training took {evaluation.taken} alone" if evaluation.taken else ""
        show_evaluation(stdout(), evaluation, source=dataset.source + taken)
    if plots is not None:
        from toolchain.report.figures import write_evaluation_figures

        write_evaluation_figures(plots, evaluation, name=Path(named).stem)
