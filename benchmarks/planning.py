"""How long planning takes and what memory it needs, and how long Fisher's segmentation of a thousand layers takes.

    python benchmarks/planning.py

Each model and budget is planned on 512 frames in a process of its own, in turns with plain forward passes over the same
frames, and ``benchmarks/results/planning.json`` gets the medians. Every figure comes with the bar that it is held to.
Close other programs: times are those of the machine as it is.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

# This folder, in which a program hides the package of its name.
sys.path.pop(0)

from deploy.host import describe_host
from toolchain.models import create_model
from toolchain.pruning import plan_layers, segment

RESULTS = Path(__file__).parent / "results"
FRAMES = 512
TURNS = 5
MODELS = ("resnet1d56", "resnet1d110", "resnet56")
# A cut is planned for several numbers of units; one block holds the most candidates.
ASKED: tuple[dict[str, Any], ...] = (
    {"keep": 0.25},
    {"macs_cut": 0.5},
    {"macs_cut": 0.85},
    {"macs_cut": 0.5, "blocks": 1},
)
BARS = {"seconds over two forward passes": 2.0, "seconds for 50 blocks of 1,000 layers": 1.0}


def main() -> None:
    """Measure, write the results, and show each figure with its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "ASKED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(planned(arguments.one[0], json.loads(arguments.one[1]))))
        return
    rows = [in_its_own_process(name, asked) for name in MODELS for asked in ASKED]
    signatures = np.random.default_rng(0).normal(size=(1000, 1000))
    segment_s = statistics.median(seconds(lambda: segment(signatures, 50)) for _ in range(TURNS))
    figures = {
        "command": "python benchmarks/planning.py",
        "host": describe_host(),
        "planning": rows,
        "segment_1000_into_50_s": segment_s,
        "bars": BARS,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "planning.json").write_text(json.dumps(figures, indent=2) + "\n")
    over, segmenting = BARS.values()
    for row in rows:
        print(
            f"{'met   ' if row['over_two_passes_s'] <= over else 'MISSED'} {row['model']} {row['asked']}: "
            f"{row['plan_s']:.2f} s, two passes {2 * row['forward_s']:.2f} s, {row['kept']} units kept, "
            f"{row['peak_mib']:.0f} MiB more than before"
        )
    print(f"{'met   ' if segment_s <= segmenting else 'MISSED'} 1,000 layers into 50 blocks: {segment_s:.2f} s")


def in_its_own_process(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """:func:`planned` where nothing else has used memory before."""
    command = [sys.executable, __file__, "--one", name, json.dumps(asked)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def planned(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Medians of planning and of a forward pass, in turns on one thread; ``peak_mib`` is what planning adds to the peak."""
    torch.set_num_threads(1)
    model = create_model(name, generator=torch.Generator().manual_seed(0)).eval()
    frames = np.random.default_rng(0).normal(size=(FRAMES, 2, 128)).astype(np.float32)
    iq = torch.from_numpy(frames)

    def forward() -> None:
        with torch.no_grad():
            model(iq)

    forward()
    before = peak_mib()
    kept = len(plan_layers(model, frames, **asked).kept)
    peak = peak_mib() - before
    turns = [(seconds(forward), seconds(lambda: plan_layers(model, frames, **asked))) for _ in range(TURNS)]
    forward_s, plan_s = (statistics.median(each) for each in zip(*turns, strict=True))
    return {
        "model": name,
        "asked": asked,
        "kept": kept,
        "forward_s": forward_s,
        "plan_s": plan_s,
        "over_two_passes_s": plan_s - 2 * forward_s,
        "peak_mib": peak,
    }


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_mib() -> float:
    """The most memory that this process has used so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
