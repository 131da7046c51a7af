"""report.md: what the comparison found, for people who read text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from toolchain.report.comparison.cells import (
    JUDGED,
    TIMED,
    Number,
    judged_numbers,
    seeds_in_words,
    state_in_words,
    timed_numbers,
    verdict_in_words,
)
from toolchain.report.comparison.claims import chance_in_words, claims, row_in_words, tally, winner_in_words
from toolchain.report.comparison.origin import host_in_words
from toolchain.report.comparison.provenance import failures, flat_recipe, runs
from toolchain.report.comparison.spread import BASES
from toolchain.report.comparison.statistics import Row
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.wording import budget_in_words, several


def markdown(summary: Summary) -> str:
    """The text of report.md."""
    lines = [f"# Comparison: {plain(summary.name)}", "", *_opening(summary), "", "## Who wins", ""]
    lines += [
        f"- **{plain(row_in_words(row.data, row.model, row.budget))}**: {plain(winner_in_words(row, choice))}"
        for row, choice in zip(summary.rows, summary.choices, strict=True)
    ] or ["No cell is there yet."]
    lines += ["", plain(chance_in_words(summary)), "", "## Channels beside layers", "", plain(tally(summary)), ""]
    for claim in claims(summary):
        subject = plain(row_in_words(claim.data, claim.model, claim.budget))
        lines += [f"**{subject}**, channel methods beside {plain(claim.champion)}:", ""]
        lines += [f"- accuracy {said}: {plain(methods)}" for said, methods in claim.accuracy]
        for label, found in claim.latency:
            lines += [f"- {plain(label)}, {said}: {plain(methods)}" for said, methods in found]
        lines.append("")
    lines += ["## All numbers", "", *_legend(summary), ""]
    for row in (*summary.originals, *summary.rows):
        lines += [*_table(summary, row), ""]
    return "\n".join([*lines, *_sources(summary)])


def plain(text: str) -> str:
    """Text in which nothing is Markdown or HTML, on one line."""
    text = html.escape(" ".join(text.split()), quote=False)
    for mark in "\\`*_[]|":
        text = text.replace(mark, f"\\{mark}")
    return text


def _opening(summary: Summary) -> list[str]:
    found = summary.found
    done = sum(len(line.entry.counted) for line in summary.lines)
    missing = f" **{several(found.missing, 'cell')} not done yet: this is preliminary.**" if found.missing else ""
    return [
        f"{several(done, 'finished model')} of {several(len(summary.methods) - 1, 'method')}; the others are held against "
        f"{plain(summary.baseline)}.{missing}",
        "",
        "Accuracy is measured on the test split, which nothing was chosen on. MACs and parameters are counted. A winner is "
        "named only where its paired difference (same seed, same original) to every other method has a 95 % interval above "
        "zero.",
    ]


def _legend(summary: Summary) -> list[str]:
    return [
        "An interval stands in brackets: "
        + "; ".join(f"{name}: {text}" for name, text in BASES.items() if name in ("seeds", "ratios", "processes"))
        + f". Sensitivity is the SNR at which the accuracy crosses {summary.found.level:.0%}; lost is what the original of "
        "the same seed does not need. Methods that missed the budget are shown and compared with none."
    ]


def _table(summary: Summary, row: Row) -> Iterable[str]:
    settings = [setting for setting in summary.settings if any(setting in entry.timings for entry in row.entries)]
    head = ["method", "seeds", *(name.format(baseline=plain(summary.baseline)) for name in JUDGED.values()), "verdict"]
    head += [f"{name}, {plain(summary.labels[setting])}" for setting in settings for name in TIMED.values()]
    head.append("")
    subject = plain(f"{row.model} on {row.data}")
    yield f"### {subject}: {plain(budget_in_words(row.budget))}"
    yield ""
    yield _joined(head)
    yield _joined(["---", *(["---:"] * (len(head) - 2)), "---"])
    for line in summary.lines:
        if line.entry in row.entries:
            numbers = [*judged_numbers(line).values()]
            timed = [number for setting in settings for number in timed_numbers(summary, line, setting).values()]
            yield _joined(
                [
                    plain(line.entry.method),
                    seeds_in_words(line),
                    *map(_number, numbers),
                    verdict_in_words(summary, line),
                    *map(_number, timed),
                    plain(state_in_words(line)),
                ]
            )


def _number(number: Number) -> str:
    aside = f"({number.note})" if number.note in ("unstable", "its run's interval") else ""
    return " ".join(part for part in (plain(number.text), plain(number.interval), aside) if part)


def _joined(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sources(summary: Summary) -> list[str]:
    lines = ["## Where the numbers come from", ""]
    for one in summary.found.compared:
        lines += [f"### {plain(one.name)}", "", f"Latencies measured on: {plain(host_in_words(one))}.", ""]
        lines += [f"- {plain(key)}: {plain(value)}" for key, value in flat_recipe(one.recipe)]
        lines.append("")
    found = runs(summary)
    if found:
        lines += ["### Latency runs", "", _joined(["run", "measured in", "host", "processes", "models"])]
        lines.append(_joined(["---", "---", "---", "---:", "---:"]))
        lines += [_joined([plain(part) for part in run]) for run in found]
        lines.append("")
    bad = failures(summary)
    if bad:
        lines += ["### What failed", "", *(f"- {plain(which)}: {plain(why)}" for which, why in bad), ""]
    return lines
