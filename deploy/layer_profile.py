"""Where a model's time goes: a row a layer as the runtime ran it, beside what the manifest knows of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import JsonValue

from deploy.bundle import Layer
from deploy.latency import Model, ask_for
from deploy.names import Executed
from deploy.runtimes.base import Float32

RUNS = 200
# What exported models call their output.
OUTPUT = "logits"
Bound = Literal["launching", "memory", "arithmetic"]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """What the runtime ran as one. ``covers`` names the nodes of the file that the manifest knows, ``p50_ms`` is of the batch.

    ``macs`` and ``size_bytes`` (in, out and weights, as the file has them) are of the batch too, None where nothing is known
    of it. ``bound`` says what takes longest by this machine's peaks: the arithmetic, the bytes, or starting a layer at all.
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
    """All layers in the order in which they ran; ``peaks`` of the machine, and the least time that a layer takes."""

    rows: tuple[LayerRow, ...]
    precision: Executed
    runtime_version: str
    peaks: dict[str, float]
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


def profile_layers(
    model: Model,
    known: Sequence[Layer],
    frames: Float32,
    *,
    threads: int = 1,
    batch: int = 1,
    child_command: Sequence[str] = (sys.executable,),
) -> LayerProfile:
    """Time the layers of ``model`` in a fresh process on ``frames`` (n, 2, length), ``batch`` at a time.

    ``known`` are the layers of its file. Raises MeasurementError where the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="thinwave-") as folder:
        path = Path(folder) / "frames.npy"
        np.save(path, frames, allow_pickle=False)
        said = ask_for("layers", model, path, threads=threads, batch=batch, runs=RUNS, child_command=child_command)
    return rows_of(said, known, batch)


def rows_of(said: dict[str, Any], known: Sequence[Layer], batch: int) -> LayerProfile:
    """Put what a process said of its layers beside what is ``known`` of them for one frame."""
    by_name = {layer.name: layer for layer in known}
    if known:
        # OpenVINO calls the last node by the output that it makes.
        by_name.setdefault(OUTPUT, known[-1])
    peaks = said["peaks"]
    least_ms = min((layer["p50_ms"] for layer in said["layers"]), default=0.0)
    rows = []
    for layer in said["layers"]:
        covers = tuple(name for name in layer["covers"] if name in by_name)
        found = [by_name[name] for name in covers]
        macs: int | None = None
        size_bytes: int | None = None
        if found and all(each.macs is not None for each in found):
            macs = batch * sum(each.macs or 0 for each in found)
        if found:
            # What is fused passes its values on without writing them down.
            weights = sum(each.bytes_weights for each in found)
            size_bytes = weights + batch * (found[0].bytes_in + found[-1].bytes_out)
        rows.append(
            LayerRow(
                name=layer["name"],
                op=layer["op"],
                covers=covers,
                p50_ms=layer["p50_ms"],
                macs=macs,
                size_bytes=size_bytes,
                bound=None if macs is None or size_bytes is None else _bound(macs, size_bytes, peaks, least_ms),
            )
        )
    return LayerProfile(
        rows=tuple(rows),
        precision=said["precision"],
        runtime_version=said["runtime_version"],
        peaks=peaks,
        least_ms=least_ms,
    )


def _bound(macs: int, size_bytes: int, peaks: dict[str, float], least_ms: float) -> Bound:
    by_peak: dict[Bound, float] = {
        "arithmetic": macs / peaks["gmacs_per_s"] / 1e6,
        "memory": size_bytes / peaks["gbytes_per_s"] / 1e6,
        "launching": least_ms,
    }
    return max(by_peak, key=lambda name: by_peak[name])
