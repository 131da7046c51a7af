"""The evidence for the device side: does the protocol measure what it says, and how fast are the bundles that it serves.

    python benchmarks/deploy.py [--only PART] [--work DIR] [--quick]

Parts, each kept in ``benchmarks/results/deploy.json`` the moment it is finished, and not done again while it is there
(``--again`` does):

- models   a 1-D ResNet-56 and its pruned self at 128 and 1,024 samples, by ``thinwave run``, into ``runs/deploy``
- bare     our runs against the runtime's own call in a loop, in turns in the same processes: within 2 %
- app      our p50 against OpenVINO's benchmark_app on the same file: within 10 %
- itself   a bundle against itself, 20 times: the interval holds 1 in at least 18, and is at most 2 % wide
- table    every runtime and precision that is here: p50, accuracy, parity, bytes, memory
- eager    PyTorch eager on the same core, in turns with the fastest of the pruned model; and the roofline of this machine

Close other programs: times are those of the machine as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# This folder, in which this file hides the package of its name.
sys.path.pop(0)

from deploy.affinity import cores_for, pin_to, thread_environment
from deploy.bundle import open_bundle
from deploy.bundle_check import check_bundle
from deploy.errors import RuntimeNotFoundError
from deploy.host import describe_host
from deploy.interval import t_interval
from deploy.latency import Model, measure
from deploy.names import PRECISIONS
from deploy.noise import noise_frames
from deploy.peaks import measured_peaks
from deploy.runtimes import version_here
from deploy.runtimes.base import Float32

RESULTS = Path(__file__).parent / "results" / "deploy.json"
WORK = Path(__file__).parents[1] / "runs" / "deploy"
# Of a run's recipe, by the length of its frames. At 1,024 samples a step costs eight times as much.
RECIPES: dict[str, dict[str, Any]] = {
    "128": {},
    "1024": {
        "data.preset": "rml2018",
        "data.frames_per_cell": 40,
        "data.snr_min_db": 6,
        "data.snr_step_db": 4,
        "train.steps": 400,
        "finetune.steps": 300,
    },
}
RUNTIMES = ("onnxruntime", "openvino", "openvino-bf16")
PROCESSES, SECONDS = 10, 3.0
ITSELF_TIMES = 20
APP_ROUNDS, APP_S = 5, 10
MODELS = ("original", "pruned")
Work = Callable[[Path, "Effort"], Any]


class Effort:
    """How much of everything is done: all of it, or a little, to try the program."""

    def __init__(self, *, quick: bool) -> None:
        self.processes, self.seconds = (2, 0.2) if quick else (PROCESSES, SECONDS)
        self.itself_times = 2 if quick else ITSELF_TIMES
        self.app_rounds, self.app_s = (1, 1) if quick else (APP_ROUNDS, APP_S)
        self.set = {"train.steps": 20, "finetune.steps": 20, "export.most_drop": 0.5} if quick else {}


def main() -> None:
    """Do what is not done, write the results, and show each figure with its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--again", action="store_true", help="also what is done")
    parser.add_argument("--work", type=Path, default=WORK, help="models and bundles [default: runs/deploy]")
    parser.add_argument("--quick", action="store_true", help="a little of everything; its results stay in --work")
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "FILE", "FRAMES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, file, frames = arguments.child
        print(json.dumps(CHILDREN[what](Path(file), np.load(frames))))
        return
    work = arguments.work / "quick" if arguments.quick else arguments.work
    results = work / "deploy.json" if arguments.quick else RESULTS
    work.mkdir(parents=True, exist_ok=True)
    found = json.loads(results.read_text()) if results.exists() else {}
    for name, part in PARTS.items():
        if (arguments.only and name not in arguments.only) or (name in found and not arguments.again):
            continue
        print(f"{name} …", flush=True)
        found[name] = part(work, Effort(quick=arguments.quick))
        found["command"], found["host"] = "python benchmarks/deploy.py", describe_host()
        results.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def models(work: Path, effort: Effort) -> dict[str, Any]:
    """The runs that leave the bundles; their own measuring is made short."""
    made = {}
    for length, settings in RECIPES.items():
        values = {**settings, **effort.set, "profile.processes": 2, "profile.seconds": 0.1}
        words = [f"--set={key}={json.dumps(value)}" for key, value in values.items()]
        out = work / length
        subprocess.run([sys.executable, "-m", "toolchain.cli", "quickstart", "--out", str(out), *words], check=True)
        results = json.loads((out / "results.json").read_text())
        made[length] = {
            name: {key: results["models"][name][key] for key in ("params", "macs", "accuracy", "precisions")}
            for name in MODELS
        }
    return made


