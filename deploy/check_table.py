"""What a check found, for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from deploy.bundle import Manifest
from deploy.bundle_check import FileCheck


def check_table(manifest: Manifest, runtime: str, checks: Sequence[FileCheck]) -> Table:
    """A column a precision: what ran, how near it is to the original, and its accuracy by SNR on the reference frames."""
    table = Table(title=f"{manifest.model}, in {runtime}", title_justify="left")
    table.add_column("")
    for each in checks:
        table.add_column(each.precision, justify="right")
    frames = manifest.reference.frames if manifest.reference else 0
    rows: dict[str, list[str]] = {
        "bytes": [f"{each.size_bytes:,}" for each in checks],
        "executed in": [each.executed for each in checks],
        "largest difference": [f"{each.max_abs_diff:.2g}" for each in checks],
        "same class as the original": [f"{each.agreement:.2%}" for each in checks],
        f"accuracy, {frames:,} frames": [f"{each.accuracy:.2%}" for each in checks],
        "  against the original": [f"{_points(-each.points_lost)} points" for each in checks],
    }
    for heading, cells in rows.items():
        table.add_row(heading, *cells)
    for snr in checks[0].accuracy_by_snr:
        table.add_row(f"  at {snr} dB", *(f"{each.accuracy_by_snr[snr]:.2%}" for each in checks))
    return table


def _points(gained: float) -> str:
    # Rounded before it is written: no "-0.00".
    return f"{round(gained, 2) + 0.0:+.2f}"


def check_to_json(manifest: Manifest, runtime: str, checks: Sequence[FileCheck]) -> dict[str, Any]:
    """The same as JSON values, by precision."""
    return {
        "model": manifest.model,
        "runtime": runtime,
        "precisions": {
            each.precision: {
                **{name: value for name, value in vars(each).items() if name not in ("precision", "size_bytes")},
                # JSON has no word for what is not finite.
                "max_abs_diff": each.max_abs_diff if math.isfinite(each.max_abs_diff) else None,
                "bytes": each.size_bytes,
                "problems": list(each.problems),
            }
            for each in checks
        },
    }
