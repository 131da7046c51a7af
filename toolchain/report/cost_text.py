"""What `thinwave cost` shows: the units of a model, and what each weighs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolchain.cost import Cost
from toolchain.pruning import Unit


def cost_to_json(name: str, frame_shape: Sequence[int], cost: Cost, units: Sequence[Unit]) -> dict[str, Any]:
    """The same as JSON values; ``flops`` are 2 a MAC."""
    return {
        "model": name,
        "frame_shape": list(frame_shape),
        "params": cost.params,
        "macs": cost.macs,
        "flops": cost.flops,
        "uncounted": list(cost.uncounted),
        "units": [
            {
                "name": unit.name,
                "kind": unit.kind,
                "reason": unit.reason,
                "shape": list(unit.shape),
                "params": unit.params,
                "macs": unit.macs,
                "activation_bytes": unit.activation_bytes,
                "shortcut_params": unit.shortcut_params,
                "shortcut_macs": unit.shortcut_macs,
            }
            for unit in units
        ],
    }


def show_cost(console: Console, name: str, frame_shape: Sequence[int], cost: Cost, units: Sequence[Unit]) -> None:
    """A row a unit, the rest of the model, the sum, and what dropping units can save."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for title in ("unit", "shape", "it is"):
        table.add_column(title, no_wrap=True)
    for title in ("params", "MACs", "of all", "out, B"):
        table.add_column(title, justify="right", no_wrap=True)
    for unit in units:
        table.add_row(
            Text(unit.name), _change(unit), unit.kind, f"{unit.params:,}", f"{unit.macs:,}",
            f"{unit.macs / max(1, cost.macs):.1%}", f"{unit.activation_bytes:,}",
        )  # fmt: skip
    rest_params = cost.params - sum(unit.params for unit in units)
    rest_macs = cost.macs - sum(unit.macs for unit in units)
    table.add_row(
        "the rest", "", "fixed", f"{rest_params:,}", f"{rest_macs:,}",
        f"{rest_macs / max(1, cost.macs):.1%}", "", end_section=True,
    )  # fmt: skip
    shape = "x".join(map(str, frame_shape))
    table.add_row("all", shape, "", f"{cost.params:,}", f"{cost.macs:,}", "100.0%", "")
    console.print(Text(name, "bold"))
    # Whole, whatever the terminal's width: what is cut away cannot be read.
    terminal = console.width
    console.width = max(terminal, console.measure(table, options=console.options.update(max_width=1000)).maximum)
    console.print(table)
    console.width = terminal
    for line in _why(units):
        console.print(Text(line), soft_wrap=True)
    console.print(
        f"{cost.flops:,} FLOPs a frame (2 a MAC); out: what a unit's counted layers put out, float32", soft_wrap=True
    )
    if cost.uncounted:
        console.print(
            Text(f"not counted, for nobody knows their products: {', '.join(cost.uncounted)}", "bold"), soft_wrap=True
        )
    console.print(
        "a unit is what all that follows depends on; --units GLOB says why another module is none", soft_wrap=True
    )
    loose = [unit for unit in units if unit.kind != "fixed"]
    if not loose:
        console.print("No unit can be dropped: layer pruning has nothing to do here.")
        return
    macs = [unit.macs - unit.shortcut_macs for unit in loose]
    params = [unit.params - unit.shortcut_params for unit in loose]
    # A plan keeps a unit at least.
    spare = len(loose) == len(units)
    most_macs = (sum(macs) - (min(macs) if spare else 0)) / max(1, cost.macs)
    most_params = (sum(params) - (min(params) if spare else 0)) / max(1, cost.params)
    console.print(
        f"{len(loose)} of {len(units)} units can be dropped; a plan{' keeps one at least, and' if spare else ''} removes "
        f"at most {most_macs:.1%} of the MACs, {most_params:.1%} of the parameters",
        soft_wrap=True,
    )


def _change(unit: Unit) -> str:
    """The shapes of one frame at both ends, once where they are equal."""
    ends = ["x".join(map(str, shape)) for shape in (unit.input_shape, unit.shape)]
    return ends[0] if ends[0] == ends[1] else " -> ".join(ends)


def _why(units: Sequence[Unit]) -> Iterator[str]:
    """Each reason once, after the units that it holds for."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for unit in units:
        if unit.kind != "removable":
            reasons.setdefault((unit.kind, unit.reason), []).append(unit.name)
    for (kind, reason), names in reasons.items():
        yield f"{kind}: {', '.join(names)} ({reason})"