def bare(work: Path, effort: Effort) -> dict[str, Any]:
    """The ratio of our median to that of the bare call, over fresh processes."""
    file = bundle_of(work, "128", "original") / "fp32.onnx"
    rows = {}
    for what in ("bare-onnxruntime", "bare-openvino"):
        ratios = [child(what, file, 128)["ratio"] for _ in range(effort.processes)]
        mean, low, high = t_interval([float(np.log(ratio)) for ratio in ratios])
        rows[what.removeprefix("bare-")] = {"ratio": np.exp(mean), "low": np.exp(low), "high": np.exp(high)}
    return rows


def app(work: Path, effort: Effort) -> dict[str, Any]:
    """Rounds of benchmark_app and of ours, in turns, on the same core."""
    rows = {}
    for name in MODELS:
        file = bundle_of(work, "128", name) / "fp32.onnx"
        theirs, ours = [], []
        for _ in range(effort.app_rounds):
            theirs.append(benchmark_app(file, 128, effort.app_s))
            ours.append(p50_ms({name: Model(path=file, runtime="openvino", precision="fp32")}, 128, effort)[name])
        rows[name] = {
            "theirs_ms": theirs,
            "ours_ms": ours,
            "ratio": statistics.median(ours) / statistics.median(theirs),
        }
    return rows


def itself(work: Path, effort: Effort) -> dict[str, Any]:
    """A bundle against a copy of its file, over and over."""
    file = bundle_of(work, "128", "pruned") / "fp32.onnx"
    intervals = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(file, folder))
        for number in range(effort.itself_times):
            measured = measure(
                {"one": Model(path=file), "other": Model(path=copy)},
                frames=frames_of(128),
                processes=effort.processes,
                seconds=effort.seconds,
            )
            assert measured.ratio is not None
            intervals.append([measured.ratio.low, measured.ratio.high])
            print(
                f"  {number + 1} of {effort.itself_times}: {intervals[-1][0]:.4f} to {intervals[-1][1]:.4f}", flush=True
            )
    return {
        "intervals": intervals,
        "hold_1": sum(low <= 1 <= high for low, high in intervals),
        "widest": max(high - low for low, high in intervals),
    }


def table(work: Path, effort: Effort) -> list[dict[str, Any]]:
    """A row a length, model, runtime and precision; original and pruned are measured in turns."""
    rows = []
    for length in RECIPES:
        bundles = {name: open_bundle(bundle_of(work, length, name)) for name in MODELS}
        for runtime in RUNTIMES:
            try:
                version_here(runtime)
            except RuntimeNotFoundError as error:
                rows.append({"length": int(length), "runtime": runtime, "missing": str(error)})
                continue
            for precision in PRECISIONS:
                checks = {
                    name: check_bundle(bundle, runtime, precisions=[precision])[0] for name, bundle in bundles.items()
                }
                measured = measure(
                    {
                        name: Model(path=bundle.path_of(precision), runtime=runtime, precision=precision)
                        for name, bundle in bundles.items()
                    },
                    frames=frames_of(int(length)),
                    processes=effort.processes,
                    seconds=effort.seconds,
                )
                assert measured.ratio is not None
                for name, check in checks.items():
                    record = measured.models[name].record
                    rows.append(
                        {
                            "length": int(length),
                            "model": name,
                            "runtime": runtime,
                            "precision": precision,
                            "executed": record.precision,
                            "p50_ms": record.p50_ms,
                            "p50_interval_ms": record.conditions["p50_interval_ms"],
                            "memory_bytes": record.conditions["memory_bytes"],
                            "bytes": check.size_bytes,
                            "reference_accuracy": check.accuracy,
                            "agreement": check.agreement,
                            "max_abs_diff": check.max_abs_diff,
                            "problems": list(check.problems),
                            "test_accuracy": accuracy_of(bundles[name], precision),
                            "speed_up": measured.ratio.to_json(),
                        }
                    )
                print(f"  {length}, {runtime}, {precision}: {measured.ratio.ratio:.2f} times", flush=True)
    return rows


