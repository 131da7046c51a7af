"""``thinwave data``: look at a set, make one, convert one. One command, one call."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, write_json
from toolchain.cli_options import (
    make_folder,
    refuse_existing,
    replace_option,
    require_extra,
    selection_options,
    writable_output,
)

PRESETS = ("rml2016a", "sig2019", "rml2018")


def writable_h5(context: click.Context, argument: click.Parameter, value: Path) -> Path:
    """Refuse, as a callback, also a name that says the file is of another format than it will be."""
    writable_output(context, argument, value)
    if value.suffix.lower() not in (".h5", ".hdf5"):
        raise click.BadParameter(
            f"{value}: HDF5 is what is written; expected a name that ends in .h5 or .hdf5, as {value.with_suffix('.h5')}",
            context,
            argument,
        )
    return value


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave data inspect RML2016.10a_dict.pkl\n"
    "  thinwave data inspect GOLD_XYZ_OSC.0001_1024.hdf5 --snr-db 10: --plots plots\n"
    "  thinwave data inspect recording.sigmf-meta --length 128 --json",
)
@click.argument("file", type=click.Path(path_type=Path))
@selection_options
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Draw constellation, spectrum and time trace of each class into DIR, which is made where it is not there.",
)
@json_option
def inspect(
    file: Path,
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    plots: Path | None,
    json_path: str | None,
) -> None:
    """Say what FILE holds: format, classes, SNRs, counts, scale, duplicates, and what looks wrong.

    FILE is a set in any format that is read, or the folder of HisarMod's or HKDD's files.
    """
    if plots is not None:
        require_extra("matplotlib")
        make_folder(plots)
    from deploy.progress import progress_bar
    from toolchain.data import open_dataset, use_in_words
    from toolchain.data.inspection import inspect_dataset

    use = use_in_words(classes=classes, snr_db=snr_db)
    with progress_bar(stderr, "inspect") as progress:
        dataset = use.selected(open_dataset(file, length=length, unknown_snr_db=unknown_snr_db, progress=progress))
        inspection = inspect_dataset(dataset, progress=progress)
    if json_path:
        write_json(json_path, inspection.to_json())
    if json_path != "-":
        from toolchain.report.inspection_text import show_inspection

        show_inspection(stdout(), inspection)
    if plots is not None:
        from toolchain.report.frames_figures import write_frames_figures

        with progress_bar(stderr, "plots") as progress:
            drawn = write_frames_figures(plots, dataset, inspection, progress=progress)
        stderr.print(f"{len(drawn)} pictures in {plots}", soft_wrap=True)


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave data synth train.h5 --preset rml2016a --frames-per-cell 1000\n"
    "  thinwave data synth high.h5 --preset sig2019 --frames-per-cell 200 --snr-db 10:18:2 --seed 3 --workers 4",
)
@click.argument("out", type=click.Path(path_type=Path), callback=writable_h5)
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default=PRESETS[0],
    show_default=True,
    help="The set to be like: RML2016.10a (11 classes, 128 samples), Sig2019-12 (12, 512), RML2018.01A (24, 1024).",
)
@click.option(
    "--frames-per-cell", type=click.IntRange(min=1), default=100, show_default=True, help="Of a class at an SNR."
)
@click.option("--snr-db", default="-20:18:2", show_default=True, help="low:high:step, both ends included; or 0,10,20.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Equal seeds give equal files.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes at work.")
@replace_option
def synth(out: Path, preset: str, frames_per_cell: int, snr_db: str, seed: int, workers: int, replace: bool) -> None:
    """Generate a set of frames: OUT.h5, in a folder that is there. The frames are the same for any number of workers."""
    from deploy.progress import progress_bar
    from toolchain.data.snr_text import snrs_in
    from toolchain.data.synth import write_generated

    refuse_existing(out, replace=replace)
    snrs = snrs_in(snr_db)
    with progress_bar(stderr, "synth") as progress:
        write_generated(
            out,
            preset,
            frames_per_cell=frames_per_cell,
            snr_db=snrs,
            seed=seed,
            workers=workers,
            progress=progress,
        )
    click.echo(
        f"{out}: {preset}, {frames_per_cell} frames of each class at {len(snrs)} SNRs, {out.stat().st_size:,} bytes"
    )


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave data convert RML2016.10a_dict.pkl rml2016a.h5\n"
    "  thinwave data convert GOLD_XYZ_OSC.0001_1024.hdf5 high.h5 --snr-db 10: --classes BPSK,QPSK,8PSK,16QAM",
)
@click.argument("file", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), callback=writable_h5)
@selection_options
@replace_option
def convert(
    file: Path,
    out: Path,
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    replace: bool,
) -> None:
    """Write the set IN as thinwave's own OUT.h5, or a part of it, into a folder that is there.

    A set larger than memory will do.
    """
    from deploy.progress import progress_bar
    from toolchain.data import convert_to_h5, open_dataset, use_in_words

    refuse_existing(out, replace=replace, read=file)
    use = use_in_words(classes=classes, snr_db=snr_db)
    with progress_bar(stderr, "convert") as progress:
        dataset = use.selected(open_dataset(file, length=length, unknown_snr_db=unknown_snr_db, progress=progress))
        convert_to_h5(dataset, out, made_by=f"thinwave data convert, from {dataset.source}", progress=progress)
    click.echo(
        f"{out}: {len(dataset):,} frames of {dataset.length} samples, {len(dataset.classes)} classes, "
        f"{out.stat().st_size:,} bytes"
    )


@click.group(context_settings=CONTEXT, commands=[inspect, synth, convert])
def data() -> None:
    """Sets of frames: look at one, make one, convert one."""
