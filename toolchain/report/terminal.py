"""What a run shows on the terminal: a line a stage, a bar while it works, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.progress import Progress, progress_bar
from toolchain.report.table import conditions, rows


class TerminalView:
    """Shows the stages of a run on ``console``; ``made`` counts those that were not finished before."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.made = 0

    @contextmanager
    def working(self, stage: str) -> Iterator[Progress]:
        """A bar with the time left, gone when the stage ends."""
        with progress_bar(self._console, stage) as progress:
            yield progress

    def finished(self, stage: str, text: str, seconds: float) -> None:
        """One line: the stage, what came out, what it took."""
        self.made += 1
        self._line(stage, f"{text} [dim]{seconds:.1f} s[/dim]")

    def kept(self, stage: str, seconds: float) -> None:
        """One line for a stage that was finished before."""
        self._line(stage, f"[dim]finished before, in {seconds:.1f} s; kept[/dim]")

    def _line(self, stage: str, text: str) -> None:
        self._console.print(f"[bold]{stage:<9}[/bold] {text}", highlight=False, soft_wrap=True)


def show_results(console: Console, results: Mapping[str, Any], folder: Path) -> None:
    """The final table, under what it was measured, and where the rest lies."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("")
    for name in ("original", "pruned", "change"):
        table.add_column(name, justify="right")
    for row in rows(results):
        table.add_row(*row)
    console.print()
    console.print(table)
    console.print(f"[dim]{conditions(results)}[/dim]", highlight=False)
    console.print()
    console.print(f"report    {folder / 'report.md'}", highlight=False, soft_wrap=True)
    console.print(f"deploy    {folder / 'bundles' / 'pruned'}", highlight=False, soft_wrap=True)
