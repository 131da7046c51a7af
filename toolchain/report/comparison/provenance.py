"""The section on where all numbers come from: recipes, runs of the stopwatch, and what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from toolchain.compared import Latency
from toolchain.report.comparison.latency import setting_of
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.wording import budget_in_words


def flat_recipe(values: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """A recipe's values (or a host's) by dotted key, as text."""
    return list(_flat("", values))


def runs(summary: Summary) -> list[tuple[str, str, str, str, str]]:
    """The runs in which latencies were measured: name, setting, host, processes, how many models were timed in it."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for result in summary.found.results:
        for latency in result.latency:
            key = (latency.run, _setting(latency), latency.host, str(latency.processes))
            # Models of the same layers are timed once.
            counts[key] = counts.get(key, 0) + (latency.same_as is None)
    return [(*key, str(count)) for key, count in sorted(counts.items())]


def failures(summary: Summary) -> list[tuple[str, str]]:
    """Each model that there is not, or whose latency cannot be measured: which, and why."""
    found = []
    for result in summary.found.results:
        why = result.failed
        if why is None and result.unmeasured is not None:
            why = f"its latency cannot be measured: {result.unmeasured}"
        if why is not None:
            place = f"{result.model} on {result.data}, {budget_in_words(result.budget)}, seed {result.seed}"
            found.append((f"{result.method}, {place}", why))
    return found


def _setting(latency: Latency) -> str:
    setting = setting_of(latency)
    return (
        f"{setting.runtime} {setting.runtime_version}, {setting.precision}, batch {setting.batch}, "
        f"{setting.threads} thread(s), target {setting.target}"
    )


def _flat(prefix: str, values: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(f"{name}.", value)
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for number, item in enumerate(value, 1):
                assert isinstance(item, dict)
                yield from _flat(f"{name}.{number}.", item)
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value)) or "none"
        else:
            yield name, "unknown" if value is None else str(value)
