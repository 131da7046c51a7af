"""The target profiles, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from deploy.strict_reading import Strict
from deploy.target_profile import Figure, JetPack, PowerMode, Target
from deploy.targets import figures_here, is_here

UNITS = {
    "_mhz": "MHz",
    "_us": "µs",
    "_gflops": "GFLOP/s",
    "_gops": "GOP/s",
    "gbytes_per_s": "GB/s",
    "watts": "W",
}


def targets_table(targets: Sequence[Target]) -> Table:
    """A row a profile, with the runtime that it is measured in where the command line names none; this machine is marked."""
    # Whole names in a terminal of 80 columns: they are what a command is given.
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("target", no_wrap=True)
    table.add_column("description")
    table.add_column("runtime", no_wrap=True)
    for target in targets:
        here = " (this machine)" if is_here(target) else ""
        table.add_row(target.name, f"{target.description}{here}", target.measuring.runtime)
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
    """A row a figure of one profile, under its part: the value, its source, and the document, computation or reason."""
    # Without lines between the columns, and names without their part: what is said of each then fits 80 columns.
    title = f"{target.name}: {target.description}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("source: note")
    before = ""
    for place, figure in _figures(target):
        part, _, name = place.rpartition(".")
        if part != before:
            table.add_row(part)
        before = part
        table.add_row(f"  {name}", _value(name, figure), ": ".join(filter(None, (figure.source, figure.note))))
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


def _value(name: str, figure: Figure) -> str:
    if figure.value is None:
        return "-"
    if name.endswith("_bytes"):
        return f"{figure.value / 2**20:,g} MiB"
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    return f"{figure.value:,g} {unit}".rstrip()


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
