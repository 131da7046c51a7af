"""The table's cells: how each number of a line reads, and the number that it is sorted by."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.report.comparison.claims import why_left_out
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.summary import Line, Summary
from toolchain.report.comparison.wording import (
    NOTHING,
    counted,
    interval_of_shares,
    interval_signed,
    interval_significant,
    percent,
    range_of,
    signed,
    significant,
)


@dataclass(frozen=True)
class Number:
    """A cell: its ``text``, its ``interval`` as text, the ``value`` that sorts it (None sorts last), and its origin's key."""

    text: str
    interval: str = ""
    value: float | None = None
    origin: str = ""
    note: str = ""


# The heads of the columns of numbers, in their order; what is measured says so, and what is counted.
JUDGED = {
    "accuracy": "accuracy, %",
    "points": "points to {baseline}",
    "worst": "worst class, recall",
    "sensitivity": "sensitivity lost, dB",
    "macs": "MACs (counted)",
    "params": "parameters (counted)",
    "untuned": "before fine-tuning, %",
}
TIMED = {"p50": "median latency, ms", "times": "times as fast"}
_MISSING = Number(NOTHING)


def judged_numbers(line: Line) -> dict[str, Number]:
    """The cells of JUDGED."""
    entry, found = line.entry, dict.fromkeys(JUDGED, _MISSING)
    if entry.accuracy:
        share = entry.accuracy
        found["accuracy"] = Number(f"{100 * share.mean:.2f}", interval_of_shares(share), share.mean, "accuracy")
    if line.against:
        points = line.against.points
        found["points"] = Number(
            signed(points.mean), interval_signed(points), points.mean, "points", line.against.verdict
        )
    if entry.worst:
        recall = entry.worst.recall
        found["worst"] = Number(
            f"{entry.worst.name} {percent(recall.mean, 1)}", interval_of_shares(recall, 1), recall.mean, "worst"
        )
    if entry.sensitivity_lost_db and entry.kind != "original":
        lost = entry.sensitivity_lost_db
        note = f"level not crossed: {entry.not_crossed} of {len(entry.counted)}" if entry.not_crossed else ""
        found["sensitivity"] = Number(signed(lost.mean), interval_signed(lost), lost.mean, "sensitivity", note)
    elif entry.counted and entry.not_crossed and entry.kind != "original":
        found["sensitivity"] = Number(NOTHING, note="level not crossed", origin="sensitivity")
    if entry.macs:
        found["macs"] = Number(counted(entry.macs), range_of(entry.macs), entry.macs.mean, "macs")
    if entry.params:
        found["params"] = Number(counted(entry.params), range_of(entry.params), entry.params.mean, "params")
    if entry.untuned_accuracy:
        share = entry.untuned_accuracy
        found["untuned"] = Number(f"{100 * share.mean:.2f}", interval_of_shares(share), share.mean, "untuned")
    return found


def timed_numbers(summary: Summary, line: Line, setting: Setting) -> dict[str, Number]:
    """The cells of TIMED in one setting."""
    timing = line.entry.timings.get(setting)
    if timing is None:
        return dict.fromkeys(TIMED, _MISSING)
    place = summary.settings.index(setting)
    note = "" if timing.stable else "unstable"
    own_run = "its run's interval" if timing.p50_ms.basis == "processes" else ""
    p50, times = timing.p50_ms, timing.times_as_fast
    return {
        "p50": Number(
            significant(p50.mean),
            interval_significant(p50),
            p50.mean,
            f"p50-{place}",
            ", ".join(part for part in (own_run, note) if part),
        ),
        "times": Number(significant(times.mean), interval_significant(times), times.mean, f"times-{place}", own_run),
    }


def seeds_in_words(line: Line) -> str:
    """How many seeds the numbers are of; of how many, where not all."""
    entry = line.entry
    done, asked = len(entry.counted), len(entry.results)
    return str(done) if done == asked else f"{done} of {asked}"


def state_in_words(line: Line) -> str:
    """What keeps a line from being compared; nothing where nothing does."""
    return why_left_out(line.entry)


def verdict_in_words(summary: Summary, line: Line) -> str:
    """The verdict on a line beside its baseline."""
    if line.entry.kind == "original":
        return "not pruned"
    if line.entry.method == summary.baseline:
        return "the baseline"
    return line.against.verdict if line.against else "not compared"
