"""The evidence for the device side: does the protocol measure what it says, and how fast are the bundles that it serves.

    python benchmarks/deploy.py [--only PART] [--again] [--quick]

Parts, each kept in ``benchmarks/results/deploy.json`` the moment it is finished, and not done again while it is there
(``--again`` does):

- models   a 1-D ResNet-56 and its pruned self at 128 and 1,024 samples, by ``thinwave quickstart``, into ``runs/deploy``
- bare     our runs against the runtime's own call in a loop, in turns in the same processes: within 2 %
- app      our p50 against OpenVINO's benchmark_app on the same file, in turns: within 10 %, or explained: it shows the
           runtime's own clock, without the way of the arrays into the runtime and out
- itself   a bundle against itself, 20 times: the interval holds 1 in at least 18, and is at most 2 % wide
- table    every runtime and precision that is here: p50, accuracy on the test split, parity, bytes, memory
- eager    PyTorch eager, and the fastest of the pruned model that is accurate, in turns on the same core; and the roofline
- int8     where ONNX Runtime's time goes in int8, beside fp32

Close other programs: times are those of the machine as it is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from in_parts import argument_parser, run_parts

# This folder, in which a program hides the package of its name.
sys.path.pop(0)

from deploy.affinity import cores_for, pin_to, thread_environment
from deploy.bundle import Bundle, open_bundle
from deploy.bundle_check import check_bundle
from deploy.errors import RuntimeNotFoundError
from deploy.interval import t_interval
from deploy.latency import Model, measure
from deploy.layer_profile import profile_layers
from deploy.names import PRECISIONS, Precision
from deploy.noise import noise_frames
from deploy.peaks import measured_peaks
from deploy.runtimes import open_runtime, version_here
from deploy.runtimes.base import Float32
from deploy.stopwatch import Subject, take_turns, warm_up

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
MODELS = ("original", "pruned")
ACCURATE_WITHIN = 0.005
BATCH = 64
# Of a product of matrices that shows what a runtime can do in a type: frames of 2 x 512, and as many logits.
PEAK_BATCH, PEAK_LENGTH = 256, 512


@dataclass(frozen=True)
class Effort:
    """How much of everything is done: all of it, or a little, to try the program."""

    processes: int = 10
    seconds: float = 3.0
    itself_times: int = 20
    rounds: int = 5
    app_s: int = 10


QUICK = Effort(processes=2, seconds=0.2, itself_times=2, rounds=2, app_s=1)
QUICK_RECIPE = {"train.steps": 20, "finetune.steps": 20, "export.most_drop": 0.5}


def main() -> None:
    """Do what is not done, write the results, and show each figure with its bar."""
    parser = argument_parser(__doc__, PARTS, WORK)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "JSON"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, request = arguments.child
        pin_to(cores_for(1))
        print(json.dumps(CHILDREN[what](**json.loads(request))))
        return
    show(run_parts(parser, arguments, PARTS, results=RESULTS, effort=Effort(), quick=QUICK, needs=NEEDS))


def models(work: Path, effort: Effort, _found: dict[str, Any]) -> dict[str, Any]:
    """The runs that leave the bundles; their own measuring is made short."""
    made = {}
    for length, settings in RECIPES.items():
        values = {**settings, **(QUICK_RECIPE if effort is QUICK else {})}
        words = [f"--set={key}={json.dumps(value)}" for key, value in values.items()]
        words += ["--set=profile.processes=2", "--set=profile.seconds=0.1"]
        out = work / length
        subprocess.run([sys.executable, "-m", "toolchain.cli", "quickstart", "--out", str(out), *words], check=True)
        results = json.loads((out / "results.json").read_text())
        made[length] = {
            name: {key: results["models"][name][key] for key in ("params", "macs", "accuracy", "precisions")}
            for name in MODELS
        }
    return made


def bare(work: Path, effort: Effort, _found: dict[str, Any]) -> dict[str, Any]:
    """The ratio of our median to that of the bare call, over fresh processes."""
    file = bundle_of(work, "128", "original").path_of("fp32")
    rows = {}
    for runtime in ("onnxruntime", "openvino"):
        request = {"runtime": runtime, "file": str(file), "length": 128, "seconds": effort.seconds}
        rows[runtime] = interval_of([child("bare", **request)["ratio"] for _ in range(effort.processes)])
    return rows


def app(work: Path, effort: Effort, _found: dict[str, Any]) -> dict[str, Any]:
    """Rounds of benchmark_app and of ours, in turns, on the same core."""
    rows = {}
    for name in MODELS:
        model = Model(path=bundle_of(work, "128", name).path_of("fp32"), runtime="openvino", precision="fp32")
        theirs, ours, inside = [], [], []
        for _ in range(effort.rounds):
            theirs.append(benchmark_app(model.path, 128, effort.app_s))
            ours.append(p50_ms(model, 128, effort))
            # What theirs shows: the runtime's own clock, within the call.
            request = {"file": str(model.path), "length": 128, "seconds": effort.seconds}
            inside.append(child("inside", **request)["p50_ms"])
        rows[name] = {
            "theirs_ms": theirs,
            "ours_ms": ours,
            "ours_inside_ms": inside,
            **interval_of(ratios(ours, theirs)),
            "inside": interval_of(ratios(inside, theirs)),
        }
    return rows


def itself(work: Path, effort: Effort, _found: dict[str, Any]) -> dict[str, Any]:
    """A bundle's file against a copy of it, over and over."""
    file = bundle_of(work, "128", "pruned").path_of("fp32")
    intervals = []
    with tempfile.TemporaryDirectory() as folder:
        pair = {"one": Model(path=file), "other": Model(path=Path(shutil.copy(file, folder)))}
        for number in range(effort.itself_times):
            measured = measure(pair, frames=frames_of(128), processes=effort.processes, seconds=effort.seconds)
            assert measured.ratio is not None
            low, high = measured.ratio.low, measured.ratio.high
            intervals.append([low, high])
            print(f"  {number + 1} of {effort.itself_times}: {low:.4f} to {high:.4f}", flush=True)
    return {
        "intervals": intervals,
        "hold_1": sum(low <= 1 <= high for low, high in intervals),
        "widest": max(high - low for low, high in intervals),
    }


