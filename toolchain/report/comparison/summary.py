"""All that a report says, computed once: what the page, the Markdown, the CSV and the JSON are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolchain.compared import Compared
from toolchain.report.comparison.claims import Claim, claims_of
from toolchain.report.comparison.gathering import NO_BUDGET, ORIGINAL, Gathered, gathered
from toolchain.report.comparison.latency import Setting, setting_labels, settings_of
from toolchain.report.comparison.statistics import Entry, Row, rows_of
from toolchain.report.comparison.verdict import (
    Choice,
    Difference,
    SpeedRatio,
    choose,
    difference,
    speed_ratio,
)
from toolchain.report.comparison.wording import budget_order


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A line of the table: a method under a budget, and what is said of it beside the baseline of its row, ``base``."""

    entry: Entry
    base: Entry | None
    against: Difference | None
    speed: Mapping[Setting, SpeedRatio]


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What was found. ``rows`` are those of the budgets, ``originals`` the models before; ``lines`` are both, in order.

    ``labels`` are short names of the settings that latencies were measured in, the first the one that is shown first;
    ``claims`` are the rows' on channels beside layers.
    """

    found: Gathered
    labels: Mapping[Setting, str]
    originals: tuple[Row, ...]
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...]
    claims: tuple[Claim, ...]
    lines: tuple[Line, ...]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings, in their order."""
        return tuple(self.labels)

    @property
    def baseline(self) -> str:
        """The method that the others are held against."""
        return self.found.baseline

    @property
    def name(self) -> str:
        """The names of the comparisons."""
        return ", ".join(one.name for one in self.found.compared)

    @property
    def comparisons(self) -> int:
        """How many paired differences to the baseline have an interval: of a hundred, five exclude zero by chance alone."""
        return sum(line.against is not None and line.against.points.interval is not None for line in self.lines)

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods, in the order in which they were compared, the original first."""
        return tuple(dict.fromkeys([ORIGINAL, *(line.entry.method for line in self.lines)]))

    def original(self, data: str, model: str) -> Entry | None:
        """The original's entry."""
        row = next((row for row in self.originals if (row.data, row.model) == (data, model)), None)
        return row.entry(ORIGINAL) if row else None


def summary_of(compared: Sequence[Compared], baseline: str | None = None) -> Summary:
    """Compute all of it; raises RunError as :func:`gathered` does."""
    found = gathered(compared, baseline)
    settings = settings_of(found.results, found.runtimes)
    subjects = list(dict.fromkeys((result.data, result.model) for result in found.results))
    every = sorted(
        rows_of(found, settings),
        key=lambda row: (subjects.index((row.data, row.model)), budget_order(row.budget)),
    )
    rows = tuple(row for row in every if row.budget != NO_BUDGET)
    labels = setting_labels(settings)
    return Summary(
        found=found,
        labels=labels,
        originals=tuple(row for row in every if row.budget == NO_BUDGET),
        rows=rows,
        choices=tuple(choose(row) for row in rows),
        claims=claims_of(rows, labels, found.baseline),
        lines=tuple(_line(entry, row.entry(found.baseline), settings) for row in every for entry in row.entries),
    )


def _line(entry: Entry, base: Entry | None, settings: Sequence[Setting]) -> Line:
    if base is None or base is entry:
        return Line(entry=entry, base=None, against=None, speed={})
    ratios = {setting: speed_ratio(entry, base, setting) for setting in settings}
    return Line(
        entry=entry,
        base=base,
        against=difference(entry, base),
        speed={setting: ratio for setting, ratio in ratios.items() if ratio is not None},
    )
