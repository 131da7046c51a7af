"""Does a bundle work here: each file opens in the runtime, and answers as its original did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploy.accuracy import accuracy, accuracy_by_snr
from deploy.bundle import Bundle, ModelFile
from deploy.errors import BundleError
from deploy.names import Executed, Precision
from deploy.parity import MOST_ACCURACY_LOST, MOST_AGREEMENT_LOST, agreement, largest_difference, most_difference
from deploy.progress import Progress, silent
from deploy.reference import ReferenceFrames, reference_frames
from deploy.runtimes import open_runtime
from deploy.runtimes.base import Float32, Runtime

# Frames at once; TensorRT's engines take no more.
CHECKED_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """How one model file did on the reference frames: what was executed, and how near it is to the original.

    ``accuracy`` and ``accuracy_by_snr`` are shares of the reference frames; ``problems`` say what is not as it should be.
    """

    precision: Precision
    file: str
    size_bytes: int
    executed: Executed
    max_abs_diff: float
    agreement: float
    accuracy: float
    accuracy_by_snr: dict[str, float]
    problems: tuple[str, ...]


def check_bundle(
    bundle: Bundle,
    runtime: str,
    *,
    precisions: Sequence[Precision] | None = None,
    threads: int = 1,
    progress: Progress = silent,
) -> list[FileCheck]:
    """Run the reference frames through every file of an opened bundle (or those of ``precisions``) in ``runtime``.

    What computes in float32 has to give the original's logits to 1e-4 of the largest, and every frame the same class; what
    computes in a narrower type has to be as accurate as the original, or as at export where that is less, to a point.

    Raises RuntimeNotFoundError or RuntimeRefusedError where a file does not open or run, and BundleError where the bundle has
    no reference frames, or a precision is asked for that it does not hold.
    """
    reference = reference_frames(bundle)
    wanted = tuple(precisions or bundle.manifest.precisions)
    checks = []
    for number, precision in enumerate(wanted):
        path = bundle.path_of(precision)
        entry = bundle.manifest.precisions[precision]
        progress(number, len(wanted), precision)
        with open_runtime(runtime, path, threads=threads, precision=precision) as model:
            got = _logits(model, reference.iq)
            executed = model.precision
        if got.shape != reference.logits.shape:
            raise BundleError(
                f"{path}: {len(got)} frames gave logits {got.shape}, expected {reference.logits.shape}: "
                f"the manifest names {reference.logits.shape[1]} classes"
            )
        predicted = got.argmax(axis=1)
        checks.append(
            FileCheck(
                precision=precision,
                file=entry.file,
                size_bytes=entry.size_bytes,
                executed=executed,
                max_abs_diff=largest_difference(reference.logits, got),
                agreement=agreement(reference.logits, got),
                accuracy=accuracy(reference.labels, predicted),
                accuracy_by_snr=accuracy_by_snr(reference.labels, predicted, reference.snr_db),
                problems=tuple(_problems(entry, executed if precision == "fp32" else precision, reference, got)),
            )
        )
    return checks


def _logits(model: Runtime, iq: Float32) -> Float32:
    return np.concatenate([model.run(iq[at : at + CHECKED_BATCH]) for at in range(0, len(iq), CHECKED_BATCH)])


def _problems(entry: ModelFile, computed: Executed, reference: ReferenceFrames, got: Float32) -> list[str]:
    if not np.isfinite(got).all():
        return ["its logits are not finite"]
    same = agreement(reference.logits, got)
    if computed == "fp32":
        difference, most = largest_difference(reference.logits, got), most_difference(reference.logits)
        problems = [] if difference <= most else [f"its logits differ by {difference:.2g}, expected at most {most:.2g}"]
        return problems if same == 1.0 else [*problems, f"{same:.2%} of the frames get the same class, expected all"]
    expected, agreed = accuracy(reference.labels, reference.logits.argmax(axis=1)), 1.0
    if entry.parity is not None:
        expected, agreed = min(expected, entry.parity.accuracy), entry.parity.agreement
    here = accuracy(reference.labels, got.argmax(axis=1))
    problems = []
    if here < expected - MOST_ACCURACY_LOST:
        problems.append(f"it names {here:.2%} of the frames rightly, expected {expected:.2%}")
    if same < agreed - MOST_AGREEMENT_LOST:
        problems.append(f"{same:.2%} of the frames get the original's class, expected {agreed:.2%}")
    return problems
