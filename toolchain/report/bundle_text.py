"""A bundle that was written, for people and as JSON: what each precision weighs and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.bundle import Manifest


def show_bundle(console: Console, manifest: Manifest, out: Path) -> None:
    """Print a row a precision, and what to do next."""
    table = Table(title=f"{manifest.model}, in {out}", title_justify="left")
    for heading in (
        "precision",
        "bytes",
        "accuracy",
        "sensitivity",
        "same class as the original",
        "largest difference",
    ):
        table.add_column(heading, justify="left" if heading == "precision" else "right")
    for precision, entry in manifest.precisions.items():
        assert entry.accuracy is not None  # export measures both
        assert entry.parity is not None
        sensitivity = entry.accuracy.sensitivity_db
        table.add_row(
            precision,
            f"{entry.size_bytes:,}",
            f"{entry.accuracy.overall:.2%}",
            "not crossed" if sensitivity is None else f"{sensitivity:.1f} dB",
            f"{entry.parity.agreement:.2%}",
            f"{entry.parity.max_abs_diff:.2g}",
        )
    console.print(table)
    for precision, entry in manifest.precisions.items():
        if entry.float_layers:
            console.print(f"{precision}: in fp32 for the sake of accuracy: {', '.join(entry.float_layers)}")
        if entry.parity is not None and entry.parity.executed not in (None, precision):
            console.print(
                f"{precision}: computed in {entry.parity.executed} by this processor, and judged so; what is lost where it "
                f"runs in {precision}, `check` tells on the device"
            )
    console.print("accuracy: of the test split; the other two: of the validation frames that the bundle holds")
    console.print(f"Next, here or on the device: thinwave-device check {out}")


def bundle_to_json(manifest: Manifest) -> dict[str, Any]:
    """What the table says, by precision, without the layers."""
    return {
        "model": manifest.model,
        "classes": list(manifest.classes),
        "precisions": {
            precision: entry.model_dump(mode="json", by_alias=True, exclude={"layers"})
            for precision, entry in manifest.precisions.items()
        },
    }
