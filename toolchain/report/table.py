"""The final table: original and pruned side by side, the same rows on the terminal and in the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A figure of both models, and what pruning did to it."""

    figure: str
    original: str
    pruned: str
    change: str


def rows(results: Mapping[str, Any]) -> list[Row]:
    """The rows of a run's ``results.json``. Measured figures only."""
    original, pruned = results["models"]["original"], results["models"]["pruned"]
    before, after = original["latency"][0], pruned["latency"][0]
    speedup = results["speedup"]
    level = results["settings"]["export"]["sensitivity_level"]
    points = 100 * (pruned["accuracy"] - original["accuracy"])
    return [
        _count("parameters", original["params"], pruned["params"]),
        _count("MACs a frame", original["macs"], pruned["macs"]),
        _count("FLOPs a frame (2 a MAC)", original["flops"], pruned["flops"]),
        Row("accuracy", f"{original['accuracy']:.2%}", f"{pruned['accuracy']:.2%}", f"{points:+.2f} points"),
        _sensitivity(f"sensitivity ({level:.0%} right)", original["sensitivity_db"], pruned["sensitivity_db"]),
        _count("ONNX bytes", original["onnx"]["bytes"], pruned["onnx"]["bytes"]),
        Row(
            "latency p50",
            f"{before['p50_ms']:.4f} ms",
            f"{after['p50_ms']:.4f} ms",
            f"{speedup['ratio']:.2f}x faster",
        ),
        Row("", "", "", f"({speedup['low']:.2f} to {speedup['high']:.2f})"),
        Row("latency p95", f"{before['p95_ms']:.4f} ms", f"{after['p95_ms']:.4f} ms", ""),
    ]


def conditions(results: Mapping[str, Any]) -> str:
    """Under what the latencies were measured, in one line."""
    record = results["models"]["pruned"]["latency"][0]
    processes = results["settings"]["profile"]["processes"]
    return (
        f"{record['target']} ({results['host'].get('cpu_model') or 'unknown processor'}), "
        f"{record['runtime']} {record['runtime_version']}, {record['precision']}, batch {record['batch']}, "
        f"{record['threads']} thread(s); speed-up with its 95 % interval over {processes} processes"
    )


def _count(figure: str, original: int, pruned: int) -> Row:
    return Row(figure, f"{original:,}", f"{pruned:,}", f"{pruned / original - 1:+.1%}")


def _sensitivity(figure: str, original: float | None, pruned: float | None) -> Row:
    before, after = ("not crossed" if value is None else f"{value:.2f} dB" for value in (original, pruned))
    change = "" if original is None or pruned is None else f"{pruned - original:+.2f} dB"
    return Row(figure, before, after, change)
