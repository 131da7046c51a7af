"""report: what came out, for people and for machines. Leaves ``results.json``, ``report.md`` and ``figures/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from deploy.bundle import open_bundle
from deploy.host import describe_host, package_version
from deploy.progress import Progress
from toolchain.recipe import files_in
from toolchain.report.figures import write_figures
from toolchain.report.markdown import markdown
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import MODELS, Run

SCHEMA = 1
EARLIER_STAGES = ("data", "train", "plan", "finetune", "export", "profile")


def make(run: Run, out: StageOutput, _progress: Progress) -> str:
    """Everything is read back from what the other stages left; nothing is computed again."""
    confusion = json.loads((run.path / "bundles" / "confusion.json").read_text())
    results = _results(run)
    write_figures(out.path / "figures", results, run.plan, np.load(run.path / "similarity.npy"), confusion)
    results["seconds"]["report"] = round(out.seconds, 3)
    (out.path / "report.md").write_text(markdown(results, run.plan))
    write_json(out.path / "results.json", results)
    return "report.md, results.json, figures/"


def _results(run: Run) -> dict[str, Any]:
    """What results.json holds; README describes it."""
    latency = json.loads((run.path / "latency" / "latency.json").read_text())
    models = {name: _model(run, name, latency["models"][name]) for name in MODELS}
    parities = [model.pop("parity") for model in models.values()]
    earlier = {name: round(run.folder.seconds(name), 3) for name in EARLIER_STAGES}
    return {
        "schema": SCHEMA,
        "dataset": json.loads((run.path / "data" / "dataset.json").read_text()),
        "settings": _settings(run),
        "host": _host(),
        "seconds": earlier,
        "plan": {
            "units": [unit.name for unit in run.plan.units],
            "fixed": list(run.plan.fixed),
            "kept": list(run.plan.kept),
            "blocks": [list(block) for block in run.plan.blocks],
            "log_flow": run.plan.log_flow,
        },
        "parity": {
            "max_abs_diff": max(parity["max_abs_diff"] for parity in parities),
            "agreement": min(parity["agreement"] for parity in parities),
        },
        "models": models,
        "speedup": latency["speedup"],
    }


def _model(run: Run, name: str, latency: dict[str, Any]) -> dict[str, Any]:
    bundle = open_bundle(run.path / "bundles" / name)
    file = bundle.manifest.precisions["fp32"]
    assert file.accuracy is not None  # the export stage wrote both
    assert file.parity is not None
    return {
        "params": file.params,
        "macs": file.macs,
        "flops": 2 * file.macs,
        "accuracy": file.accuracy.overall,
        "accuracy_by_snr": file.accuracy.by_snr,
        "sensitivity_db": file.accuracy.sensitivity_db,
        "onnx": {
            "file": str(bundle.path_of("fp32").relative_to(run.path)),
            "sha256": file.sha256,
            "bytes": file.size_bytes,
        },
        "precisions": {
            precision: {
                "file": str(bundle.path_of(precision).relative_to(run.path)),
                "bytes": entry.size_bytes,
                "accuracy": None if entry.accuracy is None else entry.accuracy.overall,
                "parity": None if entry.parity is None else entry.parity.model_dump(),
                "float_layers": list(entry.float_layers),
            }
            for precision, entry in bundle.manifest.precisions.items()
        },
        "latency": [latency],
        "parity": file.parity.model_dump(),
    }


def _settings(run: Run) -> dict[str, Any]:
    """The recipe's values; of files only the names, for the results may travel."""
    values = run.recipe.model_dump(mode="json")
    for (table, key), text in files_in(run.recipe).items():
        values[table][key] = Path(text).name
    return values


def _host() -> dict[str, Any]:
    host = describe_host()
    versions = {name: package_version(name) for name in ("torch", "onnx")}
    return {**host, "packages": {**cast(dict[str, Any], host["packages"]), **versions}}
