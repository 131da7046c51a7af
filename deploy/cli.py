"""``thinwave-device``: the commands for the device. ``thinwave`` shows the same ones, from :data:`DEVICE_COMMANDS`.

One command, one call. What a command needs is imported when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deploy.batches import AT_ONCE
from deploy.cli_options import FOLDER, precision_option, runtime_option, threads_option
from deploy.cli_profile import profile
from deploy.cli_targets import targets
from deploy.command_line import (
    CONTEXT,
    JsonCommand,
    end_on_sigterm,
    json_option,
    run_command_line,
    stderr,
    stdout,
    write_json,
)
from deploy.names import Precision


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n  thinwave check out/pruned\n  thinwave check out/pruned --runtime openvino --precision int8",
)
@click.argument("bundle_path", metavar="BUNDLE", type=FOLDER)
@runtime_option(default="onnxruntime", best=False, help="The runtime to open it in.")
@precision_option(help="One file alone. [default: all]")
@threads_option
@json_option
def check(bundle_path: Path, runtime: str, precision: Precision | None, threads: int, json_path: str | None) -> None:
    """Check a bundle: every hash; then that each file answers to the reference frames here as it did at export.

    What it lost against the original at export is told, and is no fault.
    """
    from deploy.bundle import open_bundle
    from deploy.bundle_check import check_bundle, refuse_problems
    from deploy.check_table import check_table, check_to_json
    from deploy.progress import progress_bar

    bundle = open_bundle(bundle_path)
    with progress_bar(stderr, "check") as progress:
        checks = check_bundle(
            bundle, runtime, precisions=None if precision is None else [precision], threads=threads, progress=progress
        )
    if json_path:
        write_json(json_path, check_to_json(bundle.manifest, runtime, checks))
    if json_path != "-":
        stdout().print(check_table(bundle.manifest, runtime, checks))
    refuse_problems(bundle, runtime, checks)
    if json_path != "-":
        stdout().print(f"{bundle_path}: whole, and in {runtime} it answers as it did at export")


@click.command(
    context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave build out/pruned --runtime tensorrt --precision fp16"
)
@click.argument("bundle_path", metavar="BUNDLE", type=FOLDER)
@click.option(
    "--runtime", type=click.Choice(("tensorrt", "tensorrt-rtx")), default="tensorrt", show_default=True,
    help="Which TensorRT. Engines of tensorrt-rtx can be built where no GPU is.",
)  # fmt: skip
@precision_option(help="One file alone. [default: all]")
@click.option(
    "--batch",
    type=click.IntRange(min=1, max=AT_ONCE),
    default=1,
    show_default=True,
    help="The batch to tune it for; it takes 1 to 64.",
)
def build(bundle_path: Path, runtime: str, precision: Precision | None, batch: int) -> None:
    """Build engines for this machine beforehand; `profile` builds them too where they are not there."""
    from deploy.build import build_engines
    from deploy.bundle import open_bundle
    from deploy.progress import progress_bar

    bundle = open_bundle(bundle_path)
    with progress_bar(stderr, "build") as progress:
        built = build_engines(bundle, runtime, precision=precision, batch=batch, progress=progress)
    for each, path in built.items():
        stdout().print(f"{each}: {path}, {path.stat().st_size:,} bytes", soft_wrap=True)


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave classify out/pruned recording.sigmf-meta\n"
    "  thinwave classify out/pruned frames.npz --json answers.json",
)
@click.argument("bundle_path", metavar="BUNDLE", type=FOLDER)
@click.argument("frames_path", metavar="FRAMES", type=FOLDER)
@precision_option(default="fp32", help="Which file.")
@runtime_option(default="onnxruntime", best=False, help="The runtime to run it in.")
@threads_option
@json_option
def classify(
    bundle_path: Path, frames_path: Path, precision: Precision, runtime: str, threads: int, json_path: str | None
) -> None:
    """Name the modulation of every frame in FRAMES: an .npz, a .h5 of thinwave's, or a SigMF recording, labelled or not."""
    from deploy.bundle import open_bundle
    from deploy.classify import classify as answers_of
    from deploy.classify_table import answers_to_json, classify_table
    from deploy.frames.opening import open_frames
    from deploy.progress import progress_bar

    bundle = open_bundle(bundle_path)
    frames = open_frames(frames_path, bundle.manifest.input.shape[1])
    with progress_bar(stderr, "classify") as progress:
        answers = answers_of(bundle, frames, precision=precision, runtime=runtime, threads=threads, progress=progress)
    if json_path:
        write_json(json_path, answers_to_json(frames, answers))
    if json_path != "-":
        console = stdout()
        console.print(classify_table(str(frames_path), answers))
        if answers.correct is not None:
            console.print(f"{answers.correct:.2%} of the frames as they are labelled")


@click.command(cls=JsonCommand, context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave doctor")
@json_option
def doctor(json_path: str | None) -> None:
    """Say what is here to run and measure models with, why something is not, and what to install."""
    from deploy.doctor import measuring_here, runtimes_here
    from deploy.doctor_table import doctor_table, doctor_to_json

    runtimes, measuring = runtimes_here(), measuring_here()
    if json_path:
        write_json(json_path, doctor_to_json(runtimes, measuring))
    if json_path != "-":
        stdout().print(doctor_table("runtimes", runtimes))
        stdout().print(doctor_table("measuring", measuring))


DEVICE_COMMANDS: tuple[click.Command, ...] = (check, profile, build, classify, doctor, targets)


@click.group(context_settings=CONTEXT, commands=list(DEVICE_COMMANDS))
@click.version_option(package_name="thinwave", prog_name="thinwave")
def device() -> None:
    """On the device: check a bundle, measure it, and let it name modulations."""


def main() -> None:
    """Run ``thinwave-device`` and end the process with its exit code."""
    end_on_sigterm()
    sys.exit(run_command_line(device, program="thinwave-device"))


if __name__ == "__main__":
    main()
