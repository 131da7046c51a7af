"""A measurement for people: a table, the speed-up in a sentence, and what makes the figures less than sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.table import Table

from deploy.bundle import Manifest
from deploy.latency import Measurement
from deploy.results import LatencyRecord

GOOD_PROCESSES = 10

# Rows, not columns: two models then fit a terminal of 80 columns, and a log file.
ROWS: dict[str, Callable[[LatencyRecord], str]] = {
    "p50": lambda record: _figure(record.p50_ms),
    "  95 % interval": lambda record: " to ".join(map(_figure, _condition(record, "p50_interval_ms"))),
    "p90": lambda record: _figure(record.p90_ms),
    "p95": lambda record: _figure(record.p95_ms),
    "p99": lambda record: _figure(record.p99_ms),
    "max": lambda record: _figure(record.max_ms),
    "runs": lambda record: f"{record.runs:,}",
    "executed in": lambda record: record.precision,
    "frames a second": lambda record: f"{frames_per_s(record):,.0f}",
}


def latency_table(measurement: Measurement, titles: Mapping[str, str]) -> Table:
    """Return a table with a column a model, in milliseconds; ``titles`` are what to call the models."""
    records = {name: model.record for name, model in measurement.models.items()}
    first = next(iter(records.values()))
    table = Table(
        title=f"{first.target}: {first.runtime} {first.runtime_version}, batch {first.batch}, threads {first.threads}",
        title_justify="left",
    )
    table.add_column("latency in ms", no_wrap=True)
    for name in records:
        table.add_column(titles[name], justify="right", overflow="fold")
    for heading, cell in ROWS.items():
        table.add_row(heading, *(cell(record) for record in records.values()))
    return table


def frames_per_s(record: LatencyRecord) -> float:
    """Return how many frames a second one stream gets through: a batch every median latency."""
    return 1000.0 * record.batch / record.p50_ms


def summary(measurement: Measurement, manifest: Manifest, name: str) -> Iterator[str]:
    """Yield sentences about the model called ``name``: its speed-up where there is one, and its rate in radio terms."""
    record = measurement.models[name].record
    if ratio := measurement.ratio:
        processes = _condition(record, "processes")
        yield f"speed-up {ratio.ratio:.4f} times ({ratio.low:.4f} to {ratio.high:.4f}, 95 % over {processes} processes)"
    samples_per_s = frames_per_s(record) * manifest.input.shape[1]
    rate_hz = manifest.input.sample_rate_hz
    if rate_hz is None:
        yield f"{samples_per_s / 1e6:.3g} million IQ samples a second"
    else:
        real_time = samples_per_s / rate_hz
        yield (
            f"{samples_per_s / 1e6:.3g} million IQ samples a second: "
            f"{real_time:.3g} times real time at {rate_hz / 1e3:g} kHz"
        )


def reservations(measurement: Measurement, asked_precision: str | None) -> Iterator[str]:
    """Yield, a sentence each, what a reader must know before trusting the figures; nothing where all is sound."""
    for name, model in measurement.models.items():
        record = model.record
        if unsteady := _condition(record, "unstable_processes"):
            processes = _condition(record, "processes")
            yield f"{name}: not steady after the longest warm-up in {unsteady} of {processes} processes"
        if asked_precision and record.precision != asked_precision:
            yield f"{name}: {asked_precision} was asked for, and the runtime executed {record.precision}"
    record = next(iter(measurement.models.values())).record
    if _condition(record, "processes") < GOOD_PROCESSES:
        yield f"fewer than {GOOD_PROCESSES} processes: the intervals are wide and may mislead"
    if periods := _condition(record, "quota_throttled_periods"):
        yield f"the container's CPU quota stopped the process in {periods} periods"
    if _condition(record, "thermal_throttle_events"):
        yield "the processor throttled because of heat"
    if _condition(record, "governor") not in (None, "performance"):
        yield f"the clock governor is {_condition(record, 'governor')}: clocks may have changed while measuring"


def _condition(record: LatencyRecord, name: str) -> Any:
    return record.conditions[name]


def _figure(milliseconds: float) -> str:
    return f"{milliseconds:.4g}"
