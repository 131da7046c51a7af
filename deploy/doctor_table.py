"""What is here to run and measure with, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from deploy.doctor import Finding
from deploy.host import describe_host


def doctor_table(title: str, findings: Sequence[Finding]) -> Table:
    """A row a finding: what is here, or why it is not, and the way out."""
    table = Table(title, "here", "why not, and the way out", title_justify="left")
    for each in findings:
        table.add_row(each.what, each.found or "-", each.problem or "")
    return table


def doctor_to_json(runtimes: Sequence[Finding], measuring: Sequence[Finding]) -> dict[str, Any]:
    """The same as JSON values, by name, beside what is known of the machine."""
    return {
        "runtimes": {each.what: {"version": each.found, "problem": each.problem} for each in runtimes},
        "measuring": {each.what: {"found": each.found, "problem": each.problem} for each in measuring},
        "host": describe_host(),
    }
