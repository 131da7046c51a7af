"""export: both models as bundles, held to torch's answers and scored on the test split. Leaves ``bundles/``."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from torch import nn

from deploy.accuracy import accuracy, accuracy_by_snr, confusion_matrix, sensitivity_db
from deploy.bundle import Accuracy, InputFormat, Manifest, ModelFile, Parity, sha256_of, write_manifest
from deploy.host import package_version
from deploy.progress import Progress
from deploy.runtimes import open_runtime
from toolchain.cost import cost
from toolchain.data import in_order
from toolchain.export import check_parity, export_onnx
from toolchain.models import ModelCard, load_model
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import MODELS, Run
from toolchain.training import EVALUATION_BATCH

log = logging.getLogger(__name__)


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """A bundle a model, and ``confusion.json`` beside them; a file that computes something else fails the run."""
    frames = run.sample("validation", run.recipe.export.parity_frames)
    confusions, worst = {}, 0.0
    steps = 3 * len(MODELS)
    for before, name in zip(range(0, steps, 3), MODELS, strict=True):
        progress(before, steps, f"{name}: ONNX")
        model, card = load_model(run.path / f"{name}.safetensors", trusted=run.recipe.model.name)
        bundle = out.path / "bundles" / name
        bundle.mkdir(parents=True)
        file = bundle / "fp32.onnx"
        export_onnx(model, file, classes=card.classes, length=card.length)
        progress(before + 1, steps, f"{name}: parity")
        parity = check_parity(model, file, frames)
        progress(before + 2, steps, f"{name}: accuracy")
        score, confusions[name] = evaluate_on_test_split(run, file)
        write_manifest(bundle, _manifest(run, model, card, file, parity, score))
        worst = max(worst, parity.max_abs_diff)
    write_json(out.path / "bundles" / "confusion.json", confusions)
    return f"bundles/original, bundles/pruned; logits within {worst:.1e} of torch's"


def evaluate_on_test_split(run: Run, file: Path) -> tuple[Accuracy, list[list[int]]]:
    """The accuracy of an ONNX file and its confusion matrix (rows: true). The one place that reads the test split."""
    test = run.split("test")
    with open_runtime("onnxruntime", file, threads=run.recipe.run.threads) as runtime:
        logits = [runtime.run(batch.iq) for batch in in_order(test, EVALUATION_BATCH)]
    predicted = np.concatenate(logits).argmax(axis=1)
    by_snr = accuracy_by_snr(test.labels, predicted, test.snr_db)
    score = Accuracy(
        overall=accuracy(test.labels, predicted),
        by_snr=by_snr,
        sensitivity_db=sensitivity_db(by_snr, run.recipe.export.sensitivity_level),
    )
    return score, confusion_matrix(test.labels, predicted, len(run.dataset.classes)).tolist()


def _manifest(run: Run, model: nn.Module, card: ModelCard, file: Path, parity: Parity, score: Accuracy) -> Manifest:
    weight = cost(model, (2, card.length))
    if weight.uncounted:
        log.warning("the MACs of %s are not known and not counted", ", ".join(weight.uncounted))
    entry = ModelFile(
        file=file.name,
        size_bytes=file.stat().st_size,
        sha256=sha256_of(file),
        params=weight.params,
        macs=weight.macs,
        parity=parity,
        accuracy=score,
    )
    versions = {name: package_version(name) for name in ("thinwave", "torch", "onnx", "onnxruntime")}
    return Manifest(
        model=card.architecture + (f", {len(card.dropped)} units dropped" if card.dropped else ""),
        classes=card.classes,
        input=InputFormat(
            shape=(2, card.length),
            sample_rate_hz=run.dataset.sample_rate_hz,
            scaling="any: the graph scales each frame to unit RMS",
        ),
        precisions={"fp32": entry},
        versions={name: version for name, version in versions.items() if version},
    )
