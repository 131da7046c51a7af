"""``thinwave estimate``: latency where nothing was measured. One command, one call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli_options import FOLDER
from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, write_json
from deploy.names import PRECISIONS, Precision, RuntimeName
from toolchain.cli_options import require_extra
from toolchain.errors import EstimateError

if TYPE_CHECKING:
    from deploy.bundle import Layer
    from deploy.target_profile import Target
    from toolchain.estimates import Calibration, Estimate, Settings


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave estimate --calibrate\n"
    "  thinwave estimate out/pruned\n"
    "  thinwave estimate out/pruned --against out/original --all\n"
    "  thinwave estimate out/pruned --target jetson-orin-nano-8gb --power-mode 15W --json",
)
@click.argument("bundle_path", metavar="[BUNDLE|FILE.onnx]", type=FOLDER, required=False)
@click.option("--against", "against_path", metavar="BUNDLE2", type=FOLDER, help="How many times as fast as this one.")
@click.option("--target", metavar="NAME|FILE", help="Target profile. [default: this machine's]")
@click.option("--all", "all_targets", is_flag=True, help="Every target profile that comes with thinwave.")
@click.option("--runtime", metavar="NAME", help="[default: the target's]")
@click.option(
    "--precision", type=click.Choice(PRECISIONS), help="[default: the target's; fp32 where BUNDLE does not hold that]"
)
@click.option("--power-mode", metavar="NAME", help="Of a Jetson. [default: all of them in sum, the first by layer]")
@click.option(
    "--calibrate",
    is_flag=True,
    help="First measure some 110 networks on this machine, eight minutes, and fit the constants to them; they are kept "
    "for later estimates of this target, runtime and precision.",
)
@click.option(
    "--calibration",
    "calibration_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read the constants here, from another machine perhaps; with --calibrate, write them here.",
)
@json_option
def estimate(
    bundle_path: Path | None,
    against_path: Path | None,
    target: str | None,
    all_targets: bool,
    runtime: str | None,
    precision: Precision | None,
    power_mode: str | None,
    calibrate: bool,
    calibration_path: Path | None,
    json_path: str | None,
) -> None:
    """Estimate the latency of BUNDLE, layer by layer, on a target that need not be there.

    A roofline with a time for every kernel. Its constants are fitted to measurements where somebody calibrated, and assumed
    from the target's profile where not; the interval says which.
    """
    require_extra()
    if bundle_path is None and not calibrate:
        raise click.UsageError("name a BUNDLE, or calibrate with --calibrate")
    if bundle_path is None and (against_path or power_mode):
        raise click.UsageError(f"{'--against' if against_path else '--power-mode'} is for the estimate of a BUNDLE")
    if all_targets and (target or runtime or power_mode or calibration_path or calibrate):
        raise click.UsageError("--all takes every target as its profile says; name one with --target to say more")
    from deploy.targets import list_targets, load_target, this_machine
    from toolchain.estimates import Settings

    calibration = None
    told: dict[str, Any] = {}
    profiles = list_targets() if all_targets else [load_target(target) if target else this_machine()]
    # Before minutes of measuring.
    models = None if bundle_path is None else _opened(bundle_path, against_path, precision)
    if calibrate:
        wanted = precision or (profiles[0].measuring.precision if models is None else _held(profiles[0], models.held))
        calibration = _calibrated(profiles[0], runtime, wanted, calibration_path, power_mode, json_path)
        told["calibration"] = {**calibration.model_dump(mode="json"), "factor": calibration.factor}
    elif calibration_path is not None:
        from toolchain.estimates import read_calibration

        calibration = read_calibration(calibration_path)
    if models is not None:
        settings = Settings(runtime=runtime, power_mode=power_mode, calibration=calibration)
        found = _estimated(models, profiles, precision, settings, json_path, quiet_problems=all_targets)
        told.update({"model": str(bundle_path), "against": against_path and str(against_path), **found})
    if json_path:
        write_json(json_path, told)


def _calibrated(
    target: Target,
    runtime: str | None,
    precision: Precision,
    path: Path | None,
    power_mode: str | None,
    json_path: str | None,
) -> Calibration:
    from typing import cast

    from deploy.progress import progress_bar
    from deploy.runtimes import version_here
    from deploy.targets import check_is_here
    from toolchain.estimates import calibrate, calibration_path, check_writable, power_mode_here, write_calibration
    from toolchain.report.estimate_text import calibration_table, worst_in_words

    check_is_here(target, way_out="calibrate on the device itself, and bring its file here with --calibration")
    if power_mode not in (None, mode := power_mode_here()):
        raise EstimateError(
            f"power mode {power_mode}: this machine is in {mode or 'none that it tells'}, and is calibrated as it is; set it "
            "first"
        )
    named = runtime or target.measuring.runtime
    version_here(named)
    threads = target.measuring.threads
    place = path or calibration_path(target.name, named, precision, threads, mode)
    check_writable(place)
    with progress_bar(stderr, "calibrate") as progress:
        # It is one of them, or was refused just now.
        found = calibrate(target, cast(RuntimeName, named), precision, threads=threads, progress=progress)
    write_calibration(found, place)
    if json_path != "-":
        stdout().print(calibration_table(found))
        stdout().print(worst_in_words(found))
        stdout().print(f"kept in {place}", soft_wrap=True)
    return found


@dataclass(frozen=True)
class _Models:
    """The layers of a model, and of the one that it stands against, by precision; ``held`` are those that both have."""

    layers: dict[Precision, tuple[Layer, ...]]
    against: dict[Precision, tuple[Layer, ...]] | None

    @property
    def held(self) -> tuple[Precision, ...]:
        return tuple(name for name in self.layers if self.against is None or name in self.against)


def _opened(path: Path, against_path: Path | None, precision: Precision | None) -> _Models:
    """Both models; raises EstimateError for a precision that one of them does not hold."""
    models = _Models(_layers(path), None if against_path is None else _layers(against_path))
    for each, layers in ((path, models.layers), (against_path, models.against)):
        if precision is not None and layers is not None and precision not in layers:
            raise EstimateError(f"{each}: holds no {precision}; it holds {', '.join(layers)}")
    if not models.held:
        raise EstimateError(f"{path} and {against_path} hold no precision that both have")
    return models


def _layers(path: Path) -> dict[Precision, tuple[Layer, ...]]:
    """The layers of a bundle by precision, or those of an ONNX file, in the precision that it is written in."""
    from deploy.profiling import open_subject

    subject = open_subject(path)
    if subject.bundle is not None:
        told = {name: entry.layers for name, entry in subject.bundle.manifest.precisions.items()}
        if all(told.values()):
            return told
    import onnx

    from toolchain.export.layers import layers_of, precision_of

    if subject.bundle is not None:
        # A manifest may leave them out.
        return {name: layers_of(onnx.load(subject.bundle.path_of(name))) for name in told}
    model = onnx.load(path)
    return {precision_of(model): layers_of(model)}


def _estimated(
    models: _Models,
    profiles: list[Target],
    precision: Precision | None,
    settings: Settings,
    json_path: str | None,
    *,
    quiet_problems: bool,
) -> dict[str, Any]:
    from toolchain.estimates import estimate as estimate_on
    from toolchain.estimates import modes_of
    from toolchain.report.estimate_text import estimates_table, in_words, intervals_in_words, layers_table

    rows: list[tuple[Estimate, Estimate | None]] = []
    problems: dict[str, str] = {}
    for profile in profiles:
        named = precision or _held(profile, models.held)
        # One of another machine is for the mode that it was taken in.
        modes = [settings.calibration.power_mode] if settings.calibration else modes_of(profile)
        for mode in [settings.power_mode] if settings.power_mode else modes[:1] if len(profiles) > 1 else modes:
            asked = replace(settings, power_mode=mode)
            try:
                row = estimate_on(models.layers[named], profile, named, asked)
                other = None if models.against is None else estimate_on(models.against[named], profile, named, asked)
            except EstimateError as error:
                if not quiet_problems:
                    raise
                problems[profile.name] = str(error)
                continue
            rows.append((row, other))
    if quiet_problems and not rows:
        raise EstimateError(next(iter(problems.values())))
    if json_path != "-":
        console = stdout()
        if len(profiles) == 1:
            console.print(layers_table(rows[0][0]))
        console.print(estimates_table(rows))
        if len(profiles) == 1:
            console.print(in_words(rows[0][0]), soft_wrap=True)
        if len(profiles) > 1 or len({row.interval for row, _ in rows}) > 1:
            console.print(intervals_in_words(rows), soft_wrap=True)
    for problem in problems.values():
        stderr.print(f"note: {problem}")
    told: dict[str, Any] = {"estimates": [row.to_json() for row, _ in rows], "problems": problems}
    if models.against is not None:
        told["estimates_against"] = [other.to_json() for _, other in rows if other is not None]
        told["estimated_speed_up"] = [other.estimated_ms / row.estimated_ms for row, other in rows if other is not None]
    return told


def _held(profile: Target, held: tuple[Precision, ...]) -> Precision:
    """The precision that the target is measured in, where there is one of it."""
    wanted = profile.measuring.precision
    return wanted if wanted in held else held[0]
