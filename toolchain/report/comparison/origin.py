"""Where a number comes from: which models, of how many seeds, measured or counted, on what."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.compared import Compared
from toolchain.report.comparison.gathering import ORIGINAL, Result
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.spread import BASES, Spread
from toolchain.report.comparison.statistics import Entry
from toolchain.report.comparison.summary import Line, Summary
from toolchain.report.comparison.wording import budget_in_words, percent, signed, significant


def origins(summary: Summary, line: Line) -> dict[str, str]:
    """The origin of each number of a line, as lines of text under the number's name; latencies by their setting's place."""
    entry = line.entry
    if not entry.counted:
        return {}
    found = {
        "accuracy": _of_spread(entry, "Accuracy on the test split, measured", entry.accuracy, percent),
        "macs": _of_count(entry, "Multiply-accumulates of one frame, counted from the layers, not measured", "macs"),
        "params": _of_count(entry, "Parameters, counted, not measured", "params"),
        "sensitivity": _of_spread(
            entry,
            f"SNR in dB at which the accuracy crosses {summary.found.level:.0%}, less that of the original of the same seed; "
            "from the measured accuracy by SNR",
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
    if line.against:
        what = f"Accuracy less that of {summary.baseline}, in points, paired: models of the same original and seed"
        found["points"] = _of_spread(entry, what, line.against.points, signed)
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
    return found


def host_in_words(compared: Compared) -> str:
    """The processor and the system that a comparison's latencies were measured on."""
    host = compared.host
    named = [host.get("device") or host.get("cpu_model"), host.get("machine"), host.get("os")]
    return ", ".join(str(part) for part in named if part) or "unknown"


def _of_spread(entry: Entry, what: str, spread: Spread | None, write: object) -> str:
    assert callable(write)
    if spread is None:
        return "\n".join([f"{what}: of no seed", *_models(entry.counted)])
    values = ", ".join(f"seed {seed}: {write(value)}" for seed, value in spread.by_seed.items())
    return "\n".join([what, f"n = {len(spread.by_seed)}; {BASES[spread.basis]}", values, *_models(entry.counted)])


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
    """The models that a number is of, a line a comparison."""
    found = []
    for name in dict.fromkeys(result.comparison for result in results):
        these = [result for result in results if result.comparison == name]
        one = these[0]
        what = "original" if one.method == ORIGINAL else f"{one.method}, {one.budget} ({budget_in_words(one.budget)})"
        seeds = ", ".join(str(result.seed) for result in these)
        found.append(f"from {name}: {one.model} on {one.data}, {what}, seeds {seeds}")
    return found
