"""The section on where all numbers come from: recipes, runs of the stopwatch, and what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from toolchain.compared import Latency
from toolchain.report.comparison.gathering import Result
from toolchain.report.comparison.latency import setting_of
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.wording import budget_in_words, seeds_in_words

# Splits that draw no test frames by the seed.
SAME_FRAMES = ("own", "sequential-80-20", "amr-benchmark")


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


def failures(summary: Summary) -> list[tuple[str, list[str]]]:
    """The reasons why there are models that there are not, each with the places of these."""
    return _by_reason(summary.found.results, lambda result: result.failed)


def unmeasured(summary: Summary) -> list[tuple[str, list[str]]]:
    """The reasons why latencies of finished models are missing, each with their places."""
    return _by_reason(summary.found.results, lambda result: None if result.failed else result.unmeasured)


def left_out_of_intervals(summary: Summary) -> list[str]:
    """What intervals over seeds do not hold, a sentence for each set whose test frames are the same for every seed."""
    found = []
    for one in summary.found.compared:
        tables = one.recipe.get("data")
        for table in tables if isinstance(tables, list) else []:
            if isinstance(table, dict) and table.get("split") in SAME_FRAMES:
                found.append(
                    f'{table.get("name")} is split "{table["split"]}": every seed is judged on the same test frames, so an '
                    "interval over seeds tells how training varies, and nothing of which frames were drawn for the test."
                )
    return list(dict.fromkeys(found))


def _by_reason(results: Sequence[Result], why: Callable[[Result], str | None]) -> list[tuple[str, list[str]]]:
    places: dict[str, dict[str, list[int]]] = {}
    for result in results:
        reason = why(result)
        if reason is not None:
            place = f"{result.method}, {result.model} on {result.data}, {budget_in_words(result.budget)}"
            places.setdefault(reason, {}).setdefault(place, []).append(result.seed)
    return [
        (
            reason,
            [f"{place}, {seeds_in_words(seeds)}" for place, seeds in found.items()],
        )
        for reason, found in places.items()
    ]


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
