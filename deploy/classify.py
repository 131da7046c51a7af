"""What a bundle's model says to frames: a class each, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.batches import in_batches
from deploy.bundle import Bundle
from deploy.errors import BundleError
from deploy.frames.dataset import Dataset
from deploy.latency import Model, ask_for
from deploy.names import Precision
from deploy.progress import Progress, silent
from deploy.runtimes import open_runtime, version_here
from deploy.runtimes.base import Float32


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """``predicted`` int64 (n,) are classes in the order of the logits; ``confidence`` float32 (n,) their softmax, 0 to 1.

    A frame whose samples, or whose logits, are not finite is of no class: -1, with a confidence of 0.

    ``correct`` is the share of frames named rightly, None where the frames have no labels, or others than the model.
    """

    classes: tuple[str, ...]
    predicted: npt.NDArray[np.int64]
    confidence: Float32
    correct: float | None


def classify(
    bundle: Bundle,
    frames: Dataset,
    *,
    precision: Precision,
    runtime: str,
    threads: int = 1,
    progress: Progress = silent,
) -> Answers:
    """Run all ``frames`` through the bundle's model; raises as :func:`deploy.runtimes.open_runtime`.

    A process of its own opens the model first: MeasurementError says so where that one ends it, and BundleError where the
    model has not a logit for each class.
    """
    classes, path = bundle.manifest.classes, bundle.path_of(precision)
    version_here(runtime)
    takes = ask_for("frames", Model(path=path, runtime=runtime, precision=precision), threads=threads)
    if takes["classes"] not in (None, len(classes)):
        raise BundleError(
            f"{path}: gives {takes['classes']} logits a frame, and the manifest names {len(classes)} classes"
        )
    predicted, confidence = np.empty(len(frames), np.int64), np.empty(len(frames), np.float32)
    with open_runtime(runtime, path, threads=threads, precision=precision) as model:
        for part in in_batches(len(frames)):
            logits = model.run(frames.frames(np.arange(part.start, part.stop)))
            known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
            chances = softmax(np.where(known[:, None], logits, 0))
            predicted[part] = np.where(known, chances.argmax(axis=1), -1)
            confidence[part] = np.where(known, chances.max(axis=1), 0)
            progress(part.stop, len(frames), "frames")
    return Answers(
        classes=classes, predicted=predicted, confidence=confidence, correct=_correct(frames, classes, predicted)
    )


def softmax(logits: Float32) -> Float32:
    """The shares (n, classes) that logits stand for, each row of sum 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Float32 = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _correct(frames: Dataset, classes: tuple[str, ...], predicted: npt.NDArray[np.int64]) -> float | None:
    if not frames.labelled or not set(frames.classes) <= set(classes):
        return None
    numbers = np.array([classes.index(name) for name in frames.classes])
    return float((numbers[frames.labels] == predicted).mean())
