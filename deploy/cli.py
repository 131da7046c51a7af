"""``thinwave-device``: the commands for the device. ``thinwave`` shows the same ones, from :data:`DEVICE_COMMANDS`.

One command, one call. What a command needs is imported when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from deploy.batches import AT_ONCE, MOST_BATCH
from deploy.command_line import (
    CONTEXT,
    Decorated,
    JsonCommand,
    end_on_sigterm,
    json_option,
    run_command_line,
    stderr,
    stdout,
    writable_file,
    write_json,
)
from deploy.names import PRECISIONS, RUNTIME_NAMES, Precision
from deploy.suggestion import did_you_mean

FOLDER = click.Path(path_type=Path)
# Timed seconds a process.
QUICK_S, OFFICIAL_S = 3.0, 60.0


def precision_option(*, default: Precision | None = None, help: str) -> Callable[[Decorated], Decorated]:  # noqa: A002
    """``--precision NAME``; ``help`` says what is taken where there is no ``default``."""
    return click.option(
        "--precision", type=click.Choice(PRECISIONS), default=default, show_default=default is not None, help=help
    )


def runtime_option(*, default: str | None, best: bool, help: str) -> Callable[[Decorated], Decorated]:  # noqa: A002
    """``--runtime NAME``, ``best`` among the names or not; one that is misspelled is told before any work."""
    names = (*RUNTIME_NAMES, "best") if best else RUNTIME_NAMES

    def known(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
        if value is not None and value not in names:
            raise click.BadParameter(
                f'no runtime is named "{value}"{did_you_mean(value, names)}; there are: {", ".join(names)}',
                context,
                option,
            )
        return value

    return click.option(
        "--runtime", metavar="NAME", callback=known, default=default, show_default=default is not None, help=help
    )


threads_option = click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads, as many as cores at most."
)


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave profile out/pruned --against out/original --json latency.json\n"
    "  thinwave profile out/pruned --runtime best\n"
    "  thinwave profile out/pruned --precision int8 --runtime openvino --layers\n"
    "  thinwave profile theirs.onnx --batch 64 --official",
)
@click.argument("bundle_path", metavar="BUNDLE|FILE.onnx", type=FOLDER)
@click.option(
    "--against", "against_path", metavar="BUNDLE2", type=FOLDER, help="Measure in turns with this one: speed-up."
)
@precision_option(help="Which file. [default: the target's]")
@runtime_option(
    default=None,
    best=True,
    help=f"{', '.join(RUNTIME_NAMES)}; or best: the fastest that is here, answers as it did at export, and loses at "
    "most half a point of accuracy against the original. [default: the target's]",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads, each pinned to a core. [default: the target's]")
@click.option("--batch", type=click.IntRange(min=1, max=MOST_BATCH), help="Frames a run. [default: the target's]")
@click.option("--target", metavar="NAME|FILE", help="Target profile. [default: the one for this machine]")
@click.option(
    "--processes",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    help="Fresh processes; the intervals are over them.",
)
@click.option("--quick", is_flag=True, help="Time 3 s a process. This is the default.")
@click.option("--official", is_flag=True, help="Time 60 s a process.")
@click.option("--seconds", type=float, help="Timed seconds a process, at most 120, in place of these.")
@click.option(
    "--layers",
    "with_layers",
    is_flag=True,
    help="Say where the time goes, layer by layer, and what bounds each: launching (the time of the quickest layer), memory "
    "(its bytes at the bandwidth of a copy in cache), or arithmetic (its products at the rate of a float32 matrix product). "
    "These rates are measured on the processor: they count there alone, the last in fp32 alone.",
)
@click.option("--samples", "samples_path", metavar="FILE", callback=writable_file, help="Keep every sample in an .npz.")
@json_option
def profile(
    bundle_path: Path,
    against_path: Path | None,
    precision: Precision | None,
    runtime: str | None,
    threads: int | None,
    batch: int | None,
    target: str | None,
    processes: int,
    quick: bool,
    official: bool,
    seconds: float | None,
    with_layers: bool,
    samples_path: str | None,
    json_path: str | None,
) -> None:
    """Measure latency on this machine: single stream, host to host, in fresh processes."""
    asked = {"--quick": quick, "--official": official, "--seconds": seconds is not None}
    if len(how_long := [name for name, given in asked.items() if given]) > 1:
        raise click.UsageError(f"{' and '.join(how_long)} each say how long; give one")
    from deploy.latency_table import latency_table, layer_table, looks_table, reservations, summary
    from deploy.profiling import AGAINST, BUNDLE, open_subject
    from deploy.profiling import profile as profile_subject
    from deploy.progress import progress_bar
    from deploy.targets import load_target, this_machine

    profile_of = load_target(target) if target else this_machine()
    subject = open_subject(bundle_path)
    against = open_subject(against_path) if against_path else None
    with progress_bar(stderr, "processes") as progress:
        found = profile_subject(
            subject,
            against,
            target=profile_of,
            precision=precision,
            runtime=runtime,
            threads=threads,
            batch=batch,
            processes=processes,
            seconds=OFFICIAL_S if official else QUICK_S if seconds is None else seconds,
            with_layers=with_layers,
            samples_path=Path(samples_path) if samples_path else None,
            progress=progress,
        )
    if json_path:
        write_json(json_path, found.to_json())
    if json_path != "-":
        console = stdout()
        if found.looks:
            console.print(looks_table(found.looks, (found.runtime, found.precision)))
        console.print(latency_table(found.measurement, {BUNDLE: str(bundle_path), AGAINST: str(against_path)}))
        for sentence in summary(found.measurement, subject.length, subject.sample_rate_hz, BUNDLE):
            console.print(sentence)
        if found.layers is not None:
            console.print(layer_table(found.layers))
    for sentence in reservations(found.measurement):
        stderr.print(f"note: {sentence}")


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


@click.command(cls=JsonCommand, context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave targets")
@json_option
def targets(json_path: str | None) -> None:
    """List the target profiles, and say which is this machine."""
    from deploy.targets import list_targets
    from deploy.targets_table import targets_table, targets_to_json

    profiles = list_targets()
    if json_path:
        write_json(json_path, targets_to_json(profiles))
    if json_path != "-":
        stdout().print(targets_table(profiles))


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