def eager(work: Path, effort: Effort) -> dict[str, Any]:
    """PyTorch eager, in turns of processes with the fastest runtime and precision of the pruned model that is accurate."""
    rows = {}
    for length in RECIPES:
        bundle = open_bundle(bundle_of(work, length, "pruned"))
        seen = json.loads((work / "deploy.json" if (work / "deploy.json").exists() else RESULTS).read_text())["table"]
        fp32 = accuracy_of(bundle, "fp32")
        good = [
            row
            for row in seen
            if row["length"] == int(length)
            and row.get("model") == "pruned"
            and not row["problems"]
            and row["test_accuracy"] >= fp32 - 0.005
        ]
        best = min(good, key=lambda row: row["p50_ms"])
        file = work / length / "original.safetensors"
        model = Model(path=bundle.path_of(best["precision"]), runtime=best["runtime"], precision=best["precision"])
        torch_ms, best_ms = [], []
        for _ in range(effort.app_rounds):
            torch_ms.append(child("eager", file, int(length))["p50_ms"])
            best_ms.append(p50_ms({"pruned": model}, int(length), effort)["pruned"])
        rows[length] = {
            "runtime": best["runtime"],
            "precision": best["precision"],
            "eager_ms": torch_ms,
            "best_ms": best_ms,
            "times_faster": statistics.median(torch_ms) / statistics.median(best_ms),
            **roofline(bundle, best["precision"], statistics.median(best_ms)),
        }
    return rows


def roofline(bundle: Any, precision: Any, p50: float) -> dict[str, Any]:
    """The time of each layer by this core's peaks in float32 (products, or bytes in its cache), in sum."""
    pin_to(cores_for(1))
    peaks = measured_peaks()
    layers = bundle.manifest.precisions[precision].layers
    roof_ms = sum(
        max(
            (layer.macs or 0) / peaks.gmacs_per_s,
            (layer.bytes_in + layer.bytes_out + layer.bytes_weights) / peaks.gbytes_per_s,
        )
        / 1e6
        for layer in layers
        # What is fused into a convolution or a product moves nothing of its own.
        if layer.macs
    )
    return {
        "gmacs_per_s": peaks.gmacs_per_s,
        "gbytes_per_s": peaks.gbytes_per_s,
        "roofline_ms": roof_ms,
        "times_roofline": p50 / roof_ms,
    }


def bundle_of(work: Path, length: str, name: str) -> Path:
    """The folder of a bundle that the part models left."""
    return work / length / "bundles" / name


def frames_of(length: int) -> Float32:
    """Noise, a few different frames."""
    return noise_frames(8, length, np.random.default_rng(0))


def accuracy_of(bundle: Any, precision: Any) -> float:
    """What the test split gave at export."""
    found = bundle.manifest.precisions[precision].accuracy
    assert found is not None
    return float(found.overall)


def p50_ms(wanted: dict[str, Model], length: int, effort: Effort) -> dict[str, float]:
    """The medians by our protocol."""
    measured = measure(wanted, frames=frames_of(length), processes=effort.processes, seconds=effort.seconds)
    return {name: model.record.p50_ms for name, model in measured.models.items()}


