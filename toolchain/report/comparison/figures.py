"""All figures of a page, by a key of what was chosen: ``snr/0/2`` is accuracy by SNR of the first subject's third budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolchain.compared import OURS
from toolchain.report.comparison.confusion import confusion
from toolchain.report.comparison.curves import by_snr, distribution
from toolchain.report.comparison.gathering import ORIGINAL
from toolchain.report.comparison.looks import Figure
from toolchain.report.comparison.plans import plans
from toolchain.report.comparison.statistics import Entry, Row
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.tradeoff import against_latency, against_macs


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model on a data set, with its original, if it is there, and the rows of its budgets."""

    data: str
    model: str
    original: Entry | None
    rows: tuple[Row, ...]

    @property
    def entries(self) -> list[Entry]:
        """All of them, the original first."""
        return [*([self.original] if self.original else []), *(entry for row in self.rows for entry in row.entries)]


def subjects_of(summary: Summary) -> tuple[Subject, ...]:
    """The subjects, in the order in which they were compared."""
    names = dict.fromkeys((row.data, row.model) for row in (*summary.originals, *summary.rows))
    return tuple(
        Subject(
            data=data,
            model=model,
            original=summary.original(data, model),
            rows=tuple(row for row in summary.rows if (row.data, row.model) == (data, model)),
        )
        for data, model in names
    )


def figures_of(summary: Summary) -> dict[str, Figure]:
    """The figures that there is something to draw in.

    Keys: ``macs/SUBJECT`` and ``latency/SUBJECT/SETTING``, of all budgets, with ``/BUDGET`` of one alone;
    ``snr/SUBJECT/BUDGET``, ``plan/SUBJECT/BUDGET``, ``distribution/SUBJECT/BUDGET/SETTING``,
    ``confusion/SUBJECT/BUDGET/METHOD`` and, for the originals of the same seeds, ``confusion/SUBJECT/BUDGET/METHOD/original``;
    all but METHOD are places.
    """
    return {key: figure for key, figure in _figures(summary) if figure is not None and figure["data"]}


def _figures(summary: Summary) -> Iterator[tuple[str, Figure | None]]:
    emphasised = (ORIGINAL, OURS, summary.baseline)
    for place, subject in enumerate(subjects_of(summary)):
        entries = subject.entries
        yield f"macs/{place}", against_macs(entries)
        for number, (setting, label) in enumerate(summary.labels.items()):
            yield f"latency/{place}/{number}", against_latency(entries, setting, label)
        for budget, row in enumerate(subject.rows):
            beside = [*([subject.original] if subject.original else []), *row.entries]
            # Of the only budget it would be the same again.
            if len(subject.rows) > 1:
                yield f"macs/{place}/{budget}", against_macs(beside)
                for number, (setting, label) in enumerate(summary.labels.items()):
                    yield f"latency/{place}/{number}/{budget}", against_latency(beside, setting, label)
            yield (
                f"snr/{place}/{budget}",
                by_snr(beside, level=summary.found.level, emphasised=emphasised),
            )
            yield f"plan/{place}/{budget}", plans(row.entries)
            for number, (setting, label) in enumerate(summary.labels.items()):
                yield f"distribution/{place}/{budget}/{number}", distribution(beside, setting, label)
            for entry in row.entries:
                key = f"confusion/{place}/{budget}/{entry.method}"
                if entry.confusion is not None:
                    yield key, confusion(entry.confusion, entry.classes)
                if entry.confusion is not None and entry.original_confusion is not None:
                    yield f"{key}/original", confusion(entry.original_confusion, entry.classes)
