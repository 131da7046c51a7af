"""The evidence for targets: how far estimates are off, and what pruning to a latency gives.

    python benchmarks/targets.py [--only PART] [--again] [--quick]

Parts, each kept in ``benchmarks/results/targets.json`` the moment it is finished, and not done again while it is there
(``--again`` does):

- calibration  what ``thinwave estimate --calibrate`` finds here, in ONNX Runtime and in OpenVINO
- zoo          estimated against measured: the zoo without its recurrent models at 128, 512 and 1,024 samples, whole and with
               half of its units, none of which the calibration was fitted to; the bar is a median error of 20 %
- jetsons      estimates of a 1-D ResNet-56, whole and with a quarter of its units, on every target that is not here
- base         a 1-D ResNet-56 on generated frames, by ``thinwave quickstart``, into ``runs/targets``
- budgets      that model pruned to 0.75, 0.5, 0.25 and 0.15 of its latency, given to the most flow or shared out among the
               blocks, and to as much less of its MACs, each measured against the original once more
- accuracy     all of these fine-tuned with three seeds, on the test split

Two and a half hours on two cores. Close other programs: times are those of the machine as it is.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from in_parts import argument_parser, run_parts

# This folder, in which a program hides the package of its name.
sys.path.pop(0)

from deploy.latency import Model, measure
from deploy.noise import noise_frames
from deploy.profiling import AGAINST, BUNDLE
from deploy.targets import list_targets, this_machine

RESULTS = Path(__file__).parent / "results" / "targets.json"
WORK = Path(__file__).parents[1] / "runs" / "targets"
RUNTIMES = ("onnxruntime", "openvino")
LENGTHS = (128, 512, 1024)
CLASSES = 11
MEDIAN_BAR = 0.20
# What a latency is given to (`prune --allot`), and a cut of MACs beside both.
KINDS = ("flow", "shares", "macs")
# Of the original's latency that a pruned model may take, or of its MACs that stay.
BUDGETS = (0.75, 0.5, 0.25, 0.15)
SEEDS = (1, 2, 3)
EPOCHS = 5


@dataclass(frozen=True)
class Effort:
    """How much of everything is done: all of it, or a little, to try the program."""

    models: Sequence[str] | None = None
    lengths: Sequence[int] = LENGTHS
    runtimes: Sequence[str] = RUNTIMES
    budgets: Sequence[float] = BUDGETS
    seeds: Sequence[int] = SEEDS
    epochs: int = EPOCHS
    processes: int = 10
    seconds: float = 2.0
    recipe: tuple[str, ...] = ()


QUICK = Effort(
    models=("resnet1d20", "cnn1d"), lengths=(128,), runtimes=("onnxruntime",), budgets=(0.5,), seeds=(1,), epochs=1,
    processes=2, seconds=0.2, recipe=("train.steps=20", "finetune.steps=20", "export.most_drop=0.5"),
)  # fmt: skip


def main() -> None:
    """Do what is not done, write the results, and show each figure with its bar."""
    parser = argument_parser(__doc__, PARTS, WORK)
    show(run_parts(parser, parser.parse_args(), PARTS, results=RESULTS, effort=Effort(), quick=QUICK, needs=NEEDS))


def thinwave(*words: object) -> None:
    """The command, in a process of its own; its end is this program's where it fails."""
    subprocess.run([sys.executable, "-m", "toolchain.cli", *map(str, words)], check=True)


def calibration(work: Path, effort: Effort, _found: dict[str, Any]) -> dict[str, Any]:
    """One a runtime, as the command leaves it."""
    for runtime in effort.runtimes:
        thinwave("estimate", "--calibrate", "--runtime", runtime, "--calibration", _calibration(work, runtime))
    return {runtime: json.loads(_calibration(work, runtime).read_text()) for runtime in effort.runtimes}


def _calibration(work: Path, runtime: str) -> Path:
    return work / f"calibration-{runtime}.json"


