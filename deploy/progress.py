"""Progress with time left, on the terminal.

Work that takes longer than two seconds takes a :class:`Progress` and calls it as it goes; it knows nothing of terminals.
The command line gives it a bar. Where nobody watches (a log file, CI) the bar becomes a plain line now and then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

# A log is read later: a line now and then is enough.
PLAIN_LINE_INTERVAL_S = 15.0


class Progress(Protocol):
    """Told how far a piece of work is: ``progress(done, total, note)``."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` steps are done; ``note`` is a few words for the end of the line."""


def silent(done: int, total: int, note: str = "") -> None:
    """Show nothing: the default where nobody asked for progress."""


def part(progress: Progress, before: int, steps: int, whole: int, told: str = "") -> Progress:
    """The progress of a piece of work, called ``told``: ``steps`` of a ``whole``, after the first ``before``."""

    def at(done: int, total: int, note: str = "") -> None:
        progress(before + steps * done // max(1, total), whole, ", ".join(words for words in (told, note) if words))

    return at


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Progress]:
    """Show a bar with the time left on ``console`` while the block runs; on a log, a plain line every 15 s."""
    with progress_bars(console, [title]) as (progress,):
        yield progress


@contextmanager
def progress_bars(console: Console, titles: Sequence[str]) -> Iterator[list[Progress]]:
    """The same with a bar a title, for work that goes on side by side."""
    if not console.is_terminal:
        yield [_plain_lines(console, title) for title in titles]
        return
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with RichProgress(*columns, console=console, transient=True) as bars:
        yield [_bar(bars, title) for title in titles]


def _bar(bars: RichProgress, title: str) -> Progress:
    task = bars.add_task(title, total=None, note="")
    known = 0

    def show(done: int, total: int, note: str = "") -> None:
        nonlocal known
        if total != known:
            # Another piece of work, or one taken up half way: the speed is that from here on.
            known = total
            bars.reset(task, completed=done, total=total, note=note)
        else:
            bars.update(task, completed=done, note=note)

    return show


def _plain_lines(console: Console, title: str) -> Progress:
    started = last = time.monotonic()
    known = first = 0

    def show(done: int, total: int, note: str = "") -> None:
        nonlocal started, last, known, first
        now = time.monotonic()
        if total != known:
            # Another piece of work, or one taken up half way: the speed is that from here on.
            started, known, first = now, total, done
        if now - last < PLAIN_LINE_INTERVAL_S or not first < done < total:
            return
        last = now
        left_s = (now - started) * (total - done) / (done - first)
        told = f"  {title}: {done} of {total}, {left_s:.0f} s left"
        console.print(f"{told}, {note}" if note else told, highlight=False, markup=False, soft_wrap=True)

    return show
