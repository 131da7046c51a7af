"""What the terminal shows of a comparison: a table a model and data set, who wins each budget, and where the rest lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolchain.report.comparison.sentences import chance_in_words, tally
from toolchain.report.comparison.statistics import Row
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.verdict import Choice
from toolchain.report.comparison.wording import NOTHING, budget_in_words, several


def show_comparison(console: Console, summary: Summary, paths: Sequence[Path]) -> None:
    """Print what was found to ``console``, and ``paths``, which hold all of it."""
    subjects: dict[tuple[str, str], list[tuple[Row, Choice]]] = {}
    for row, choice in zip(summary.rows, summary.choices, strict=True):
        subjects.setdefault((row.model, row.data), []).append((row, choice))
    for (model, data), rows in subjects.items():
        console.print(Text(f"{model} on {data}"), soft_wrap=True)
        console.print(_table(rows))
        console.print()
    if not subjects:
        console.print("No cell of the comparison is there yet.\n")
    console.print(tally(summary), soft_wrap=True)
    for sentence in (chance_in_words(summary), _missing(len(summary.found.missing))):
        if sentence:
            console.print(sentence, soft_wrap=True)
    console.print()
    for path in paths:
        console.print(f"report    {path}", soft_wrap=True)


def _table(rows: Sequence[tuple[Row, Choice]]) -> Table:
    table = Table("budget", "best", "accuracy, %", "seeds", "winner", show_edge=False, pad_edge=False)
    for column in table.columns:
        # A name that is cut is another name.
        column.overflow = "fold"
        column.justify = "right" if column.header in ("accuracy, %", "seeds") else "left"
    for row, choice in rows:
        table.add_row(
            Text(budget_in_words(row.budget)),
            Text(choice.best or NOTHING),
            NOTHING if choice.accuracy is None else f"{100 * choice.accuracy:.2f}",
            str(len(choice.seeds)) if choice.best else NOTHING,
            Text(choice.winner or ("not all is done" if row.unfinished else "none shown")),
        )
    return table


def _missing(count: int) -> str:
    return f"{several(count, 'cell')} not done yet: this is preliminary." if count else ""
