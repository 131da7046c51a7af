"""The records that measuring leaves, to and from JSON."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import Field, JsonValue, NonNegativeFloat, PositiveFloat, PositiveInt

from deploy.errors import MeasurementError
from deploy.names import Executed
from deploy.strict_reading import Strict, read_strictly

RecordKind = TypeVar("RecordKind", bound="Record")


class Record(Strict):
    """A frozen value that a measurement leaves behind."""

    def to_json(self) -> dict[str, Any]:
        """Return what ``json.dumps`` writes; :meth:`from_json` reads it back as an equal record."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls: type[RecordKind], data: object, *, where: str = "record") -> RecordKind:
        """Read a record from parsed JSON; raises MeasurementError with every problem, naming ``where``."""
        return read_strictly(cls, data, where=where, error=MeasurementError)


class LatencyRecord(Record):
    """Single-stream latency of one model on one target: numpy frames in to logits out, in milliseconds.

    ``p50_ms`` is the geometric mean of the processes' medians; ``p90_ms``, ``p95_ms``, ``p99_ms`` and ``max_ms`` are of
    all samples of all processes together, nothing clipped; ``runs`` is their number. ``precision`` is what the runtime
    executed, which need not be what the file holds. ``conditions`` says under what the figures came about; a condition
    that could not be read is null. What an emulator ran is of kind "emulated": its times are no device's.
    """

    target: str
    runtime: str
    runtime_version: str
    precision: Executed
    batch: PositiveInt
    threads: PositiveInt
    p50_ms: NonNegativeFloat
    p90_ms: NonNegativeFloat
    p95_ms: NonNegativeFloat
    p99_ms: NonNegativeFloat
    max_ms: NonNegativeFloat
    runs: PositiveInt
    kind: Literal["measured", "emulated"] = "measured"
    conditions: dict[str, JsonValue] = Field(default_factory=dict)


class Ratio(Record):
    """How many times faster: a ratio of latencies and the ends of its 95 % interval over processes."""

    ratio: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat
