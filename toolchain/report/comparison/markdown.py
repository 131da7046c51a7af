"""report.md: what the comparison found, for people who read text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from toolchain.report.comparison.cells import (
    JUDGED,
    TIMED,
    Number,
    judged_numbers,
    macs_aside,
    seeds_in_words,
    state_in_words,
    timed_numbers,
    verdict_in_words,
)
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.origin import host_in_words
from toolchain.report.comparison.provenance import failures, flat_recipe, left_out_of_intervals, runs, unmeasured
from toolchain.report.comparison.sentences import chance_in_words, row_in_words, tally, winner_in_words
from toolchain.report.comparison.spread import BASES
from toolchain.report.comparison.statistics import Row
from toolchain.report.comparison.summary import Line, Summary
from toolchain.report.comparison.wording import NOTHING, budget_in_words, ranges, several, significant


def markdown(summary: Summary) -> str:
    """The text of report.md."""
    lines = [f"# Comparison: {plain(summary.name)}", "", *_opening(summary), "", "## Who wins", ""]
    lines += [
        f"- **{plain(row_in_words(row.data, row.model, row.budget))}**: {plain(winner_in_words(row, choice))}"
        for row, choice in zip(summary.rows, summary.choices, strict=True)
    ] or ["No cell is there yet."]
    lines += ["", plain(chance_in_words(summary)), "", "## Channels beside layers", "", plain(tally(summary)), ""]
    for claim in summary.claims:
        subject = plain(row_in_words(claim.data, claim.model, claim.budget))
        lines += [f"**{subject}**, channel methods beside {plain(claim.champion)}:", ""]
        lines += [f"- accuracy {said}: {plain(methods)}" for said, methods in claim.accuracy]
        for label, found in claim.latency:
            lines += [f"- {plain(label)}, {said}: {plain(methods)}" for said, methods in found]
        lines.append("")
    lines += ["## All numbers", "", *_legend(summary), ""]
    for row in (*summary.originals, *summary.rows):
        lines += [*_table(summary, row), "", *_by_snr(row), *_plans(row)]
    return "\n".join([*lines, *_sources(summary)])


def plain(text: str) -> str:
    """Text in which nothing is Markdown or HTML, on one line."""
    text = html.escape(" ".join(text.split()), quote=False)
    for mark in "\\`*_[]|":
        text = text.replace(mark, f"\\{mark}")
    return text


def _opening(summary: Summary) -> list[str]:
    found = summary.found
    pruned = sum(len(entry.counted) for row in summary.rows for entry in row.entries)
    originals = sum(len(entry.counted) for row in summary.originals for entry in row.entries)
    missing = f" **{several(len(found.missing), 'cell')} not done yet: this is preliminary.**" if found.missing else ""
    return [
        f"{several(pruned, 'finished model')} of {several(len(summary.methods) - 1, 'method')}, made of "
        f"{several(originals, 'original')}; the others are held against {plain(summary.baseline)}.{missing}",
        "",
        "Accuracy is measured on the test split, which nothing was chosen on. MACs and parameters are counted. A winner is "
        "named only where its paired difference (same seed, same original) to every other method has a 95 % interval above "
        "zero.",
    ]


def _legend(summary: Summary) -> list[str]:
    return [
        "An interval stands in brackets: "
        + "; ".join(f"{name}: {text}" for name, text in BASES.items() if name in ("seeds", "ratios", "processes"))
        + ". Accuracies are taken to vary by no less than a share of whole frames must. Sensitivity is the SNR at which the "
        f"accuracy crosses {summary.found.level:.0%}; lost is what the original of the same seed does not need, told where "
        "all seeds and their originals cross it. Methods that missed the budget are shown and compared with none."
    ]


def _table(summary: Summary, row: Row) -> Iterable[str]:
    settings = [setting for setting in summary.settings if any(setting in entry.timings for entry in row.entries)]
    head = ["method", "seeds", *(name.format(baseline=plain(summary.baseline)) for name in JUDGED.values()), "verdict"]
    timed_heads = (*TIMED.values(), "99th percentile, ms")
    head += [f"{name}, {plain(summary.labels[setting])}" for setting in settings for name in timed_heads]
    head.append("")
    subject = plain(f"{row.model} on {row.data}")
    yield f"### {subject}: {plain(budget_in_words(row.budget))}"
    yield ""
    yield _joined(head)
    yield _joined(["---", *(["---:"] * (len(head) - 2)), "---"])
    for line in summary.lines:
        if line.entry in row.entries:
            numbers = [*judged_numbers(line).values()]
            timed = [
                number
                for setting in settings
                for number in (*timed_numbers(summary, line, setting).values(), _p99(line, setting))
            ]
            yield _joined(
                [
                    plain(line.entry.method),
                    seeds_in_words(line),
                    *map(_number, numbers),
                    f"{verdict_in_words(summary, line)} {macs_aside(line)}".rstrip(),
                    *map(_number, timed),
                    plain(state_in_words(line)),
                ]
            )


def _p99(line: Line, setting: Setting) -> Number:
    timing = line.entry.timings.get(setting)
    return Number(significant(timing.p99_ms) if timing else NOTHING)


def _by_snr(row: Row) -> Iterable[str]:
    """The mean accuracy at each SNR, a line a method."""
    entries = [entry for entry in row.entries if entry.by_snr]
    snrs_db = sorted({snr_db for entry in entries for snr_db in entry.by_snr})
    if not entries:
        return
    yield _joined(["accuracy in % at SNR, dB", *(f"{snr_db:g}" for snr_db in snrs_db)])
    yield _joined(["---", *(["---:"] * len(snrs_db))])
    for entry in entries:
        shares = (entry.by_snr.get(snr_db) for snr_db in snrs_db)
        yield _joined([plain(entry.method), *(f"{100 * share.mean:.1f}" if share else NOTHING for share in shares)])
    yield ""


def _plans(row: Row) -> Iterable[str]:
    """Which units each layer method keeps, counted from the input."""
    plans = [(entry, result, result.layers) for entry in row.entries for result in entry.results if result.layers]
    for entry, result, layers in plans:
        yield (
            f"- {plain(entry.method)}, seed {result.seed}: keeps {len(layers.kept)} of {several(len(layers.units), 'unit')}, "
            f"{ranges(layers.kept) or 'none'}"
        )
    if plans:
        yield ""


def _number(number: Number) -> str:
    aside = f"({plain(number.note)})" if number.note else ""
    return " ".join(part for part in (plain(number.text), plain(number.interval), aside) if part)


def _joined(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sources(summary: Summary) -> list[str]:
    lines = ["## Where the numbers come from", ""]
    lines += [f"{plain(sentence)}\n" for sentence in left_out_of_intervals(summary)]
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
    for head, reasons in (("What failed", failures(summary)), ("What could not be timed", unmeasured(summary))):
        if reasons:
            lines += [
                f"### {head}",
                "",
                *(f"- {plain(why)}: {plain('; '.join(places))}" for why, places in reasons),
                "",
            ]
    return lines
