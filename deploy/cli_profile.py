"""``profile``: latency, measured on this machine or on others over ssh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.batches import MOST_BATCH
from deploy.cli_options import FOLDER, precision_option, runtime_option
from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, writable_file, write_json
from deploy.names import RUNTIME_NAMES, Precision

if TYPE_CHECKING:
    from deploy.latency import Measurement
    from deploy.profiling import Profile

# Timed seconds a process.
QUICK_S, OFFICIAL_S = 3.0, 60.0


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave profile out/pruned --against out/original --json latency.json\n"
    "  thinwave profile out/pruned --runtime best\n"
    "  thinwave profile out/pruned --precision int8 --runtime openvino --layers\n"
    "  thinwave profile out/pruned --device ssh://me@jetson --target jetson-orin-nano-8gb\n"
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
@click.option("--target", metavar="NAME|FILE", help="Target profile. [default: the one for the machine that measures]")
@click.option("--power-mode", metavar="NAME", help="Of a Jetson: measure in this one, and set the former again.")
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
@click.option(
    "--device",
    "devices",
    metavar="ssh://[USER@]HOST[:PORT][/DIR]",
    multiple=True,
    help="Measure there instead of here, by ssh, which needs a key; several at once where it is given again. What is "
    "copied and installed there, in DIR or ~/.cache/thinwave, spares the next call doing so.",
)
@click.option("--wheels", metavar="DIR", type=FOLDER, help="Wheels for devices that have no network.")
@click.option("--leave-nothing", is_flag=True, help="Remove from the devices what the next call could use.")
@click.option(
    "--from-trtexec",
    "trtexec_path",
    metavar="PATH",
    type=FOLDER,
    help="Measure nothing: read what the bundle's trtexec.sh left on the device that --target names, or one file of "
    "trtexec --exportTimes.",
)
@json_option
def profile(
    bundle_path: Path,
    against_path: Path | None,
    precision: Precision | None,
    runtime: str | None,
    threads: int | None,
    batch: int | None,
    target: str | None,
    power_mode: str | None,
    processes: int,
    quick: bool,
    official: bool,
    seconds: float | None,
    with_layers: bool,
    samples_path: str | None,
    devices: tuple[str, ...],
    wheels: Path | None,
    leave_nothing: bool,
    trtexec_path: Path | None,
    json_path: str | None,
) -> None:
    """Measure latency, here or on another machine: single stream, host to host, in fresh processes."""
    asked = {"--quick": quick, "--official": official, "--seconds": seconds is not None}
    if len(how_long := [name for name, given in asked.items() if given]) > 1:
        raise click.UsageError(f"{' and '.join(how_long)} each say how long; give one")
    if not devices and (wheels or leave_nothing):
        raise click.UsageError(f"{'--wheels' if wheels else '--leave-nothing'} is for what --device names")
    if len(devices) > 1 and samples_path:
        raise click.UsageError("--samples is one file: name one --device at a time")
    if devices and samples_path and not os.access(folder := Path(samples_path).absolute().parent, os.W_OK):
        raise click.UsageError(f"--samples: {folder} may not be written to; name a file in another folder")
    if trtexec_path is not None:
        measuring = {
            "--against": against_path, "--runtime": runtime, "--threads": threads, "--power-mode": power_mode,
            "--quick": quick, "--official": official, "--seconds": seconds, "--layers": with_layers,
            "--samples": samples_path, "--device": devices, "--processes": _was_given("processes"),
        }  # fmt: skip
        if given := [name for name, value in measuring.items() if value]:
            raise click.UsageError(f"{given[0]} is for measuring, and --from-trtexec reads what was measured")
        if target is None:
            raise click.UsageError("--from-trtexec needs --target: the times do not say on what they were taken")
        _show_trtexec(bundle_path, trtexec_path, target, precision, batch, json_path)
        return
    settings = {
        "precision": precision,
        "runtime": runtime,
        "threads": threads,
        "batch": batch,
        "processes": processes,
        "seconds": OFFICIAL_S if official else QUICK_S if seconds is None else seconds,
        "with_layers": with_layers,
    }
    samples = Path(samples_path) if samples_path else None
    if devices:
        found = _measure_there(
            bundle_path, against_path, devices, target, {**settings, "power_mode": power_mode}, samples, wheels,
            keep=not leave_nothing,
        )  # fmt: skip
    else:
        found = {"": _measure_here(bundle_path, against_path, target, power_mode, samples, settings)}
    measured = {name: each for name, each in found.items() if not isinstance(each, Exception)}
    if json_path and measured:
        write_json(json_path, _to_json(measured, several=len(devices) > 1))
    for name, each in measured.items():
        if json_path != "-":
            _show(name, each, bundle_path, against_path)
        _warn(name, each.measurement)
    failed = [str(each) for each in found.values() if isinstance(each, Exception)]
    if failed:
        raise click.ClickException("\n".join(failed))


def _was_given(name: str) -> bool:
    """Whether an option that has a default was named."""
    return click.get_current_context().get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def _measure_here(
    bundle_path: Path,
    against_path: Path | None,
    target: str | None,
    power_mode: str | None,
    samples_path: Path | None,
    settings: dict[str, Any],
) -> Profile:
    from deploy.power_mode import in_power_mode
    from deploy.profiling import open_subject
    from deploy.profiling import profile as profile_subject
    from deploy.progress import progress_bar
    from deploy.targets import check_is_here, load_target, this_machine

    profile_of = load_target(target) if target else this_machine()
    # Before a power mode is set.
    check_is_here(profile_of)
    subject = open_subject(bundle_path)
    against = open_subject(against_path) if against_path else None
    with in_power_mode(power_mode), progress_bar(stderr, "processes") as progress:
        return profile_subject(
            subject, against, target=profile_of, samples_path=samples_path, progress=progress, **settings
        )


def _measure_there(
    bundle_path: Path,
    against_path: Path | None,
    devices: Sequence[str],
    target: str | None,
    settings: dict[str, Any],
    samples_path: Path | None,
    wheels: Path | None,
    *,
    keep: bool,
) -> dict[str, Profile | Exception]:
    """What each device gave, by its address, or the error that it ended in."""
    from deploy.profiling import open_subject
    from deploy.progress import progress_bars
    from deploy.remote.address import parse_device
    from deploy.remote.connection import Connection
    from deploy.remote.device_side import Settings
    from deploy.remote.measuring import profile_there
    from deploy.remote.several import on_each
    from deploy.targets import load_target

    parsed = [parse_device(each) for each in devices]
    places = [(each.host, each.port) for each in parsed]
    if alike := next((each for each in places if places.count(each) > 1), None):
        same = [each for each, place in zip(devices, places, strict=True) if place == alike]
        raise click.UsageError(f"{' and '.join(same)} are one device; one measurement runs on a device at a time")
    connections = [Connection(each) for each in parsed]
    subject = open_subject(bundle_path)
    against = open_subject(against_path) if against_path else None
    # A profile of the user's own is not on the device.
    told = load_target(target) if target else None
    with progress_bars(stderr, devices) as bars:

        def measure(number: int, connection: Connection) -> Profile:
            return profile_there(
                connection, subject, against, Settings(**settings),
                target=told, wheels=wheels, keep=keep, samples_path=samples_path, progress=bars[number],
            )  # fmt: skip

        return dict(zip(devices, on_each(connections, measure), strict=True))


def _show_trtexec(
    bundle_path: Path,
    trtexec_path: Path,
    target: str,
    precision: Precision | None,
    batch: int | None,
    json_path: str | None,
) -> None:
    from deploy.bundle import open_bundle
    from deploy.latency import Measurement, ModelLatency
    from deploy.latency_table import latency_table
    from deploy.profiling import BUNDLE
    from deploy.targets import load_target
    from deploy.trtexec import records_of

    records = records_of(
        trtexec_path, open_bundle(bundle_path), target=load_target(target), precision=precision, batch=batch
    )
    if json_path:
        write_json(json_path, {"latency": [record.to_json() for record in records]})
    for record in records:
        found = Measurement(models={BUNDLE: ModelLatency(record=record, samples_ns=())}, ratio=None)
        if json_path != "-":
            stdout().print(latency_table(found, {BUNDLE: str(bundle_path)}))
        _warn(record.precision if len(records) > 1 else "", found)


def _to_json(measured: dict[str, Profile], *, several: bool) -> dict[str, Any]:
    """One measurement as it is; where several devices were asked for the rows of all together, and each by its device."""
    if not several:
        return next(iter(measured.values())).to_json()
    each = {name: profile.to_json() for name, profile in measured.items()}
    return {"latency": [row for told in each.values() for row in told["latency"]], "devices": each}


def _show(name: str, profile: Profile, bundle_path: Path, against_path: Path | None) -> None:
    from deploy.latency_table import latency_table, layer_table, looks_table, summary
    from deploy.profiling import AGAINST, BUNDLE

    console = stdout()
    if name:
        console.print(name)
    if profile.looks:
        console.print(looks_table(profile.looks, (profile.runtime, profile.precision)))
    console.print(latency_table(profile.measurement, {BUNDLE: str(bundle_path), AGAINST: str(against_path)}))
    for sentence in summary(profile.measurement, profile.length, profile.sample_rate_hz, BUNDLE):
        console.print(sentence)
    if profile.layers is not None:
        console.print(layer_table(profile.layers))


def _warn(name: str, measurement: Measurement) -> None:
    from deploy.latency_table import reservations

    for sentence in reservations(measurement):
        stderr.print(f"note: {name}{': ' if name else ''}{sentence}")
