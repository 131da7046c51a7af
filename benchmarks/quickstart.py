"""The figures of the quickstart: its time and memory, what pruning cost and gained, and the generator.

    python benchmarks/quickstart.py [--data FILE] [--seeds 1,2,3]

Runs the real command in a process of its own, a seed after another, and writes ``benchmarks/results/quickstart.json``
and the first seed's ``quickstart.png`` and ``plan.png`` (with ``--data``: ``quickstart-FILE``). Every figure comes with
the bar that it is held to; a figure that misses its bar is shown as missed. Close other programs: times are those of the
machine as it is.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# This folder, in which a program hides the package of its name.
sys.path.pop(0)

from deploy.host import describe_host
from toolchain.data.generator import generate

RESULTS = Path(__file__).parent / "results"
PASSES = 5
PAGE_BYTES = resource.getpagesize()


def main() -> None:
    """Run, write the results, and show each figure with its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a file in the RML2016.10a format, instead of generated frames")
    parser.add_argument("--seeds", default="1,2,3", help="a run of the quickstart each")
    arguments = parser.parse_args()
    name = "quickstart" if arguments.data is None else f"quickstart-{arguments.data.stem}"
    RESULTS.mkdir(exist_ok=True)
    picture = RESULTS / f"{name}.png"
    runs = [quickstart(int(seed), arguments.data, picture) for seed in reversed(arguments.seeds.split(","))][::-1]
    figures: dict[str, Any] = {"runs": runs}
    if arguments.data is None:
        figures["generator_frames_per_s"] = generator_speed()
    figures["bars"] = bars(figures, real=arguments.data is not None)
    shown = [item if Path(item) != arguments.data else Path(item).name for item in sys.argv[1:]]
    figures["command"] = shlex.join(["python", "benchmarks/quickstart.py", *shown])
    figures["host"] = describe_host()
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    for bar in figures["bars"]:
        print(f"{'met   ' if bar['met'] else 'MISSED'} {bar['figure']}: {bar['seen']:.4g} (bar: {bar['bar']})")


def quickstart(seed: int, data: Path | None, picture: Path) -> dict[str, Any]:
    """One run of the command: its seconds, the peak memory of all its processes together, its results and its picture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "toolchain.cli", "quickstart", "--out", str(out), "--set", f"run.seed={seed}"]
        started = time.monotonic()
        with subprocess.Popen([*command, *(["--data", str(data)] if data else [])]) as process:
            peak_bytes = 0
            while process.poll() is None:
                peak_bytes = max(peak_bytes, resident_bytes(process.pid))
                time.sleep(0.25)
        if process.returncode:
            sys.exit(process.returncode)
        seconds = time.monotonic() - started
        results = json.loads((out / "results.json").read_text())
        shutil.copy(out / "figures" / "accuracy.png", picture)
        if data is None:
            shutil.copy(out / "figures" / "plan.png", picture.with_name("plan.png"))
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "seconds_by_stage": results["seconds"],
        "peak_memory_gib": round(peak_bytes / 2**30, 3),
        "parity": results["parity"],
        "plan": {name: results["plan"][name] for name in ("kept", "blocks", "log_flow")},
        "speedup": results["speedup"],
        "models": {name: _summary(model) for name, model in results["models"].items()},
    }


def resident_bytes(pid: int) -> int:
    """The resident memory of a process and all below it; pages that they share count in each."""
    resident: dict[int, int] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)], resident[int(folder.name)] = int(fields[1]), int(fields[21]) * PAGE_BYTES
    tree, before = {pid}, 0
    while len(tree) > before:
        before = len(tree)
        tree |= {child for child, parent in parents.items() if parent in tree}
    return sum(resident.get(process, 0) for process in tree)


def _summary(model: dict[str, Any]) -> dict[str, Any]:
    high = [share for snr, share in model["accuracy_by_snr"].items() if float(snr) >= 10]
    return {
        **{name: model[name] for name in ("params", "macs", "accuracy", "accuracy_by_snr", "sensitivity_db")},
        "accuracy_from_10_db": statistics.fmean(high),
        "onnx_bytes": model["onnx"]["bytes"],
        "p50_ms": model["latency"][0]["p50_ms"],
        "p95_ms": model["latency"][0]["p95_ms"],
    }


def generator_speed() -> float:
    """Frames of 128 samples a second, in one process."""
    started = time.perf_counter()
    made = generate("rml2016a", frames_per_cell=128, snr_db=range(-20, 20, 2), seed=0)
    return len(made.iq) / (time.perf_counter() - started)


def bars(figures: dict[str, Any], *, real: bool) -> list[dict[str, Any]]:
    """Each figure, the worst of the runs, beside what it is held to."""
    runs = figures["runs"]
    loss = max(100 * (run["models"]["original"]["accuracy"] - run["models"]["pruned"]["accuracy"]) for run in runs)
    high = [{name: model["accuracy_from_10_db"] for name, model in run["models"].items()} for run in runs]
    found = [
        ("seconds, slowest run", max(run["seconds"] for run in runs), "at most", 240.0),
        ("peak memory in GiB", max(run["peak_memory_gib"] for run in runs), "at most", 3.0),
        ("speed-up at p50, lower end", min(run["speedup"]["low"] for run in runs), "at least", 2.5),
    ]
    if real:
        worst = max(100 * (each["original"] - each["pruned"]) for each in high)
        found += [
            ("original's accuracy from 10 dB", min(each["original"] for each in high), "at least", 0.6),
            ("points lost by pruning from 10 dB", worst, "at most", 5.0),
        ]
    else:
        found += [
            ("points lost by pruning", loss, "at most", 2.0),
            ("generator, frames a second", figures["generator_frames_per_s"], "at least", 10_000.0),
        ]
    return [
        {"figure": name, "seen": seen, "bar": f"{way} {bar:g}", "met": seen <= bar if way == "at most" else seen >= bar}
        for name, seen, way, bar in found
    ]


if __name__ == "__main__":
    main()
