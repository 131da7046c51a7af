"""``thinwave export``: a trained model as a bundle for the device. One command, one call."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, write_json
from deploy.names import PRECISIONS, Precision
from toolchain.cli_options import (
    SPLITS,
    data_option,
    model_options,
    remembered_split_option,
    replace_option,
    require_extra,
    selection_options,
)

log = logging.getLogger(__name__)


class Precisions(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """One or more of the precisions, with commas between them."""

    name = "fp32,fp16,int8"

    def convert(
        self, value: str | tuple[Precision, ...], parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[Precision, ...]:
        """Return them in the order of :data:`deploy.names.PRECISIONS`."""
        if isinstance(value, tuple):
            return value
        asked = [name.strip() for name in value.split(",")]
        if unknown := [name for name in asked if name not in PRECISIONS]:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(PRECISIONS)}", parameter, context)
        return tuple(name for name in PRECISIONS if name in asked)


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave export small.safetensors --data frames.h5 --out bundle\n"
    "  thinwave export small.safetensors --data frames.h5 --precision fp32,int8 --out bundle --json\n"
    "  thinwave export theirs.onnx --data RML2016.10a_dict.pkl --out bundle\n"
    "\n\b\nThen, here or on the device:\n"
    "  thinwave-device check bundle\n"
    "  thinwave-device profile bundle",
)
@model_options
@data_option
@click.option(
    "--precision", "precisions", type=Precisions(), default=",".join(PRECISIONS), show_default=True,
    help="What the files compute in.",
)  # fmt: skip
@click.option(
    "--most-drop", type=click.FloatRange(0, 100), default=0.5, show_default=True, metavar="POINTS",
    help="Points of accuracy that fp16 and int8 may cost on the validation split; int8 leaves layers in fp32 until it keeps "
    "to it.",
)  # fmt: skip
@click.option(
    "--calibration", type=click.IntRange(min=1), default=512, show_default=True, metavar="N",
    help="Training frames that int8 takes its ranges from, spread over class and SNR.",
)  # fmt: skip
@click.option(
    "--reference", type=click.IntRange(min=1), default=512, show_default=True, metavar="N",
    help="Validation frames that travel with the bundle, for `check`.",
)  # fmt: skip
@selection_options
@remembered_split_option
@click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), default=1, show_default=True,
    help="Draws the frames for calibration and reference, and the splits where MODEL does not remember its own.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option(
    "--out", required=True, metavar="BUNDLE", type=click.Path(path_type=Path), help="Folder to write, with all it holds.",
)  # fmt: skip
@replace_option
@json_option
def export(
    model_text: str | None,
    model_name: str | None,
    weights: Path | None,
    file: Path,
    precisions: tuple[Precision, ...],
    most_drop: float,
    calibration: int,
    reference: int,
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    split: str | None,
    seed: int,
    threads: int,
    out: Path,
    replace: bool,
    json_path: str | None,
) -> None:
    """Write MODEL as a bundle: ONNX in each precision, checked and scored on FILE, with all that a device needs.

    MODEL is a file that thinwave wrote; a name of the zoo or package.module:factory, with its --weights; or an ONNX file,
    somebody else's too. On the set that it was trained on, the frames are of its own splits; what an ONNX file was trained
    on nobody knows.
    """
    require_extra()
    from toolchain.export_job import refuse_used

    is_onnx = model_text is not None and Path(model_text).suffix.lower() == ".onnx"
    read = [Path(model_text)] if model_text is not None else []
    refuse_used(out, replace=replace, read=[*read, file, *((weights,) if weights else ())])
    import torch

    from deploy.progress import progress_bar
    from toolchain.data import open_dataset, use_in_words
    from toolchain.export import from_model, from_onnx
    from toolchain.export_job import export_on
    from toolchain.report.bundle_text import bundle_to_json, show_bundle
    from toolchain.trained_model import model_and_set, use_for_more_training

    torch.set_num_threads(threads)
    use = use_in_words(classes=classes, snr_db=snr_db, split=split or SPLITS[0], seed=seed)
    asked = None if (classes, snr_db, split) == (None, None, None) else use
    with progress_bar(stderr, "export") as progress:
        if is_onnx:
            assert model_text is not None
            if weights is not None or model_name is not None:
                raise click.UsageError("an ONNX file holds its weights; leave --weights and --model out")
            dataset = open_dataset(file, length=length, unknown_snr_db=unknown_snr_db, progress=progress)
            origin = from_onnx(Path(model_text), use.selected(dataset).classes, guessed=classes is None)
        else:
            model, card, dataset = model_and_set(
                model_text, file, use, name=model_name, weights=weights, length=length, unknown_snr_db=unknown_snr_db,
                progress=progress,
            )  # fmt: skip
            use = use_for_more_training(dataset, card, asked) or use
            origin = from_model(model, card)
        manifest = export_on(
            dataset, use, origin, precisions, out, most_drop=most_drop / 100, calibration=calibration,
            reference=reference, seed=seed, threads=threads, progress=progress,
        )  # fmt: skip
    if json_path:
        write_json(json_path, bundle_to_json(manifest))
    if json_path != "-":
        show_bundle(stdout(), manifest, out)
