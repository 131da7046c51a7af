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


def estimates_table(
    rows: Sequence[tuple[Estimate, Estimate | None]], problems: Sequence[tuple[str, str]] = ()
) -> Table:
    """A row a target, or a power mode: the model, and where there is one the model that it stands against.

    ``problems`` are targets with the reason why there is no estimate.
    """
    table = Table(title="ESTIMATED latency, nothing here was measured", title_justify="left")
    table.add_column("target", no_wrap=True)
    for heading in ("power mode", "runtime", "precision"):
        table.add_column(heading)
    both = any(other is not None for _, other in rows)
    for heading in ("ms", "low", "high", *(("against, ms", "times as fast") if both else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("interval")
    for row, other in rows:
        against = () if other is None else (_ms(other.estimated_ms), f"{other.estimated_ms / row.estimated_ms:.2f}")
        table.add_row(
            row.target, row.power_mode or "-", row.runtime, row.precision, _ms(row.estimated_ms), _ms(row.low_ms),
            _ms(row.high_ms), *against, row.interval,
        )  # fmt: skip
    return table


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
    return f"{milliseconds:.3g}"