def benchmark_app(file: Path, length: int, seconds: int) -> float:
    """The median latency in milliseconds that OpenVINO's own tool prints, on the core that we measure on."""
    tool = str(Path(sys.executable).parent / "benchmark_app")
    (core,) = cores_for(1)
    words = ["-m", str(file), "-d", "CPU", "-hint", "latency", "-nthreads", "1", "-infer_precision", "f32"]
    words += ["-shape", f"[1,2,{length}]", "-t", str(seconds), "-api", "sync"]
    said = subprocess.run(["taskset", "-c", str(core), tool, *words], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Median:\s*([\d.]+) ms", said)
    assert found, said
    return float(found.group(1))


def child(what: str, file: Path, length: int) -> dict[str, Any]:
    """What a fresh process, pinned to a core, says of one thing."""
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.npy"
        np.save(frames, frames_of(length))
        said = subprocess.run(
            [sys.executable, __file__, "--child", what, str(file), str(frames)],
            check=True, capture_output=True, text=True, env={**os.environ, **thread_environment(1)},
        )  # fmt: skip
    return json.loads(said.stdout)  # type: ignore[no-any-return]


def bare_loop(runtime: str) -> Callable[[Path, Float32], dict[str, float]]:
    """In a child: our :meth:`Runtime.run` and the runtime's own call on the same open model, in turns."""

    def compare(file: Path, frames: Float32) -> dict[str, float]:
        pin_to(cores_for(1))
        import itertools

        from deploy.runtimes import open_runtime
        from deploy.stopwatch import Subject, take_turns, warm_up

        with open_runtime(runtime, file, batch=1) as ours:
            inner: Any = ours

            def called(batch: Float32) -> object:
                if runtime == "onnxruntime":
                    return inner._session.run(inner._outputs, {inner._input: batch})
                return inner._request.infer(batch, share_inputs=True)

            batches = [frames[at : at + 1] for at in range(len(frames))]
            subjects = [Subject(ours.run, itertools.cycle(batches)), Subject(called, itertools.cycle(batches))]
            for subject in subjects:
                warm_up(subject, least_s=0.5, limit_s=10)
            times = take_turns(subjects, seconds=SECONDS, least_runs=1024, limit_s=60)
        return {"ratio": statistics.median(times[0]) / statistics.median(times[1])}

    return compare


def eager_loop(file: Path, frames: Float32) -> dict[str, float]:
    """In a child: the trained model in PyTorch, evaluation mode, one thread."""
    pin_to(cores_for(1))
    import itertools

    import torch

    from deploy.stopwatch import Subject, take_turns, warm_up
    from toolchain.models import load_model

    torch.set_num_threads(1)
    model, _ = load_model(file)
    tensors = [frames[at : at + 1] for at in range(len(frames))]

    def run(batch: Float32) -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()

    subject = Subject(run, itertools.cycle(tensors))
    warm_up(subject, least_s=0.5, limit_s=10)
    (times,) = take_turns([subject], seconds=SECONDS, least_runs=1024, limit_s=60)
    return {"p50_ms": statistics.median(times) / 1e6}


def show(found: dict[str, Any]) -> None:
    """Each figure with its bar."""
    for runtime, row in found.get("bare", {}).items():
        print(f"ours / bare call, {runtime}: {row['ratio']:.4f} ({row['low']:.4f} to {row['high']:.4f}); at most 1.02")
    for name, row in found.get("app", {}).items():
        print(f"ours / benchmark_app, {name}: {row['ratio']:.3f}; 0.9 to 1.1")
    if row := found.get("itself"):
        print(f"itself: {row['hold_1']} of {len(row['intervals'])} hold 1 (18 of 20), widest {row['widest']:.2%} (2 %)")
    print("\n| length | model | runtime | file | executed | p50 ms | test accuracy | same class | bytes | memory MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in found.get("table", []):
        if "missing" in row:
            print(f"| {row['length']} | | {row['runtime']} | {row['missing']} |")
            continue
        memory = "-" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 2**20:.1f}"
        print(
            f"| {row['length']} | {row['model']} | {row['runtime']} | {row['precision']} | {row['executed']} | "
            f"{row['p50_ms']:.4f} | {row['test_accuracy']:.2%} | {row['agreement']:.2%} | {row['bytes']:,} | {memory} |"
        )
    for length, row in found.get("eager", {}).items():
        print(
            f"pruned at {length} in {row['runtime']}, {row['precision']}: {row['times_faster']:.1f} times faster than the "
            f"original in PyTorch eager (goal 30), {row['times_roofline']:.2f} times the roofline (goal 3)"
        )


PARTS: dict[str, Work] = {
    "models": models,
    "bare": bare,
    "app": app,
    "itself": itself,
    "table": table,
    "eager": eager,
}
CHILDREN: dict[str, Callable[[Path, Float32], dict[str, float]]] = {
    "bare-onnxruntime": bare_loop("onnxruntime"),
    "bare-openvino": bare_loop("openvino"),
    "eager": eager_loop,
}


if __name__ == "__main__":
    main()
