"""A measurement for people: a table, the speed-up in a sentence, and what makes the figures less than sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from deploy.latency import Measurement
from deploy.layer_profile import LayerProfile
from deploy.profiling import Look
from deploy.results import LatencyRecord

GOOD_PROCESSES = 10
LAYER_WIDTH, KIND_WIDTH = 26, 12
ON_DEVICE = "  without transfers"

# Rows, not columns: two models then fit a terminal of 80 columns, and a log file.
ROWS: dict[str, Callable[[LatencyRecord], str]] = {
    "p50": lambda record: _figure(record.p50_ms),
    "  95 % interval": lambda record: _or_unknown(
        record, "p50_interval_ms", lambda ends: " to ".join(map(_figure, ends))
    ),
    ON_DEVICE: lambda record: _or_unknown(record, "on_device_p50_ms", _figure),
    "p90": lambda record: _figure(record.p90_ms),
    "p95": lambda record: _figure(record.p95_ms),
    "p99": lambda record: _figure(record.p99_ms),
    "max": lambda record: _figure(record.max_ms),
    "runs": lambda record: f"{record.runs:,}",
    "executed in": lambda record: (
        f"{record.precision}, {asked}" if (asked := _condition(record, "precision_is")) else record.precision
    ),
    "frames a second": lambda record: f"{frames_per_s(record):,.0f}",
    "memory": lambda record: _or_unknown(record, "memory_bytes", lambda size: f"{size / 2**20:.1f} MiB"),
    "energy a run": lambda record: _or_unknown(
        record, "energy_joules_per_run", lambda joules: f"{1e3 * joules:.3g} mJ"
    ),
}


def latency_table(measurement: Measurement, titles: Mapping[str, str]) -> Table:
    """Return a table with a column a model, in milliseconds; ``titles`` are what to call the models."""
    records = {name: model.record for name, model in measurement.models.items()}
    first = next(iter(records.values()))
    title = f"{first.target}: {first.runtime} {first.runtime_version}, batch {first.batch}, threads {first.threads}"
    if first.kind == "emulated":
        title += ", EMULATED: no device's times"
    table = Table(title=title, title_justify="left")
    table.add_column("latency in ms", no_wrap=True)
    for name in records:
        table.add_column(titles[name], justify="right", overflow="fold")
    for heading, cell in ROWS.items():
        if heading == ON_DEVICE and all(_condition(record, "on_device_p50_ms") is None for record in records.values()):
            continue  # the device is the host
        table.add_row(heading, *(cell(record) for record in records.values()))
    return table


def frames_per_s(record: LatencyRecord) -> float:
    """Return how many frames a second one stream gets through: a batch every median latency."""
    return 1000.0 * record.batch / record.p50_ms


def summary(measurement: Measurement, length: int, sample_rate_hz: float | None, name: str) -> Iterator[str]:
    """Yield sentences about the model called ``name``: its speed-up where there is one, and its rate in radio terms.

    ``length`` is in samples, ``sample_rate_hz`` is what its frames were taken at, where that is known.
    """
    record = measurement.models[name].record
    if ratio := measurement.ratio:
        processes = _condition(record, "processes")
        yield f"speed-up {ratio.ratio:.4f} times ({ratio.low:.4f} to {ratio.high:.4f}, 95 % over {processes} processes)"
    samples_per_s = frames_per_s(record) * length
    if sample_rate_hz is None:
        yield f"{samples_per_s / 1e6:.3g} million IQ samples a second"
    else:
        real_time = samples_per_s / sample_rate_hz
        yield (
            f"{samples_per_s / 1e6:.3g} million IQ samples a second: "
            f"{real_time:.3g} times real time at {sample_rate_hz / 1e3:g} kHz"
        )


def looks_table(looks: Sequence[Look], chosen: tuple[str, str]) -> Table:
    """Return a table of the runtimes and precisions that were looked at, with the ``chosen`` one marked."""
    table = Table("runtime", "precision", title="looked at, three short processes each", title_justify="left")
    for heading in ("p50 in ms", "accuracy"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for look in looks:
        table.add_row(
            look.runtime,
            look.precision,
            "-" if look.p50_ms is None else _figure(look.p50_ms),
            "-" if look.accuracy is None else f"{look.accuracy:.2%}",
            look.problem or ("the fastest" if (look.runtime, look.precision) == chosen else ""),
        )
    return table


def layer_table(profile: LayerProfile) -> Table:
    """Return a table with a row a layer as the runtime ran it: time, share, products, bytes, and what bounds it."""
    total_ms = sum(row.p50_ms for row in profile.rows) or 1.0
    title = (
        f"layers, {total_ms:.4g} ms while watched; bound by the longest of: "
        f"launching, {1e3 * profile.least_ms:.1f} µs as the quickest layer; "
        f"float32 products at the rate of a matrix product, {_peak(profile, 'fp32_gmacs_per_s', 'GMAC/s')}; "
        f"bytes at the bandwidth of a copy in cache, {_peak(profile, 'cache_copy_gbytes_per_s', 'GB/s')}"
    )
    # Without lines between the columns: the layers' names then fit a terminal of 80 columns, and what does not is folded.
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold", min_width=LAYER_WIDTH)
    table.add_column("kind", no_wrap=True, max_width=KIND_WIDTH)
    for heading in ("µs", "share", "MACs", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("bound by", no_wrap=True)
    for row in profile.rows:
        table.add_row(
            row.covers[0] if row.covers else row.name,
            row.op,
            f"{1e3 * row.p50_ms:.1f}",
            f"{row.p50_ms / total_ms:.1%}",
            "-" if row.macs is None else f"{row.macs:,}",
            "-" if row.size_bytes is None else f"{row.size_bytes:,}",
            row.bound or "-",
        )
    return table


def _peak(profile: LayerProfile, name: str, unit: str) -> str:
    value = profile.peaks[name]
    return "which is not known here" if value is None else f"{value:.0f} {unit}"


def reservations(measurement: Measurement) -> Iterator[str]:
    """Yield, a sentence each, what a reader must know before trusting the figures; nothing where all is sound."""
    for name, model in measurement.models.items():
        record = model.record
        if unsteady := _condition(record, "unstable_processes"):
            processes = _condition(record, "processes")
            yield f"{name}: not steady after the longest warm-up in {unsteady} of {processes} processes"
        written = _condition(record, "file_precision")
        if written not in (None, record.precision):
            yield f"{name}: the file is {written}, and {record.runtime} executed {record.precision}"
        if _condition(record, "precision_is"):
            asked = f"{record.runtime} was asked for {record.precision} and chooses by layer"
            yield f"{name}: {asked}: what it executed is not known"
        if what := _condition(record, "latency_is"):
            yield f"{name}: these times are {what}; times measured from host to host are longer"
    record = next(iter(measurement.models.values())).record
    if (_condition(record, "processes") or 0) < GOOD_PROCESSES:
        yield f"fewer than {GOOD_PROCESSES} processes: the intervals are wide and may mislead"
    if periods := _condition(record, "quota_throttled_periods"):
        yield f"the container's CPU quota stopped the process in {periods} periods"
    if _condition(record, "thermal_throttle_events"):
        yield "the processor throttled because of heat"
    if _condition(record, "governor") not in (None, "performance"):
        yield f"the clock governor is {_condition(record, 'governor')}: clocks may have changed while measuring"


def _condition(record: LatencyRecord, name: str) -> Any:
    """What is said of it; None where it is not known, or was measured by something that does not say."""
    return record.conditions.get(name)


def _or_unknown(record: LatencyRecord, name: str, say: Callable[[Any], str]) -> str:
    value = _condition(record, name)
    return "unknown" if value is None else say(value)


def _figure(milliseconds: float) -> str:
    return f"{milliseconds:.4g}"
