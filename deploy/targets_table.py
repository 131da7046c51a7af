"""The target profiles, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from deploy.targets import Target, figures_here, is_here


def targets_table(targets: Sequence[Target]) -> Table:
    """A row a profile, and whether it is of this machine."""
    table = Table("target", "description", "this machine")
    for target in targets:
        table.add_row(target.name, target.description, "yes" if is_here(target) else "no")
    return table


def targets_to_json(targets: Sequence[Target]) -> dict[str, Any]:
    """The same as JSON values, by name, with the processor's figures where it is of this machine."""
    return {
        target.name: {
            "description": target.description,
            "is_here": is_here(target),
            "processor": figures_here(target) if is_here(target) else None,
        }
        for target in targets
    }
