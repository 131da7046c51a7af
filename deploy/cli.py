"""``thinwave-device``: the commands for the device. ``thinwave`` shows the same ones, from :data:`DEVICE_COMMANDS`.

One command, one call. What a command needs is imported when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deploy.command_line import (
    CONTEXT,
    JsonCommand,
    end_on_sigterm,
    json_option,
    run_command_line,
    stderr,
    stdout,
    writable_file,
    write_json,
)

FOLDER = click.Path(path_type=Path)


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExample: how fast is it, and how many times faster than the original?\n"
    "  thinwave profile out/pruned --against out/original --json latency.json",
)
@click.argument("bundle_path", metavar="BUNDLE", type=FOLDER)
@click.option(
    "--against", "against_path", metavar="BUNDLE2", type=FOLDER, help="Measure in turns with this one: speed-up."
)
@click.option("--precision", metavar="NAME", help="fp32, fp16 or int8. [default: the target's]")
@click.option("--runtime", metavar="NAME", help="The runtime to measure in. [default: the target's]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads, each pinned to a core. [default: the target's]")
@click.option("--batch", type=click.IntRange(min=1), help="Frames a run. [default: the target's]")
@click.option("--target", metavar="NAME|FILE", help="Target profile. [default: the one for this machine]")
@click.option(
    "--processes",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    help="Fresh processes; the intervals are over them.",
)
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Timed seconds a process, at most 120.")
@click.option("--samples", "samples_path", metavar="FILE", callback=writable_file, help="Keep every sample in an .npz.")
@json_option
def profile(
    bundle_path: Path,
    against_path: Path | None,
    precision: str | None,
    runtime: str | None,
    threads: int | None,
    batch: int | None,
    target: str | None,
    processes: int,
    seconds: float,
    samples_path: str | None,
    json_path: str | None,
) -> None:
    """Measure latency on this machine: single stream, host to host, in fresh processes."""
    from deploy.bundle import open_bundle
    from deploy.latency_table import latency_table, reservations, summary
    from deploy.profiling import AGAINST, BUNDLE, profile_bundle, profile_json
    from deploy.progress import progress_bar
    from deploy.targets import load_target, this_machine

    profile_of = load_target(target) if target else this_machine()
    bundle = open_bundle(bundle_path)
    against = open_bundle(against_path) if against_path else None
    with progress_bar(stderr, "processes") as progress:
        measurement = profile_bundle(
            bundle,
            against,
            target=profile_of,
            precision=precision,
            runtime=runtime,
            threads=threads,
            batch=batch,
            processes=processes,
            seconds=seconds,
            samples_path=Path(samples_path) if samples_path else None,
            progress=progress,
        )
    if json_path:
        write_json(json_path, profile_json(measurement))
    if json_path != "-":
        console = stdout()
        console.print(latency_table(measurement, {BUNDLE: str(bundle_path), AGAINST: str(against_path)}))
        for sentence in summary(measurement, bundle.manifest, BUNDLE):
            console.print(sentence)
    for sentence in reservations(measurement, precision or profile_of.measuring.precision):
        stderr.print(f"note: {sentence}")


@click.command(cls=JsonCommand, context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave check out/pruned")
@click.argument("bundle_path", metavar="BUNDLE", type=FOLDER)
@click.option("--runtime", metavar="NAME", default="onnxruntime", show_default=True, help="The runtime to open it in.")
@json_option
def check(bundle_path: Path, runtime: str, json_path: str | None) -> None:
    """Check a bundle: manifest, sizes and hashes; then open every file and run a batch through it."""
    from rich.table import Table

    from deploy.bundle import open_bundle
    from deploy.bundle_check import check_bundle

    bundle = open_bundle(bundle_path)
    checks = check_bundle(bundle, runtime)
    if json_path:
        rows = {c.precision: {"file": c.path.name, "bytes": c.size_bytes, "executed": c.executed} for c in checks}
        write_json(json_path, {"model": bundle.manifest.model, "runtime": runtime, "precisions": rows})
    if json_path != "-":
        table = Table("precision", "file", "bytes", "executed in", title=bundle.manifest.model, title_justify="left")
        for c in checks:
            table.add_row(c.precision, c.path.name, f"{c.size_bytes:,}", c.executed)
        console = stdout()
        console.print(table)
        console.print(f"{bundle_path}: whole, and it runs in {runtime}")


@click.command(cls=JsonCommand, context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave targets")
@json_option
def targets(json_path: str | None) -> None:
    """List the target profiles, and say which is this machine."""
    from rich.table import Table

    from deploy.targets import figures_here, is_here, list_targets

    profiles = list_targets()
    if json_path:
        write_json(
            json_path,
            {
                target.name: {
                    "description": target.description,
                    "is_here": is_here(target),
                    "processor": figures_here(target) if is_here(target) else None,
                }
                for target in profiles
            },
        )
    if json_path != "-":
        table = Table("target", "description", "this machine")
        for target in profiles:
            table.add_row(target.name, target.description, "yes" if is_here(target) else "no")
        stdout().print(table)


DEVICE_COMMANDS: tuple[click.Command, ...] = (profile, check, targets)


@click.group(context_settings=CONTEXT, commands=list(DEVICE_COMMANDS))
@click.version_option(package_name="thinwave", prog_name="thinwave")
def device() -> None:
    """On the device: check a bundle, and measure it."""


def main() -> None:
    """Run ``thinwave-device`` and end the process with its exit code."""
    end_on_sigterm()
    sys.exit(run_command_line(device, program="thinwave-device"))


if __name__ == "__main__":
    main()
