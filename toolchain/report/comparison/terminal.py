"""What the terminal shows of a comparison: a line a row, who wins it, and where the rest lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from toolchain.report.comparison.claims import chance_in_words, tally
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.wording import NOTHING, budget_in_words, several


def show_comparison(console: Console, summary: Summary, paths: Sequence[Path]) -> None:
    """Print what was found to ``console``, and ``paths``, which hold all of it."""
    table = Table("model", "data", "budget", "best", "accuracy, %", "seeds", "winner", show_edge=False, pad_edge=False)
    for column in (4, 5):
        table.columns[column].justify = "right"
    for row, choice in zip(summary.rows, summary.choices, strict=True):
        best = row.entry(choice.best) if choice.best else None
        accuracy = best.accuracy if best else None
        table.add_row(
            row.model,
            row.data,
            budget_in_words(row.budget),
            choice.best or NOTHING,
            f"{100 * accuracy.mean:.2f}" if accuracy else NOTHING,
            str(len(best.seeds)) if best else NOTHING,
            choice.winner or "none shown",
        )
    console.print(table if summary.rows else "No cell of the comparison is there yet.")
    console.print()
    console.print(tally(summary), soft_wrap=True)
    for sentence in (chance_in_words(summary), _missing(summary.found.missing)):
        if sentence:
            console.print(sentence, soft_wrap=True)
    console.print()
    for path in paths:
        console.print(f"report    {path}", soft_wrap=True)


def _missing(count: int) -> str:
    return f"{several(count, 'cell')} not done yet: this is preliminary." if count else ""