def table(work: Path, effort: Effort, _found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a length, model, runtime and precision; original and pruned are measured in turns."""
    rows = []
    for length in RECIPES:
        bundles = {name: bundle_of(work, length, name) for name in MODELS}
        for runtime in RUNTIMES:
            try:
                version_here(runtime)
            except RuntimeNotFoundError as error:
                rows.append({"length": int(length), "runtime": runtime, "missing": str(error)})
                continue
            for precision in PRECISIONS:
                made = {
                    name: Model(path=bundle.path_of(precision), runtime=runtime, precision=precision)
                    for name, bundle in bundles.items()
                }
                frames = frames_of(int(length))
                measured = measure(made, frames=frames, processes=effort.processes, seconds=effort.seconds)
                assert measured.ratio is not None
                for name, bundle in bundles.items():
                    (check,) = check_bundle(bundle, runtime, precisions=[precision])
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
                            "test_accuracy": test_accuracy(work / length, made[name]),
                            "reference_accuracy": check.accuracy,
                            "agreement": check.agreement,
                            "max_abs_diff": check.max_abs_diff,
                            "problems": list(check.problems),
                            "speed_up": measured.ratio.to_json(),
                        }
                    )
                print(f"  {length}, {runtime}, {precision}: {measured.ratio.ratio:.2f} times", flush=True)
    return rows


def eager(work: Path, effort: Effort, found: dict[str, Any]) -> dict[str, Any]:
    """PyTorch eager, in turns of processes with the fastest of the pruned model that is accurate; and its roofline."""
    rows = {}
    for length in RECIPES:
        best = best_of(found["table"], int(length))
        bundle = bundle_of(work, length, "pruned")
        model = Model(path=bundle.path_of(best["precision"]), runtime=best["runtime"], precision=best["precision"])
        file = str(work / length / "original.safetensors")
        torch_ms, best_ms = [], []
        for _ in range(effort.rounds):
            torch_ms.append(child("eager", file=file, length=int(length), seconds=effort.seconds)["p50_ms"])
            best_ms.append(p50_ms(model, int(length), effort))
        rows[length] = {
            "runtime": best["runtime"],
            "precision": best["precision"],
            "executed": best["executed"],
            "eager_ms": torch_ms,
            "best_ms": best_ms,
            "times_faster": interval_of(ratios(torch_ms, best_ms)),
            **roofline(bundle, model, best["executed"], statistics.median(best_ms)),
        }
    return rows


def int8(work: Path, effort: Effort, _found: dict[str, Any]) -> dict[str, Any]:
    """The share of each kind of operator in ONNX Runtime's time, for the original in fp32 and in int8."""
    bundle = bundle_of(work, "128", "original")
    rows = {}
    for precision in ("fp32", "int8"):
        model = Model(path=bundle.path_of(precision), precision=precision)
        profile = profile_layers(model, bundle.manifest.precisions[precision].layers, frames_of(128))
        kinds: dict[str, list[float]] = defaultdict(list)
        for row in profile.rows:
            kinds[row.op].append(row.p50_ms)
        rows[precision] = {
            "watched_ms": sum(row.p50_ms for row in profile.rows),
            "by_operator": {
                kind: {"nodes": len(times), "ms": sum(times)}
                for kind, times in sorted(kinds.items(), key=lambda item: -sum(item[1]))
            },
        }
    return rows


def best_of(rows: list[dict[str, Any]], length: int) -> dict[str, Any]:
    """The fastest row of the pruned model that checks out and is as accurate as the model in fp32."""
    mine = [row for row in rows if row["length"] == length and row.get("model") == "pruned"]
    (fp32,) = (row for row in mine if (row["runtime"], row["precision"]) == ("onnxruntime", "fp32"))
    good = [
        row for row in mine if not row["problems"] and row["test_accuracy"] >= fp32["test_accuracy"] - ACCURATE_WITHIN
    ]
    return min(good, key=lambda row: row["p50_ms"])


def roofline(bundle: Bundle, model: Model, executed: str, p50: float) -> dict[str, Any]:
    """The sum over layers of the longer of: its products at the core's peak in what is executed; its bytes in its cache.

    The peak is that of a large product of matrices: by numpy in float32, else by the same runtime in the same type.
    """
    peaks = child("peaks")
    if executed != "fp32":
        peaks["gmacs_per_s"] = child("peak_of_runtime", runtime=model.runtime, executed=executed)["gmacs_per_s"]
    # The manifest's bytes are those in the file; what is computed in half the bits is moved in them too.
    share = 0.5 if executed in ("bf16", "fp16") and model.precision == "fp32" else 1.0
    roof_ms = sum(
        max(
            layer.macs / peaks["gmacs_per_s"],
            share * sum(filter(None, (layer.bytes_in, layer.bytes_out, layer.bytes_weights))) / peaks["gbytes_per_s"],
        )
        / 1e6
        for layer in bundle.manifest.precisions[model.precision or "fp32"].layers
        # What is fused into a convolution or a product moves nothing of its own.
        if layer.macs
    )
    return {**peaks, "roofline_ms": roof_ms, "times_roofline": p50 / roof_ms}


def bundle_of(work: Path, length: str, name: str) -> Bundle:
    """A bundle that the part models left."""
    return open_bundle(work / length / "bundles" / name)


def frames_of(length: int) -> Float32:
    """Noise, a few different frames."""
    return noise_frames(8, length, np.random.default_rng(0))


def interval_of(found: list[float]) -> dict[str, float]:
    """The geometric mean of ratios, and the ends of its 95 % interval."""
    ratio, low, high = (float(np.exp(value)) for value in t_interval([float(np.log(each)) for each in found]))
    return {"ratio": ratio, "low": low, "high": high}


def ratios(over: list[float], under: list[float]) -> list[float]:
    """What was measured in the same round, as ratios."""
    return [above / below for above, below in zip(over, under, strict=True)]


def test_accuracy(run: Path, model: Model) -> float:
    """The share of the run's test split that the model names rightly in its runtime."""
    from toolchain.data import open_dataset

    dataset = open_dataset(run / "data" / "frames.h5")
    with np.load(run / "data" / "split.npz") as split:
        test = split["test"]
    with open_runtime(model.runtime, model.path, precision=model.precision) as runtime:
        predicted = [
            runtime.run(dataset.frames(test[at : at + BATCH])).argmax(axis=1) for at in range(0, len(test), BATCH)
        ]
    return float((np.concatenate(predicted) == dataset.labels[test]).mean())


def p50_ms(model: Model, length: int, effort: Effort) -> float:
    """The median by our protocol."""
    measured = measure({"it": model}, frames=frames_of(length), processes=effort.processes, seconds=effort.seconds)
    return measured.models["it"].record.p50_ms


def benchmark_app(file: Path, length: int, seconds: int) -> float:
    """The median latency in milliseconds that OpenVINO's own tool prints, on the core that we measure on."""
    tool = str(Path(sys.executable).parent / "benchmark_app")
    (core,) = cores_for(1)
    words = ["-m", str(file), "-d", "CPU", "-hint", "latency", "-infer_precision", "f32"]
    words += ["-shape", f"[1,2,{length}]", "-t", str(seconds), "-api", "sync"]
    said = subprocess.run(["taskset", "-c", str(core), tool, *words], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Median:\s*([\d.]+) (ms|us)", said)
    assert found, said
    return float(found.group(1)) / {"ms": 1, "us": 1000}[found.group(2)]


def child(what: str, **request: Any) -> dict[str, Any]:
    """What a fresh process, pinned to a core, says of one thing."""
    said = subprocess.run(
        [sys.executable, __file__, "--child", what, json.dumps(request)],
        check=True, capture_output=True, text=True, env={**os.environ, **thread_environment(1)},
    )  # fmt: skip
    return json.loads(said.stdout)  # type: ignore[no-any-return]


def bare_loop(runtime: str, file: str, length: int, seconds: float) -> dict[str, float]:
    """In a child: our :meth:`Runtime.run` and the runtime's own call on the same open model, in turns."""
    with open_runtime(runtime, Path(file), batch=1) as ours:
        inner: Any = ours

        def called(batch: Float32) -> object:
            if runtime == "onnxruntime":
                return inner._session.run(inner._outputs, {inner._input: batch})
            np.copyto(inner._frames, batch)
            inner._request.infer(share_outputs=True)
            return inner._request.get_output_tensor(0).data.copy()

        ours_ms, called_ms = medians_ms([ours.run, called], frames_of(length), seconds)
    return {"ratio": ours_ms / called_ms}


def inside_loop(file: str, length: int, seconds: float) -> dict[str, float]:
    """In a child: the median of what OpenVINO itself says of each of our runs."""
    with open_runtime("openvino", Path(file), batch=1) as runtime:
        inner: Any = runtime
        told: list[float] = []

        def run(batch: Float32) -> None:
            runtime.run(batch)
            told.append(inner._request.latency)

        medians_ms([run], frames_of(length), seconds)
    return {"p50_ms": statistics.median(told[len(told) // 2 :])}


def eager_loop(file: str, length: int, seconds: float) -> dict[str, float]:
    """In a child: the trained model in PyTorch, evaluation mode, one thread."""
    import torch

    from toolchain.models import load_model

    torch.set_num_threads(1)
    model, _ = load_model(Path(file))

    def run(batch: Float32) -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()

    (median,) = medians_ms([run], frames_of(length), seconds)
    return {"p50_ms": median}


def medians_ms(runs: list[Callable[[Float32], object]], frames: Float32, seconds: float) -> list[float]:
    """The medians of single runs of one frame, in turns, after warming up."""
    batches = [frames[at : at + 1] for at in range(len(frames))]
    subjects = [Subject(run, itertools.cycle(batches)) for run in runs]
    for subject in subjects:
        warm_up(subject, least_s=0.5, limit_s=10)
    times = take_turns(subjects, seconds=seconds, least_runs=1024, limit_s=60)
    return [statistics.median(each) / 1e6 for each in times]


def peaks_here() -> dict[str, float]:
    """In a child: what this core can do in float32, by numpy."""
    return vars(measured_peaks())


def peak_of_runtime(runtime: str, executed: Precision) -> dict[str, float]:
    """In a child: multiply-accumulates a second of a large product of matrices, in 1e9, in a runtime and a type."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from toolchain.export.int8 import quantisable, quantise

    rng, size = np.random.default_rng(0), 2 * PEAK_LENGTH
    nodes = [
        helper.make_node("Flatten", ["iq"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "w"], ["logits"], name="product"),
    ]
    ends = [
        helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["n", 2, PEAK_LENGTH]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", size]),
    ]
    weights = numpy_helper.from_array(rng.normal(size=(size, size)).astype(np.float32), "w")
    graph = helper.make_graph(nodes, "peak", ends[:1], ends[1:], [weights])
    frames = noise_frames(PEAK_BATCH, PEAK_LENGTH, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fp32.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
        if executed == "int8":
            quantise(path, path.with_name("int8.onnx"), frames, quantisable(path))
            path = path.with_name("int8.onnx")
        with open_runtime(runtime, path, batch=PEAK_BATCH) as model:
            subject = Subject(model.run, itertools.cycle([frames]))
            warm_up(subject, least_s=0.5, limit_s=10)
            assert model.precision == executed, model.precision
            (times_ns,) = take_turns([subject], seconds=1.0, least_runs=20, limit_s=20)
    return {"gmacs_per_s": PEAK_BATCH * size * size / min(times_ns)}


def show(found: dict[str, Any]) -> None:
    """Each figure with its bar."""
    for runtime, row in found.get("bare", {}).items():
        print(f"ours / bare call, {runtime}: {row['ratio']:.4f} ({row['low']:.4f} to {row['high']:.4f}); at most 1.02")
    for name, row in found.get("app", {}).items():
        print(f"ours / benchmark_app, {name}: {row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f}); 0.9 to 1.1")
        inside = row["inside"]
        print(f"  by the runtime's own clock: {inside['ratio']:.3f} ({inside['low']:.3f} to {inside['high']:.3f})")
    if row := found.get("itself"):
        print(f"itself: {row['hold_1']} of {len(row['intervals'])} hold 1 (18 of 20), widest {row['widest']:.2%} (2 %)")
    if rows := found.get("table"):
        show_table(rows)
    for length, row in found.get("eager", {}).items():
        faster = row["times_faster"]
        print(
            f"pruned at {length} in {row['runtime']}, {row['precision']}: {faster['ratio']:.1f} times "
            f"({faster['low']:.1f} to {faster['high']:.1f}) faster than the original in PyTorch eager (goal 30), "
            f"{row['times_roofline']:.2f} times the roofline of {row['executed']} (goal 3)"
        )
    for precision, row in found.get("int8", {}).items():
        most = ", ".join(
            f"{each['nodes']} {kind} {1e3 * each['ms']:.0f} us" for kind, each in list(row["by_operator"].items())[:6]
        )
        print(f"ONNX Runtime, original in {precision}: {1e3 * row['watched_ms']:.0f} us while watched: {most}")


def show_table(rows: list[dict[str, Any]]) -> None:
    """All rows, as Markdown."""
    headings = ("length", "model", "runtime", "file", "executed", "p50 ms", "accuracy", "same class", "logits differ")
    print("\n| " + " | ".join((*headings, "bytes", "memory MiB", "check")) + " |")
    print("|" + " --- |" * (len(headings) + 3))
    for row in rows:
        if "missing" in row:
            print(f"| {row['length']} | | {row['runtime']} | {row['missing']} |")
            continue
        memory = "-" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 2**20:.1f}"
        print(
            f"| {row['length']} | {row['model']} | {row['runtime']} | {row['precision']} | {row['executed']} | "
            f"{row['p50_ms']:.4f} | {row['test_accuracy']:.2%} | {row['agreement']:.2%} | {row['max_abs_diff']:.1e} | "
            f"{row['bytes']:,} | {memory} | {'fails' if row['problems'] else 'holds'} |"
        )


PARTS: dict[str, Callable[[Path, Effort, dict[str, Any]], Any]] = {
    "models": models,
    "bare": bare,
    "app": app,
    "itself": itself,
    "table": table,
    "eager": eager,
    "int8": int8,
}
# What a part reads of others.
NEEDS = {**dict.fromkeys(("bare", "app", "itself", "table", "int8"), ("models",)), "eager": ("models", "table")}
CHILDREN: dict[str, Callable[..., dict[str, float]]] = {
    "bare": bare_loop,
    "eager": eager_loop,
    "inside": inside_loop,
    "peaks": peaks_here,
    "peak_of_runtime": peak_of_runtime,
}


if __name__ == "__main__":
    main()