def zoo(work: Path, effort: Effort, found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a model, length, state and runtime."""
    import onnx

    from toolchain.estimates import Calibration, Settings, estimate
    from toolchain.export import layers_of

    target, rows = this_machine(), []
    calibrations = {
        runtime: Calibration.model_validate_json(json.dumps(found["calibration"][runtime]))
        for runtime in effort.runtimes
    }
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        for name, length, state, path in _zoo_files(Path(scratch), effort):
            layers = layers_of(onnx.load(path))
            for runtime in effort.runtimes:
                settings = Settings(runtime=runtime, calibration=calibrations[runtime])
                estimated = estimate(layers, target, "fp32", settings)
                measured = measure(
                    {"it": Model(path=path, runtime=runtime, precision="fp32")},
                    frames=noise_frames(8, length, np.random.default_rng(0)),
                    processes=3,
                    seconds=0.5,
                    least_runs=10,
                    warmup_s=0.2,
                ).models["it"]
                rows.append(
                    {
                        "model": name,
                        "length": length,
                        "state": state,
                        "runtime": runtime,
                        "measured_ms": measured.record.p50_ms,
                        "estimated_ms": estimated.estimated_ms,
                        "low_ms": estimated.low_ms,
                        "high_ms": estimated.high_ms,
                    }
                )
                print(f"  {rows[-1]}", flush=True)
    return rows


def _zoo_files(folder: Path, effort: Effort) -> Iterator[tuple[str, int, str, Path]]:
    """Each model of the zoo, at each length, whole and with half of its units, as an ONNX file; weights are drawn."""
    import onnx
    import torch

    from toolchain.errors import EstimateError, PlanError
    from toolchain.estimates.roofline import work_of
    from toolchain.export import export_onnx, layers_of
    from toolchain.models import ARCHITECTURES, create_model
    from toolchain.pruning import apply_plan, plan_layers

    classes = [str(number) for number in range(CLASSES)]
    for name in effort.models or ARCHITECTURES:
        for length in effort.lengths:
            model = create_model(name, CLASSES, length, generator=torch.Generator().manual_seed(0)).eval()
            path = folder / "whole.onnx"
            export_onnx(model, path, classes=classes, length=length)
            try:
                for layer in layers_of(onnx.load(path)):
                    work_of(layer)
            except EstimateError as error:
                print(f"  {name}: {error}", flush=True)
                break
            yield name, length, "whole", path
            frames = noise_frames(32, length, np.random.default_rng(0))
            try:
                plan = plan_layers(model, frames, keep=0.5, score="medoid")
            except PlanError as error:
                print(f"  {name}, pruned: {error}", flush=True)
                continue
            path = folder / "pruned.onnx"
            export_onnx(apply_plan(plan, model), path, classes=classes, length=length)
            yield name, length, "half of its units", path


def jetsons(work: Path, effort: Effort, _found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a target and power mode that is not of this machine: ResNet-56 at 128 samples, whole and pruned."""
    import onnx
    import torch

    from toolchain.estimates import Settings, estimate, modes_of
    from toolchain.export import export_onnx, layers_of
    from toolchain.export.for_timing import write_for_timing
    from toolchain.models import create_model
    from toolchain.pruning import apply_plan, plan_layers

    model = create_model("resnet1d56", CLASSES, 128, generator=torch.Generator().manual_seed(0)).eval()
    plan = plan_layers(model, noise_frames(32, 128, np.random.default_rng(0)), keep=0.25, score="medoid")
    classes, rows = [str(number) for number in range(CLASSES)], []
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        files = {}
        for state, made in (("original", model), ("pruned", apply_plan(plan, model))):
            files[state] = Path(scratch) / f"{state}.onnx"
            export_onnx(made, files[state], classes=classes, length=128)
        for target in list_targets():
            if target.name == this_machine().name:
                continue
            precision = target.measuring.precision
            layers = {
                state: layers_of(onnx.load(write_for_timing(path, precision, 128))) for state, path in files.items()
            }
            for mode in modes_of(target):
                settings = Settings(power_mode=mode)
                found = {state: estimate(rows_, target, precision, settings) for state, rows_ in layers.items()}
                rows.append(
                    {
                        "kind": "estimated",
                        "target": target.name,
                        "power_mode": mode,
                        "runtime": found["original"].runtime,
                        "precision": precision,
                        "interval": found["original"].interval,
                        **{
                            f"{state}_{end}": getattr(each, end)
                            for state, each in found.items()
                            for end in ("estimated_ms", "low_ms", "high_ms")
                        },
                    }
                )
    return rows


def base(work: Path, effort: Effort, _found: dict[str, Any]) -> dict[str, Any]:
    """A trained model and its frames; what else the quickstart does is made short."""
    out = work / "base"
    words = [f"--set={text}" for text in (*effort.recipe, "profile.processes=2", "profile.seconds=0.1")]
    thinwave("quickstart", "--out", out, *words)
    original = json.loads((out / "results.json").read_text())["models"]["original"]
    return {key: original[key] for key in ("params", "macs", "accuracy")}


def budgets(work: Path, effort: Effort, _found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a budget and a kind of it: what was kept, and latency against the original, measured anew."""
    rows = []
    known: list[object] = []
    for budget in effort.budgets:
        for kind in KINDS:
            out = _pruned(work, kind, budget)
            answer = out.with_name(f"{out.name}.json")
            asked = ["--macs-cut", 1 - budget] if kind == "macs" else ["--speedup", 1 / budget, "--allot", kind, *known]
            thinwave(
                "prune", work / "base" / "original.safetensors", "--data", work / "base" / "data" / "frames.h5", *asked,
                "--out", out, "--replace", "--json", answer,
            )  # fmt: skip
            said = json.loads(answer.read_text())
            if kind != "macs":
                known = ["--unit-latencies", out / "latency.json"]
            measured = _against_original(work, out, effort)
            rows.append({"kind": kind, "budget": budget, **_told(said), **measured})
            print(f"  {rows[-1]}", flush=True)
            # The next budget's plan is written beside it, and reads this one's latencies.
    return rows


def _pruned(work: Path, kind: str, budget: float) -> Path:
    return work / f"{kind}-{budget:g}"


def _told(said: dict[str, Any]) -> dict[str, Any]:
    """What the command told of the plan, and of a latency what was read on the way."""
    told = {"kept": said["kept"], "reduced": said["reduced"], "macs": said["macs"], "log_flow": said["log_flow"]}
    if "latency" in said:
        told["unit_latencies"] = said["latency"]["unit_latencies"]
        told["limit_ms"] = said["latency"]["limit_ms"]
        told["attempts"] = said["latency"]["attempts"]
    return told


def _against_original(work: Path, out: Path, effort: Effort) -> dict[str, Any]:
    from toolchain.latency_budget.meters import write_model
    from toolchain.models import load_model

    with tempfile.TemporaryDirectory(dir=work) as scratch:
        models = {}
        for name, path in ((AGAINST, work / "base" / "original.safetensors"), (BUNDLE, out / "model.safetensors")):
            model, card = load_model(path)
            models[name] = Model(path=write_model(model, card, Path(scratch), name, "fp32"), precision="fp32")
            length = card.length
        found = measure(
            models, frames=noise_frames(8, length, np.random.default_rng(1)), target=this_machine().name,
            processes=effort.processes, seconds=effort.seconds,
        )  # fmt: skip
    assert found.ratio is not None
    return {
        "original_ms": found.models[AGAINST].record.p50_ms,
        "pruned_ms": found.models[BUNDLE].record.p50_ms,
        "share": 1 / found.ratio.ratio,
        "share_low": 1 / found.ratio.high,
        "share_high": 1 / found.ratio.low,
    }


def accuracy(work: Path, effort: Effort, found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a plan and seed: accuracy on the test split after fine-tuning. Two trainings at a time."""

    def tuned(job: tuple[dict[str, Any], int]) -> dict[str, Any]:
        row, seed = job
        out, data = _pruned(work, row["kind"], row["budget"]), work / "base" / "data" / "frames.h5"
        path, said = out / f"tuned-{seed}.safetensors", out / f"evaluated-{seed}.json"
        thinwave(
            "finetune", out / "model.safetensors", "--data", data, "--teacher", work / "base" / "original.safetensors",
            "--epochs", effort.epochs, "--seed", seed, "--out", path, "--replace",
        )  # fmt: skip
        thinwave("evaluate", path, "--data", data, "--json", said)
        overall = json.loads(said.read_text())["accuracy"]
        return {"kind": row["kind"], "budget": row["budget"], "seed": seed, "accuracy": overall}

    jobs = [(row, seed) for row in found["budgets"] for seed in effort.seeds]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(tuned, jobs))


PARTS = {
    "calibration": calibration,
    "zoo": zoo,
    "jetsons": jetsons,
    "base": base,
    "budgets": budgets,
    "accuracy": accuracy,
}
NEEDS = {"zoo": ("calibration",), "budgets": ("base",), "accuracy": ("budgets",)}


def show(found: dict[str, Any]) -> None:
    """Each part in a few lines."""
    for runtime in found.get("calibration", {}):
        rows = [row for row in found.get("zoo", []) if row["runtime"] == runtime]
        if not rows:
            continue
        errors = {
            f"{row['model']} @ {row['length']}, {row['state']}": row["estimated_ms"] / row["measured_ms"] - 1 for row in rows
        }  # fmt: skip
        median = statistics.median(map(abs, errors.values()))
        verdict = "met" if median <= MEDIAN_BAR else "MISSED"
        print(f"{runtime}: median error {median:.1%} of {len(rows)} models; bar {MEDIAN_BAR:.0%}: {verdict}")
        # The interval was made of some of these: what it promises, it promises of the others.
        made_of = {each["name"] for each in found["calibration"][runtime]["held_out"]}
        others = [
            row for row in rows if row["state"] != "whole" or f"{row['model']}, {row['length']} samples" not in made_of
        ]
        inside = sum(row["low_ms"] <= row["measured_ms"] <= row["high_ms"] for row in others)
        print(f"  {inside} of {len(others)} that the interval was not made of lie within it (it is for 90 %)")
        for name, error in sorted(errors.items(), key=lambda pair: -abs(pair[1]))[:6]:
            print(f"  {name}: {error:+.0%}")
    if "jetsons" in found:
        print("| target | power mode | computed in | original, ms | pruned, ms | times |\n|---|---|---|---:|---:|---:|")
    # Of each the mode that the rest of its profile is for; the others are in the results.
    first_modes = {row["target"]: row for row in reversed(found.get("jetsons", []))}
    for row in sorted(first_modes.values(), key=lambda row: str(row["target"])):
        original, pruned = (
            f"{row[f'{state}_estimated_ms']:.2f} ({row[f'{state}_low_ms']:.2f} to {row[f'{state}_high_ms']:.2f})"
            for state in ("original", "pruned")
        )
        times = row["original_estimated_ms"] / row["pruned_estimated_ms"]
        computed = f"{row['runtime']}, {row['precision']}"
        print(f"| {row['target']} | {row['power_mode'] or ''} | {computed} | {original} | {pruned} | {times:.1f} |")
    for row in found.get("budgets", []):
        kept = "" if row["kind"] == "macs" else _verdict(row)
        reached = [
            each["accuracy"]
            for each in found.get("accuracy", [])
            if (each["kind"], each["budget"]) == (row["kind"], row["budget"])
        ]
        said = (
            f", accuracy {statistics.fmean(reached):.2%} ({', '.join(f'{each:.2%}' for each in reached)})"
            if reached
            else ""
        )
        print(
            f"{row['kind']} {row['budget']:g}: {len(row['kept'])} units and {len(row['reduced'])} shortcuts, "
            f"{row['macs']['after'] / row['macs']['before']:.1%} of the MACs, {row['share']:.1%} of the latency "
            f"({row['share_low']:.1%} to {row['share_high']:.1%}){kept}{said}"
        )


def _verdict(row: dict[str, Any]) -> str:
    """Whether the budget was kept when it was measured once more, and no unit more was read to fit."""
    units = row["unit_latencies"]["units"]
    kept = {index for index, unit in enumerate(units) if unit["name"] in row["kept"]}
    too_slow = [set(attempt["kept"]) for attempt in row["attempts"] if not attempt["fits"]]
    # Units alike in a row were read as one; a fixed one leaves the model exactly as fast.
    runs = itertools.groupby(enumerate(units), key=lambda numbered: numbered[1]["times_as_fast"])
    dropped = [[index for index, _ in run if index not in kept] for times, run in runs if times != 1]
    full = all(any({*kept, index} in too_slow for index in run) for run in dropped if run)
    return f"{', kept' if row['share_high'] <= row['budget'] else ', NOT KEPT'}{', full' if full else ', NOT FULL'}"


if __name__ == "__main__":
    main()
