"""The numbers of a report as flat rows: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from toolchain.report.comparison.gathering import Result
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.sentences import chance_in_words, tally, winner_in_words
from toolchain.report.comparison.spread import BASES, Spread
from toolchain.report.comparison.statistics import Counted, Entry
from toolchain.report.comparison.summary import Line, Summary

SCHEMA = 2
COLUMNS = (
    *(
        "data",
        "model",
        "budget",
        "method",
        "kind",
        "comparisons",
        "seeds",
        "seeds_unfinished",
        "seeds_failed",
        "failed_because",
        "seeds_not_within",
        "within",
        "wanted",
        "reached",
        "inner_only",
    ),
    *("accuracy", "accuracy_low", "accuracy_high", "accuracy_basis"),
    *("points_to_baseline", "points_low", "points_high", "points_seeds", "verdict", "baseline"),
    *("worst_class", "worst_recall", "worst_recall_low", "worst_recall_high"),
    *("sensitivity_lost_db", "sensitivity_lost_low_db", "sensitivity_lost_high_db"),
    *("seeds_below_level", "seeds_above_level", "seeds_original_not_at_level"),
    *("untuned_validation_accuracy", "macs", "macs_least", "macs_most", "params", "params_least", "params_most"),
    "unmeasured_because",
    *("runtime", "runtime_version", "precision", "target", "host", "batch", "threads"),
    *("p50_ms", "p50_low_ms", "p50_high_ms", "p99_ms", "times_as_fast", "times_low", "times_high", "latency_basis"),
    *("latency_seeds", "latency_stable", "latency_runs"),
    *("times_as_fast_as_baseline", "times_as_fast_as_baseline_low", "times_as_fast_as_baseline_high", "speed_verdict"),
)


def flat_rows(summary: Summary) -> list[dict[str, Any]]:
    """A row for each method, budget and setting of a latency (one without, where none was measured); unknown is None."""
    rows = []
    for line in summary.lines:
        settings: Sequence[Setting | None] = list(line.entry.timings) or [None]
        rows += [{**_judged(summary, line), **_timed(line, setting)} for setting in settings]
    return rows


def to_csv(summary: Summary) -> str:
    """The flat rows under their COLUMNS; unknown is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in flat_rows(summary):
        writer.writerow({name: _plain(value) for name, value in row.items()})
    return text.getvalue()


def to_json(summary: Summary) -> dict[str, Any]:
    """The flat rows, what they say, and what the plots are drawn from, as JSON values."""
    entries = [line.entry for line in summary.lines]
    return {
        "schema": SCHEMA,
        "comparisons": [{"name": one.name, "recipe": one.recipe, "host": one.host} for one in summary.found.compared],
        "missing": [cell.model_dump() for cell in summary.found.missing],
        "baseline": summary.baseline,
        "sensitivity_level": summary.found.level,
        "intervals": dict(BASES),
        "paired_differences_with_an_interval": summary.comparisons,
        "chance": chance_in_words(summary),
        "winners": [
            {
                "data": row.data,
                "model": row.model,
                "budget": row.budget,
                "winner": choice.winner,
                "best": choice.best,
                "seeds": list(choice.seeds),
                "not_told_from_the_best": list(choice.like_best),
                "unfinished": dict(row.unfinished),
                "left_out": list(choice.left_out),
                "in_words": winner_in_words(row, choice),
            }
            for row, choice in zip(summary.rows, summary.choices, strict=True)
        ],
        "channels_beside_layers": {
            "in_words": tally(summary),
            "rows": [
                {
                    "data": claim.data,
                    "model": claim.model,
                    "budget": claim.budget,
                    "beside": claim.champion,
                    "accuracy": [{"is": said, "methods": methods} for said, methods in claim.accuracy],
                    "latency": [
                        {"setting": label, "is": said, "methods": methods}
                        for label, found in claim.latency
                        for said, methods in found
                    ],
                }
                for claim in summary.claims
            ],
        },
        "rows": flat_rows(summary),
        "accuracy_by_snr": [
            {**_place(entry), "snr_db": snr_db, **_spread("accuracy", spread)}
            for entry in entries
            for snr_db, spread in entry.by_snr.items()
        ],
        "confusion": [
            {**_place(entry), "classes": list(entry.classes), "counts": entry.confusion.tolist()}
            for entry in entries
            if entry.confusion is not None
        ],
        "plans": [
            {**_place(entry), "seed": result.seed, **result.layers.model_dump(mode="json")}
            for entry in entries
            for result in entry.results
            if result.layers is not None
        ],
        "latency_percentiles": [
            {**_place(entry), **setting._asdict(), "percentiles_ms": list(timing.percentiles_ms)}
            for entry in entries
            for setting, timing in entry.timings.items()
        ],
        "failed": [
            {**_place(result), "seed": result.seed, "because": result.failed}
            for entry in entries
            for result in entry.results
            if result.failed is not None
        ],
    }


