"""What a run shows on the terminal: a line a stage, a bar while it works, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.progress import Progress, progress_bar
from toolchain.report.table import conditions, rows


class TerminalView:
    """Shows the stages of a run: lines on ``console``, bars on ``bars``.

    ``made`` counts the stages that were not finished before.
    """

    def __init__(self, console: Console, *, bars: Console) -> None:
        self._console, self._bars = console, bars
        self.made = 0

    @contextmanager
    def working(self, stage: str) -> Iterator[Progress]:
        """A bar with the time left, gone when the stage ends."""
        with progress_bar(self._bars, stage) as progress:
            yield progress

    def finished(self, stage: str, text: str, seconds: float) -> None:
        """One line: the stage, what came out, what it took."""
        self.made += 1
        self._line(stage, text, f"{seconds:.1f} s")

    def kept(self, stage: str, seconds: float) -> None:
        """One line for a stage that was finished before."""
        self._line(stage, "", f"finished before, in {seconds:.1f} s; kept")

    def _line(self, stage: str, text: str, aside: str) -> None:
        # Styles apart from the text: a file may be named "[red]".
        line = Text.assemble((f"{stage:<9} ", "bold"), f"{text} " if text else "", (aside, "dim"))
        self._console.print(line, soft_wrap=True)


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
    console.print(Text(conditions(results), "dim"))
    console.print()
    for what, path in (("report", folder / "report.md"), ("deploy", folder / "bundles" / "pruned")):
        console.print(Text(f"{what:<9} {path}"), soft_wrap=True)
