"""A small comparison with numbers that can be worked out by hand."""

from __future__ import annotations

import pytest

from toolchain.compared import Cell, Compared, Judged, Latency, Layers, Missing, Original

KINDS = {"layers": "layers", "psr": "layers", "l1": "channels", "sfp": "channels", "scratch": "scratch"}
# Accuracy by budget, method and seed (1, 2, 3).
ACCURACIES = {
    "macs_cut=0.5": {
        "layers": (0.90, 0.92, 0.94),
        "psr": (0.91, 0.91, 0.95),
        "l1": (0.88, 0.91, 0.92),
        "scratch": (0.80, 0.81, 0.80),
    },
    "speedup=2": {"layers": (0.90, 0.90, 0.90), "l1": (0.85, 0.86, 0.84)},
}
TIMES = {"layers": 2.0, "psr": 2.0, "l1": 1.25, "sfp": 1.25, "scratch": 2.0}


def judged(accuracy, *, macs=1000, params=100, sensitivity_db=-2.0, confusion=((450, 50), (150, 350))):
    return Judged(
        accuracy=accuracy,
        validation_accuracy=accuracy,
        accuracy_by_snr={"-10": accuracy / 2, "0": accuracy - 0.05, "10": accuracy},
        confusion=confusion,
        sensitivity_db=sensitivity_db,
        params=params,
        macs=macs,
    )


def timed(times, *, runtime="onnxruntime", run="run-1", **changes):
    p50_ms = 1.0 / times
    values = {
        "runtime": runtime,
        "runtime_version": "1.0",
        "precision": "fp32",
        "target": "x86-64-cpu",
        "host": "bench",
        "batch": 1,
        "threads": 1,
        "p50_ms": p50_ms,
        "p50_interval_ms": (0.9 * p50_ms, 1.1 * p50_ms),
        "p99_ms": 1.4 * p50_ms,
        "times_as_fast": times,
        "times_interval": (0.9 * times, 1.1 * times),
        "percentiles_ms": tuple(p50_ms * (0.5 + place / 100) for place in range(101)),
        "processes": 5,
        "stable": True,
        "run": run,
    }
    return Latency(**{**values, **changes})


def original(seed, accuracy=0.95, **changes):
    values = {
        "data": "tiny",
        "model": "net",
        "seed": seed,
        "classes": ("BPSK", "8PSK"),
        "frames": {"train": 8000, "validation": 1000, "test": 1000},
        "judged": judged(accuracy, macs=4000, params=400, sensitivity_db=-3.0),
        "latency": (timed(1.0, run=f"run-{seed}"), timed(1.0, runtime="openvino", run=f"vino-{seed}")),
    }
    return Original(**{**values, **changes})


def cell(method, seed, accuracy=0.9, *, budget="macs_cut=0.5", **changes):
    # Seeds differ a little, and methods by them, so that intervals have a width.
    times = TIMES[method] * (1 + (0.012 if method == "l1" else 0.01) * seed)
    layers = Layers(
        units=("a", "b", "c", "d"), kept=(0, 3), boundaries=(0, 2), scored_by=("synflow", "synflow")
    )  # fmt: skip
    values = {
        "method": method,
        "kind": KINDS[method],
        "data": "tiny",
        "model": "net",
        "budget": budget,
        "seed": seed,
        "wanted": 0.5,
        "reached": 0.48,
        "untuned_accuracy": 0.3,
        "judged": judged(accuracy, macs=1990 + 10 * seed),
        "layers": layers if KINDS[method] == "layers" else None,
        "latency": (timed(times, run=f"run-{seed}"), timed(3 * times, runtime="openvino", run=f"vino-{seed}")),
    }
    return Cell(**{**values, **changes})


def missing(method, *seeds, budget="macs_cut=0.5"):
    """Cells that are not done yet."""
    return tuple(Missing(method=method, data="tiny", model="net", budget=budget, seed=seed) for seed in seeds)


def compared(*, name="first", cells=None, originals=None, **changes):
    if cells is None:
        cells = [
            cell(method, seed, accuracy, budget=budget)
            for budget, methods in ACCURACIES.items()
            for method, accuracies in methods.items()
            for seed, accuracy in enumerate(accuracies, 1)
        ]
    values = {
        "schema": 2,
        "name": name,
        "recipe": {"compare": {"seeds": [1, 2, 3]}, "data": [{"name": "tiny"}]},
        "host": {"cpu_model": "Some CPU", "machine": "x86_64", "os": "Debian"},
        "baseline": "layers",
        "level": 0.5,
        "runtimes": ("onnxruntime", "openvino"),
        "originals": tuple(originals if originals is not None else [original(seed) for seed in (1, 2, 3)]),
        "cells": tuple(cells),
    }
    return Compared(**{**values, **changes})


class Making:
    """Makers of each part; what they are given replaces a value of the small comparison."""

    judged, timed, original, cell = map(staticmethod, (judged, timed, original, cell))
    compared, missing = map(staticmethod, (compared, missing))


@pytest.fixture(scope="session")
def make():
    return Making
