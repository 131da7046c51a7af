"""The target profiles, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from deploy.strict_reading import Strict
from deploy.target_profile import Figure, JetPack, PowerMode, Target
from deploy.targets import figures_here, is_here

UNITS = {
    "_bytes": "bytes",
    "_mhz": "MHz",
    "_us": "µs",
    "_gflops": "GFLOP/s",
    "_gops": "GOP/s",
    "gbytes_per_s": "GB/s",
    "watts": "W",
}


def targets_table(targets: Sequence[Target]) -> Table:
    """A row a profile, and whether it is of this machine."""
    table = Table("target", "description", "runtimes", "this machine")
    for target in targets:
        table.add_row(target.name, target.description, ", ".join(target.runtimes), "yes" if is_here(target) else "no")
    return table


def targets_to_json(targets: Sequence[Target]) -> dict[str, Any]:
    """The same as JSON values, by name, with the figures that are read from the machine where it is this one."""
    return {
        target.name: {
            "description": target.description,
            "is_here": is_here(target),
            "processor": figures_here(target) if is_here(target) else None,
        }
        for target in targets
    }


def figures_table(target: Target) -> Table:
    """A row a figure of one profile: the value, where it comes from, and the document, computation or reason."""
    # Without lines between the columns: the names then stand whole in a terminal of 80 columns, and notes are folded.
    title = f"{target.name}: {target.description}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("source")
    table.add_column("note")
    for name, figure in _figures(target):
        value = "-" if figure.value is None else f"{figure.value:,g} {_unit(name)}".rstrip()
        table.add_row(name, value, figure.source, figure.note or "")
    return table


def sentences(target: Target) -> Iterator[str]:
    """What is said in words: how it is known, what runs on it, and how it is measured."""
    identity, measuring = target.identity, target.measuring
    board = f", {' or '.join(identity.device_tree)} in its device tree" if identity.device_tree else ""
    yield f"known by: architecture {identity.machine}{board}"
    yield f"runtimes: {', '.join(target.runtimes)}"
    for jetpack in target.jetpacks:
        yield _jetpack(jetpack)
    for mode in target.power_modes:
        yield _power_mode(mode)
    yield (
        f"measured by default: {measuring.runtime}, {measuring.precision}, batch {measuring.batch}, "
        f"threads {measuring.threads}"
    )
    yield f"pruned by default: to be {target.budget.speedup:g} times as fast"


def _figures(part: Strict, where: str = "") -> Iterator[tuple[str, Figure]]:
    """Every figure of the profile but those of power modes, with its place."""
    for name in type(part).model_fields:
        value, place = getattr(part, name), f"{where}{name}"
        if isinstance(value, Figure):
            yield place, value
        elif isinstance(value, Strict):
            yield from _figures(value, f"{place}.")


def _unit(name: str) -> str:
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")


def _jetpack(jetpack: JetPack) -> str:
    return (
        f"JetPack {jetpack.version}: TensorRT {jetpack.tensorrt}, CUDA {jetpack.cuda}, Python {jetpack.python}; "
        f"{', '.join(jetpack.runtimes)}"
    )


def _power_mode(mode: PowerMode) -> str:
    figures = [
        f"{value:g} {unit}"
        for value, unit in (
            (mode.watts, "W"),
            (mode.cores, "cores"),
            (mode.cpu_mhz, "MHz processor"),
            (mode.gpu_cores, "GPU cores"),
            (mode.gpu_mhz, "MHz GPU"),
            (mode.gbytes_per_s, "GB/s"),
        )
        if value is not None
    ]
    return f"power mode {mode.name}: {', '.join(figures) or 'nothing is known'} ({mode.source})"
