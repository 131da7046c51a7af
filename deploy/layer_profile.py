"""Where a model's time goes: a row a layer as the runtime ran it, beside what the manifest knows of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import JsonValue

from deploy.bundle import Layer, sum_if_known
from deploy.latency import Model, ask_for
from deploy.names import Executed
from deploy.runtimes.base import Float32
from deploy.strict_reading import Strict

RUNS = 200
# What exported models call their output.
OUTPUT = "logits"
# Whose layers ran on the cores that the peaks are measured on.
ON_THE_PROCESSOR = frozenset({"onnxruntime", "openvino", "openvino-bf16"})
# What is known of a layer explains its time where it makes up so much of it.
EXPLAINED = 0.5
Bound = Literal["launching", "memory", "arithmetic"]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """What the runtime ran as one. ``covers`` names the nodes of the file that the manifest knows, ``p50_ms`` is of the batch.

    ``macs`` and ``size_bytes`` (in, out and weights, as the file has them) are of the batch too, None where nothing is known
    of it. ``bound`` says what takes longest by what this machine can do at best: the products, the bytes, or starting a layer
    at all (as long as the quickest layer took). Where products or bytes are not known, nor what the device does of them, it is
    the longest of the others, None where that is less than half of the time.
    """

    name: str
    op: str
    covers: tuple[str, ...]
    p50_ms: float
    macs: int | None
    size_bytes: int | None
    bound: Bound | None


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """All layers in the order in which they ran, and the least time that a layer took.

    ``peaks``: ``fp32_gmacs_per_s`` are float32 products, None where another type was executed or not on the processor;
    ``cache_copy_gbytes_per_s`` the bandwidth of a copy in cache, above that of memory, None where not on the processor.
    """

    rows: tuple[LayerRow, ...]
    precision: Executed
    runtime_version: str
    peaks: dict[str, float | None]
    least_ms: float

    def to_json(self) -> dict[str, JsonValue]:
        """The same as JSON values."""
        return {
            "runtime_version": self.runtime_version,
            "precision": self.precision,
            "peaks": dict(self.peaks),
            "least_ms": self.least_ms,
            "layers": [{**vars(row), "covers": list(row.covers)} for row in self.rows],
        }

    @classmethod
    def from_json(cls, told: ToldLayers) -> LayerProfile:
        """What :meth:`to_json` gave, read back."""
        return cls(
            rows=told.layers,
            precision=told.precision,
            runtime_version=told.runtime_version,
            peaks=told.peaks,
            least_ms=told.least_ms,
        )


class ToldLayers(Strict):
    """The form of a layer profile's JSON."""

    runtime_version: str
    precision: Executed
    peaks: dict[str, float | None]
    least_ms: float
    layers: tuple[LayerRow, ...]


def profile_layers(
    model: Model,
    known: Sequence[Layer],
    frames: Float32,
    *,
    threads: int = 1,
    batch: int = 1,
) -> LayerProfile:
    """Time the layers of ``model`` in a fresh process on ``frames`` (n, 2, length), ``batch`` at a time.

    ``known`` are the layers of its file. Raises MeasurementError where the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="thinwave-") as folder:
        path = Path(folder) / "frames.npy"
        np.save(path, frames, allow_pickle=False)
        said = ask_for("layers", model, path, threads=threads, batch=batch, runs=RUNS)
    return rows_of(said, known, batch, model.runtime)


def rows_of(said: dict[str, Any], known: Sequence[Layer], batch: int, runtime: str) -> LayerProfile:
    """Put what a process said of its layers in ``runtime`` beside what is ``known`` of them for one frame."""
    by_name = {layer.name: layer for layer in known}
    if known:
        # OpenVINO calls the last node by the output that it makes.
        by_name.setdefault(OUTPUT, known[-1])
    peaks = _peaks_that_count(said, runtime)
    least_ms = min((layer["p50_ms"] for layer in said["layers"]), default=0.0)
    rows = []
    for layer in said["layers"]:
        covers = tuple(name for name in layer["covers"] if name in by_name)
        found = [by_name[name] for name in covers]
        macs = sum_if_known(each.macs for each in found) if found else None
        macs = None if macs is None else batch * macs
        size_bytes = _size_bytes(found, batch) if found else None
        rows.append(
            LayerRow(
                name=layer["name"],
                op=layer["op"],
                covers=covers,
                p50_ms=layer["p50_ms"],
                macs=macs,
                size_bytes=size_bytes,
                bound=_bound(layer["p50_ms"], macs, size_bytes, peaks, least_ms),
            )
        )
    return LayerProfile(
        rows=tuple(rows),
        precision=said["precision"],
        runtime_version=said["runtime_version"],
        peaks=peaks,
        least_ms=least_ms,
    )


def _size_bytes(fused: Sequence[Layer], batch: int) -> int | None:
    """What layers that run as one read and write: they pass their values on to each other without writing them down."""
    weights = sum_if_known(each.bytes_weights for each in fused)
    passed = sum_if_known((fused[0].bytes_in, fused[-1].bytes_out))
    return None if weights is None or passed is None else weights + batch * passed


def _peaks_that_count(said: dict[str, Any], runtime: str) -> dict[str, float | None]:
    """Of what was measured in float32 on the processor, what says something of the type and device that ran."""
    here = runtime in ON_THE_PROCESSOR
    return {
        "fp32_gmacs_per_s": said["peaks"]["gmacs_per_s"] if here and said["precision"] == "fp32" else None,
        "cache_copy_gbytes_per_s": said["peaks"]["gbytes_per_s"] if here else None,
    }


def _bound(
    p50_ms: float, macs: int | None, size_bytes: int | None, peaks: dict[str, float | None], least_ms: float
) -> Bound | None:
    at_best_ms: dict[Bound, float | None] = {
        "arithmetic": _at_best_ms(macs, peaks["fp32_gmacs_per_s"]),
        "memory": _at_best_ms(size_bytes, peaks["cache_copy_gbytes_per_s"]),
        "launching": least_ms,
    }
    known = {name: milliseconds for name, milliseconds in at_best_ms.items() if milliseconds is not None}
    longest = max(known, key=lambda name: known[name])
    explained = len(known) == len(at_best_ms) or known[longest] >= EXPLAINED * p50_ms
    return longest if explained else None


def _at_best_ms(count: int | None, billions_per_s: float | None) -> float | None:
    return None if count is None or billions_per_s is None else count / billions_per_s / 1e6
