"""A compare.json that was changed or damaged is refused in words."""

import json

import pytest

from toolchain.compared import FILE, read_compared
from toolchain.errors import RunError

LATENCY = {
    "runtime": "onnxruntime", "runtime_version": "1", "precision": "fp32", "target": "x86-cpu", "host": "here", "batch": 1,
    "threads": 1, "p50_ms": 1.0, "p50_interval_ms": [0.9, 1.1], "p99_ms": 2.0, "times_as_fast": 2.0,
    "times_interval": [1.9, 2.1], "percentiles_ms": [1.0] * 101, "processes": 5, "stable": True, "run": "one",
}  # fmt: skip


@pytest.fixture
def changed(tmp_path):
    """Read a small comparison in which the value at a path of keys is another."""

    def read(path=(), value=None):
        judged = {
            "accuracy": 0.9, "validation_accuracy": 0.9, "accuracy_by_snr": {"0": 0.9, "2.5": 1.0},
            "confusion": [[9, 1], [1, 9]], "sensitivity_db": -1.0, "params": 10, "macs": 100,
        }  # fmt: skip
        place = {"data": "d", "model": "m", "seed": 1}
        cell = {
            **place, "method": "layers", "kind": "layers", "budget": "macs_cut=0.5", "judged": judged,
            "latency": [dict(LATENCY)],
            "layers": {"units": ["a", "b"], "kept": [1], "boundaries": [0], "scored_by": []},
        }  # fmt: skip
        values = {
            "schema": 2, "name": "one", "recipe": {}, "host": {}, "baseline": "layers", "level": 0.5,
            "runtimes": ["onnxruntime"], "originals": [place], "cells": [cell],
        }  # fmt: skip
        *first, last = path or (None,)
        inner = values
        for key in first:
            inner = inner[key]
        if path:
            inner[last] = [*inner[last], *inner[last]] if value == "twice" else value
        (tmp_path / FILE).write_text(json.dumps(values))
        return read_compared(tmp_path)

    return read


def test_a_whole_one_is_read(changed):
    assert changed().cells[0].judged.macs == 100


JUDGED, TIMED = ("cells", 0, "judged"), ("cells", 0, "latency", 0)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((*JUDGED, "accuracy_by_snr"), {"abc": 0.5}, "got 'abc', expected SNRs in dB"),
        ((*JUDGED, "accuracy_by_snr"), {"nan": 0.5}, "got 'nan', expected SNRs in dB"),
        ((*JUDGED, "accuracy_by_snr"), {"-inf": 0.5}, "got '-inf', expected SNRs in dB"),
        ((*JUDGED, "confusion"), [[1, 2], [3]], "got 2 rows of 1, 2 counts"),
        ((*JUDGED, "confusion"), [[1], [3], [4]], "got 3 rows of 1 counts"),
        ((*JUDGED, "confusion", 0, 0), 10**30, "expected less than or equal to"),
        ((*JUDGED, "macs"), 10**400, "expected less than or equal to"),
        ((*JUDGED, "params"), 10**400, "expected less than or equal to"),
        ((*JUDGED, "sensitivity_db"), 1.7e308, "expected less than or equal to 1000"),
        ((*TIMED, "p50_ms"), 1e308, "expected less than or equal to"),
        ((*TIMED, "p50_ms"), 5e-324, "expected greater than or equal to"),
        ((*TIMED, "times_as_fast"), 5e-324, "expected greater than or equal to"),
        ((*TIMED, "times_as_fast"), 1e308, "expected less than or equal to"),
        (("cells", 0, "layers", "kept"), [2], "kept: got index 2, expected less than the 2 units"),
        (("cells", 0, "layers", "boundaries"), [0, 7], "boundaries: got index 7"),
        (JUDGED, None, "neither what was judged nor why it failed"),
        (("cells",), "twice", "cells: layers, m, d, macs_cut=0.5, seed 1 is there more than once"),
        (("originals",), "twice", "originals: m, d, seed 1 is there more than once"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changed, path, value, said):
    with pytest.raises(RunError, match=r"compare\.json: ") as refused:
        changed(path, value)
    assert said in str(refused.value)
