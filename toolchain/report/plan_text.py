"""What `thinwave prune` says when it is done."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolchain.pruning import Plan


def show_plan(
    console: Console, plan: Plan, out: Path, *, latency: Mapping[str, Any] | None = None, next_words: Sequence[str]
) -> None:
    """A row a block, what goes, where the files are, and the command that comes next, which ends in ``next_words``.

    ``latency`` is what was read of a budget of that kind.
    """
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("block", justify="right")
    table.add_column("units")
    table.add_column("kept", overflow="fold")
    table.add_column("chosen by")
    for number, (block, by) in enumerate(zip(plan.blocks, plan.scored_by, strict=True), 1):
        names = ", ".join(plan.units[index].name for index in plan.kept if index in block)
        table.add_row(str(number), f"{block[0]} to {block[-1]}", Text(names), by)
    console.print(table)
    units = f"{len(plan.kept)} of {len(plan.units)} units kept"
    reduced = sum(unit.kind == "reducible" for unit in plan.dropped_units)
    shortcuts = (
        f", {reduced} more {'leaves its shortcut' if reduced == 1 else 'leave their shortcuts'}" if reduced else ""
    )
    console.print(f"{units}{shortcuts}")
    if not plan.dropped_units:
        console.print("All units are kept: nothing was removed. Keep fewer to make the model smaller.")
    for what, before, after in (("MACs", plan.macs, plan.macs_left), ("parameters", plan.params, plan.params_left)):
        console.print(f"{what:<10} {before:>13,} -> {after:>13,}  {1 - after / max(1, before):.1%} removed")
    if latency is not None:
        console.print(_latency(latency))
    if "medoid" in plan.scored_by and plan.settings["score"] == "synflow":
        console.print(
            "A block with a layer that has no linear form (recurrent, gated, complex) goes by the medoid, not by SynFlow."
        )
    model = out / "model.safetensors"
    beside = "plan.json and plan.png" if latency is None else "plan.json, plan.png and latency.json"
    console.print(
        Text(f"{model}, with {beside} beside it; its weights are the original's, not fine-tuned"),
        soft_wrap=True,
    )
    command = ["thinwave", "finetune", str(model), *next_words, "--out", str(out / "finetuned.safetensors")]
    console.print(Text(shlex.join(command)), soft_wrap=True)


def _latency(latency: Mapping[str, Any]) -> str:
    """Both models' latency, how it was read, and the limit."""
    reading, under, pruned = latency["reading"], latency["unit_latencies"]["under"], latency["pruned"]
    interval = (
        f", {pruned['low_ms']:.3g} to {pruned['high_ms']:.3g} ms ({pruned['interval']})"
        if latency["kind"] == "estimated"
        else ""
    )
    return (
        f"latency    {reading['against_ms']:>10.4g} ms -> {reading['ms']:>10.4g} ms  {reading['times_as_fast']:.3g} times as "
        f"fast; asked for {latency['limit']}; {latency['kind']} on {under['target']}, {under['runtime']}, "
        f"{under['precision']}{interval}"
    )
