"""The table's cells: how each number of a line reads, and the number that it is sorted by."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.remarks import short_remarks
from toolchain.report.comparison.sensitivity import Uncrossed
from toolchain.report.comparison.summary import Line, Summary
from toolchain.report.comparison.wording import (
    NOTHING,
    beside,
    counted,
    interval_of_shares,
    interval_signed,
    interval_significant,
    percent,
    range_of,
    several,
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
# Why there is no sensitivity.
_UNCROSSED: dict[Uncrossed, str] = {
    "below": "ends below the level",
    "above": "above the level at every SNR",
    "original": "its original does not cross the level",
}


def judged_numbers(line: Line) -> dict[str, Number]:
    """The cells of JUDGED."""
    entry, found = line.entry, dict.fromkeys(JUDGED, _MISSING)
    if entry.accuracy:
        share = entry.accuracy
        found["accuracy"] = Number(f"{100 * share.mean:.2f}", interval_of_shares(share), share.mean, "accuracy")
    if line.against:
        points = line.against.points
        found["points"] = Number(signed(points.mean), interval_signed(points), points.mean, "points")
    if entry.worst:
        recall = entry.worst.recall
        found["worst"] = Number(
            f"{entry.worst.name} {percent(recall.mean, 1)}", interval_of_shares(recall, 1), recall.mean, "worst"
        )
    if entry.sensitivity_lost_db and entry.kind != "original":
        lost = entry.sensitivity_lost_db
        found["sensitivity"] = Number(signed(lost.mean), interval_signed(lost), lost.mean, "sensitivity")
    elif entry.uncrossed and entry.kind != "original":
        found["sensitivity"] = Number(NOTHING, note=uncrossed_in_words(line), origin="sensitivity")
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
    """How many seeds the numbers are of; of how many that were asked for, where not all."""
    entry = line.entry
    done, asked = len(entry.counted), len({result.seed for result in entry.results} | set(entry.unfinished))
    return str(done) if done == asked else f"{done} of {asked}"


def uncrossed_in_words(line: Line) -> str:
    """Why the sensitivity lost is not known; of how many seeds, where not of all."""
    entry = line.entry
    count = len(entry.counted)
    return "; ".join(
        _UNCROSSED[why] if many == count else f"{_UNCROSSED[why]}: {many} of {several(count, 'seed')}"
        for why, many in entry.uncrossed.items()
    )


def state_in_words(line: Line) -> str:
    """What has to be known of a line beside its numbers; nothing where nothing has."""
    return short_remarks(line.entry)


def macs_aside(line: Line) -> str:
    """How many more or fewer MACs a line has than its baseline; nothing where they are about alike."""
    aside = beside(line.entry.macs, line.base.macs) if line.base and line.against else ""
    return f"with {aside}" if aside else ""


def verdict_in_words(summary: Summary, line: Line) -> str:
    """The verdict on a line beside its baseline."""
    if line.entry.kind == "original":
        return "not pruned"
    if line.entry.method == summary.baseline:
        return "the baseline"
    return line.against.verdict if line.against else "not compared"