def _place(one: Entry | Result) -> dict[str, str]:
    """Which method's, under which budget."""
    return {"data": one.data, "model": one.model, "budget": one.budget, "method": one.method}


def _judged(summary: Summary, line: Line) -> dict[str, Any]:
    entry, against = line.entry, line.against
    return {
        "data": entry.data,
        "model": entry.model,
        "budget": entry.budget,
        "method": entry.method,
        "kind": entry.kind,
        "comparisons": list(dict.fromkeys(result.comparison for result in entry.results)),
        "seeds": list(entry.seeds),
        "seeds_unfinished": list(entry.unfinished),
        "seeds_failed": list(entry.failed),
        "failed_because": list(dict.fromkeys(entry.failed.values())),
        "seeds_not_within": list(entry.not_within),
        "within": entry.within if entry.counted else None,
        "wanted": [result.wanted for result in entry.counted],
        "reached": [result.reached for result in entry.counted],
        "inner_only": entry.inner,
        **_spread("accuracy", entry.accuracy),
        "accuracy_basis": entry.accuracy.basis if entry.accuracy else None,
        "points_to_baseline": against.points.mean if against else None,
        "points_low": against.points.low if against else None,
        "points_high": against.points.high if against else None,
        "points_seeds": list(against.points.by_seed) if against else None,
        "verdict": against.verdict if against else None,
        "baseline": summary.baseline,
        "worst_class": entry.worst.name if entry.worst else None,
        **_spread("worst_recall", entry.worst.recall if entry.worst else None),
        "sensitivity_lost_db": entry.sensitivity_lost_db.mean if entry.sensitivity_lost_db else None,
        "sensitivity_lost_low_db": entry.sensitivity_lost_db.low if entry.sensitivity_lost_db else None,
        "sensitivity_lost_high_db": entry.sensitivity_lost_db.high if entry.sensitivity_lost_db else None,
        "seeds_below_level": entry.uncrossed.get("below", 0),
        "seeds_above_level": entry.uncrossed.get("above", 0),
        "seeds_original_not_at_level": entry.uncrossed.get("original", 0),
        "untuned_validation_accuracy": entry.untuned_accuracy.mean if entry.untuned_accuracy else None,
        **_counted("macs", entry.macs),
        **_counted("params", entry.params),
        "unmeasured_because": list(dict.fromkeys(entry.unmeasured.values())),
    }


def _timed(line: Line, setting: Setting | None) -> dict[str, Any]:
    if setting is None:
        return dict.fromkeys(COLUMNS[COLUMNS.index("runtime") :])
    timing, speed = line.entry.timings[setting], line.speed.get(setting)
    latencies = list(timing.by_seed.values())
    return {
        **setting._asdict(),
        "p50_ms": timing.p50_ms.mean,
        "p50_low_ms": timing.p50_ms.low,
        "p50_high_ms": timing.p50_ms.high,
        "p99_ms": timing.p99_ms,
        "times_as_fast": timing.times_as_fast.mean,
        "times_low": timing.times_as_fast.low,
        "times_high": timing.times_as_fast.high,
        "latency_basis": timing.p50_ms.basis,
        "latency_seeds": list(timing.by_seed),
        "latency_stable": timing.stable,
        "latency_runs": list(dict.fromkeys(latency.run for latency in latencies)),
        "times_as_fast_as_baseline": speed.times.mean if speed else None,
        "times_as_fast_as_baseline_low": speed.times.low if speed else None,
        "times_as_fast_as_baseline_high": speed.times.high if speed else None,
        "speed_verdict": speed.verdict if speed else None,
    }


def _spread(name: str, spread: Spread | None) -> dict[str, float | None]:
    if spread is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: spread.mean, f"{name}_low": spread.low, f"{name}_high": spread.high}


def _counted(name: str, number: Counted | None) -> dict[str, float | None]:
    if number is None:
        return dict.fromkeys((name, f"{name}_least", f"{name}_most"))
    return {name: number.mean, f"{name}_least": number.least, f"{name}_most": number.most}


def _plain(value: Any) -> Any:
    """A list as text: a spreadsheet has no lists."""
    return "; ".join("" if item is None else str(item) for item in value) if isinstance(value, list) else value
