"""Estimates for people: every heading says that nothing in the table was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from rich.table import Table

from toolchain.estimates.calibration import LEVEL, Calibration
from toolchain.estimates.estimating import Estimate

# The networks that an estimate is furthest from are named.
WORST = 5


def estimates_table(rows: Sequence[tuple[Estimate, Estimate | None]]) -> Table:
    """A row a target, or a power mode: the model, and where there is one the model that it stands against."""
    several = len({row.target for row, _ in rows}) > 1
    name = "" if several else f" on {rows[0][0].target}"
    # Without lines between the columns: a row then fits a terminal of 80 columns.
    table = Table(
        title=f"ESTIMATED latency{name}, nothing here was measured",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("target" if several else "power mode", no_wrap=True)
    table.add_column("computed in", no_wrap=True)
    table.add_column("estimated, ms", justify="right", no_wrap=True)
    if rows[0][1] is not None:
        table.add_column("against", justify="right", no_wrap=True)
        table.add_column("times", justify="right", no_wrap=True)
    for row, other in rows:
        against = () if other is None else (_ms(other.estimated_ms), f"{other.estimated_ms / row.estimated_ms:.2f}")
        table.add_row(
            row.target if several else row.power_mode or "-",
            f"{row.runtime}, {row.precision}",
            f"{_ms(row.estimated_ms)} ({_ms(row.low_ms)} to {_ms(row.high_ms)})",
            *against,
        )
    return table


def intervals_in_words(rows: Sequence[tuple[Estimate, Estimate | None]]) -> str:
    """Where the intervals of several targets, or of several power modes of one, come from."""
    several = len({row.target for row, _ in rows}) > 1
    calibrated = ", ".join(
        row.target if several else str(row.power_mode) for row, _ in rows if row.interval == "calibrated"
    )
    assumed = f"assumed, for {'devices' if several else 'power modes'} that nobody measured"
    return f"intervals: of {calibrated} calibrated, the others {assumed}" if calibrated else f"intervals: {assumed}"


def layers_table(estimate: Estimate) -> Table:
    """A row a layer that takes any time, in microseconds, and what most of it is."""
    table = Table(
        title=f"layers, ESTIMATED for {estimate.target}", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("layer", overflow="fold", min_width=26)
    table.add_column("kind", no_wrap=True)
    for heading in ("µs", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("most of it", no_wrap=True)
    total_us = 1e3 * estimate.estimated_ms
    table.add_row("the call itself", "", f"{estimate.call_us:.1f}", f"{estimate.call_us / total_us:.1%}", "launching")
    for layer in estimate.layers:
        if layer.estimated_us > 0:
            share = layer.estimated_us / total_us
            table.add_row(layer.name, layer.op, f"{layer.estimated_us:.1f}", f"{share:.1%}", layer.bound)
    return table


def in_words(estimate: Estimate) -> str:
    """The sum, its interval, and where that comes from."""
    return (
        f"{estimate.target}, {estimate.runtime} in {estimate.precision}: estimated {_ms(estimate.estimated_ms)} ms, "
        f"{_ms(estimate.low_ms)} to {_ms(estimate.high_ms)} ({estimate.basis})"
    )


def calibration_table(calibration: Calibration) -> Table:
    """How far the estimates are off: on the family, and on the models that were not used for fitting, the worst named."""
    title = (
        f"calibrated {calibration.target}: {calibration.runtime} {calibration.runtime_version}, {calibration.precision}, "
        f"threads {calibration.threads}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("estimated against measured")
    for heading in ("networks", "median error", f"{LEVEL:.0%} within"):
        table.add_column(heading, justify="right")
    for name, compared in (
        ("used for fitting", calibration.family),
        ("not used for fitting", calibration.held_out),
    ):
        errors = [abs(each.error) for each in compared]
        most = float(np.quantile(errors, LEVEL))
        table.add_row(name, str(len(errors)), f"{statistics.median(errors):.1%}", f"{most:.1%}")
    return table


def worst_in_words(calibration: Calibration) -> str:
    """The networks not used for fitting that the estimate misses by most."""
    worst = sorted(calibration.held_out, key=lambda each: -abs(each.error))[:WORST]
    return "furthest off: " + ", ".join(f"{each.name} {each.error:+.0%}" for each in worst)


def _ms(milliseconds: float) -> str:
    if milliseconds >= 100:
        return f"{milliseconds:,.0f}"
    return f"{milliseconds:.2g}" if milliseconds < 1 else f"{milliseconds:.3g}"
