"""Latencies that may be held against each other: of one setting, and how they are summed up over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from toolchain.compared import Latency
from toolchain.report.comparison.gathering import Result
from toolchain.report.comparison.spread import Spread, ratio_over_seeds


class Setting(NamedTuple):
    """Under what a latency was measured; latencies of two settings are never put together."""

    runtime: str
    runtime_version: str
    precision: str
    target: str
    host: str
    batch: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Latencies of one method in one setting, over its seeds.

    ``p50_ms`` is the geometric mean of the medians, ``p99_ms`` that of the 99th percentiles, ``times_as_fast`` that of the
    original's median over this one's, both of the same processes; ``percentiles_ms`` (101) are geometric means too, each of
    the seeds' own. ``by_seed`` is what was measured.
    """

    p50_ms: Spread
    p99_ms: float
    times_as_fast: Spread
    percentiles_ms: tuple[float, ...]
    by_seed: Mapping[int, Latency]

    @property
    def stable(self) -> bool:
        """Whether the measuring of every seed was."""
        return all(latency.stable for latency in self.by_seed.values())


def setting_of(latency: Latency) -> Setting:
    """The setting that ``latency`` was measured in."""
    return Setting(*(getattr(latency, name) for name in Setting._fields))


def settings_of(results: Sequence[Result], runtimes: Sequence[str]) -> tuple[Setting, ...]:
    """All settings, in the order of ``runtimes``."""
    found = {setting_of(latency) for result in results for latency in result.latency}
    order = {name: place for place, name in enumerate(runtimes)}
    return tuple(sorted(found, key=lambda one: (order.get(one.runtime, len(order)), one)))


def setting_labels(settings: Sequence[Setting]) -> dict[Setting, str]:
    """A short name for each setting: its runtime, and whatever else tells it from another."""
    told = {"batch": "batch {}", "threads": "{} thread(s)"}
    differing = [
        name
        for name in Setting._fields[1:]
        if any(
            one.runtime == other.runtime and getattr(one, name) != getattr(other, name)
            for one in settings
            for other in settings
        )
    ]
    return {
        one: ", ".join([one.runtime, *(told.get(name, "{}").format(getattr(one, name)) for name in differing)])
        for one in settings
    }


def timings(results: Sequence[Result], settings: Sequence[Setting]) -> dict[Setting, Timing]:
    """How fast the models of one method are, in each of ``settings`` in which any was measured."""
    found = {}
    for setting in settings:
        by_seed = {
            result.seed: latency for result in results for latency in result.latency if setting_of(latency) == setting
        }
        if by_seed:
            found[setting] = _timing(by_seed)
    return found


def _timing(by_seed: dict[int, Latency]) -> Timing:
    one = next(iter(by_seed.values()))
    p50_ms = ratio_over_seeds({seed: each.p50_ms for seed, each in by_seed.items()}, of_run=one.p50_interval_ms)
    times = ratio_over_seeds({seed: each.times_as_fast for seed, each in by_seed.items()}, of_run=one.times_interval)
    # There is a seed.
    assert p50_ms is not None
    assert times is not None
    logarithms = np.log([each.percentiles_ms for each in by_seed.values()])
    percentiles = tuple(float(value) for value in np.exp(logarithms.mean(axis=0)))
    p99_ms = float(np.exp(np.mean(np.log([each.p99_ms for each in by_seed.values()]))))
    return Timing(p50_ms=p50_ms, p99_ms=p99_ms, times_as_fast=times, percentiles_ms=percentiles, by_seed=by_seed)
