"""Where a number comes from: which models, of how many seeds, measured or counted, on what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolchain.compared import Compared
from toolchain.report.comparison.cells import uncrossed_in_words
from toolchain.report.comparison.gathering import ORIGINAL, Result
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.remarks import remarks
from toolchain.report.comparison.spread import BASES, Spread
from toolchain.report.comparison.statistics import Entry
from toolchain.report.comparison.summary import Line, Summary
from toolchain.report.comparison.wording import budget_in_words, percent, signed, significant


def origins(summary: Summary, line: Line) -> dict[str, str]:
    """The origin of each number of a line, as lines of text under the number's name; latencies by their setting's place.

    What has to be known of the line stands under "remarks".
    """
    entry = line.entry
    told = {"remarks": "\n".join(remarks(entry))} if remarks(entry) else {}
    if not entry.counted:
        return told
    frames = f", of {entry.test_frames:,} frames" if entry.test_frames else ""
    found = {
        "accuracy": _of_spread(entry, f"Accuracy on the test split{frames}, measured", entry.accuracy, percent),
        "macs": _of_count(entry, "Multiply-accumulates of one frame, counted from the layers, not measured", "macs"),
        "params": _of_count(entry, "Parameters, counted, not measured", "params"),
        "sensitivity": _of_spread(
            entry,
            f"SNR in dB at which the accuracy crosses {summary.found.level:.0%}, less that of the original of the same seed; "
            "from the measured accuracy by SNR" + (f"; {uncrossed_in_words(line)}" if entry.uncrossed else ""),
            entry.sensitivity_lost_db,
            signed,
        ),
        "untuned": _of_spread(
            entry,
            "Accuracy on the validation split after pruning and before fine-tuning, measured",
            entry.untuned_accuracy,
            percent,
        ),
    }
    if entry.worst:
        what = f"Recall of {entry.worst.name}, the class with the lowest mean recall, on the test split, measured"
        found["worst"] = _of_spread(entry, what, entry.worst.recall, percent)
    if line.against and line.base:
        points = line.against.points
        pairs = [result for one in (entry, line.base) for result in one.counted if result.seed in points.by_seed]
        what = (
            f"Accuracy less that of {summary.baseline}{frames}, in points, paired: models of the same original and seed"
        )
        found["points"] = "\n".join([*_told(what, points, signed), *_models(pairs)])
    for place, setting in enumerate(summary.settings):
        if setting in entry.timings:
            found[f"p50-{place}"] = _of_latency(
                summary, entry, setting, "Median latency in ms of one run, measured", "p50"
            )
            found[f"times-{place}"] = _of_latency(
                summary,
                entry,
                setting,
                "The original's median latency over this one's, both measured in turns in the same processes",
                "times",
            )
    return found | told


def host_in_words(compared: Compared) -> str:
    """The processor and the system that a comparison's latencies were measured on."""
    host = compared.host
    named = [host.get("device") or host.get("cpu_model"), host.get("machine"), host.get("os")]
    return ", ".join(str(part) for part in named if part) or "unknown"


def _of_spread(entry: Entry, what: str, spread: Spread | None, write: Callable[[float], str]) -> str:
    told = [f"{what}: of no seed"] if spread is None else _told(what, spread, write)
    return "\n".join([*told, *_models(entry.counted)])


def _told(what: str, spread: Spread, write: Callable[[float], str]) -> list[str]:
    values = ", ".join(f"seed {seed}: {write(value)}" for seed, value in spread.by_seed.items())
    return [what, f"n = {len(spread.by_seed)}; {BASES[spread.basis]}", values]


def _of_count(entry: Entry, what: str, name: str) -> str:
    values = {result.seed: getattr(result.judged, name) for result in entry.counted}
    told = ", ".join(f"seed {seed}: {value:,}" for seed, value in values.items())
    return "\n".join([f"{what}; the mean of the seeds, and the range", told, *_models(entry.counted)])


def _of_latency(summary: Summary, entry: Entry, setting: Setting, what: str, number: str) -> str:
    timing = entry.timings[setting]
    spread = timing.p50_ms if number == "p50" else timing.times_as_fast
    hosts = {one.name: host_in_words(one) for one in summary.found.compared}
    lines = [what, f"n = {len(spread.by_seed)}; {BASES[spread.basis]}"]
    for seed, latency in timing.by_seed.items():
        result = next(result for result in entry.counted if result.seed == seed)
        shared = f", timed as {latency.same_as}'s, whose layers are the same" if latency.same_as else ""
        shaky = "" if latency.stable else ", UNSTABLE"
        lines.append(
            f"seed {seed}: {significant(spread.by_seed[seed])}, run {latency.run} of {latency.processes} processes on "
            f"{latency.host} ({hosts[result.comparison]}){shared}{shaky}"
        )
    lines.append(
        f"target {setting.target}, {setting.runtime} {setting.runtime_version}, {setting.precision}, batch {setting.batch}, "
        f"{setting.threads} thread(s)"
    )
    return "\n".join([*lines, *_models(entry.counted)])


def _models(results: Sequence[Result]) -> list[str]:
    """The models that a number is of, a line a comparison and method."""
    found = []
    for name, method in dict.fromkeys((result.comparison, result.method) for result in results):
        these = [result for result in results if (result.comparison, result.method) == (name, method)]
        one = these[0]
        what = "original" if one.method == ORIGINAL else f"{one.method}, {one.budget} ({budget_in_words(one.budget)})"
        seeds = ", ".join(str(result.seed) for result in these)
        found.append(f"from {name}: {one.model} on {one.data}, {what}, seeds {seeds}")
    return found
