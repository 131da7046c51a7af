"""Does a bundle work here: each file opens in the runtime, and answers as its original did."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.accuracy import accuracy, accuracy_by_snr
from deploy.bundle import Bundle, ModelFile
from deploy.errors import BundleError
from deploy.latency import Model, ask_for
from deploy.names import Executed, Precision
from deploy.parity import MOST_ACCURACY_LOST, MOST_AGREEMENT_LOST, agreement, largest_difference, most_difference
from deploy.progress import Progress, silent
from deploy.reference import ReferenceFrames, reference_frames
from deploy.runtimes import version_here
from deploy.runtimes.base import Float32


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """How one model file did on the reference frames: what was executed, and how near it is to the original.

    ``accuracy`` and ``accuracy_by_snr`` are shares of the reference frames; ``points_lost`` is by how many hundredths the
    original's accuracy on them is above (a loss at export is no problem here: ``problems`` say what was otherwise there).
    """

    precision: Precision
    file: str
    size_bytes: int
    executed: Executed
    max_abs_diff: float
    agreement: float
    accuracy: float
    accuracy_by_snr: dict[str, float]
    points_lost: float
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

    Each file in a process of its own: native code that a damaged or foreign file brings down ends that process alone.

    What computes in float32 has to give the original's logits to 1e-4 of the largest, and every frame the same class. What
    computes in a narrower type has to be as accurate as the original, or as at export where that is less, to a point; and
    where it computed in that type at export too, as many frames have to get the original's class as there, to two points.

    Raises RuntimeNotFoundError where the runtime is not here, MeasurementError where a file does not open or run, and
    BundleError where the bundle has no reference frames, or a precision is asked for that it does not hold.
    """
    # Told here in a sentence of its own, not by the first of the processes.
    version_here(runtime)
    reference = reference_frames(bundle)
    original = accuracy(reference.labels, reference.logits.argmax(axis=1))
    wanted = tuple(precisions or bundle.manifest.precisions)
    checks = []
    for number, precision in enumerate(wanted):
        path = bundle.path_of(precision)
        entry = bundle.manifest.precisions[precision]
        progress(number, len(wanted), precision)
        got, executed = _logits(Model(path=path, runtime=runtime, precision=precision), reference.iq, threads)
        if got.shape != reference.logits.shape:
            raise BundleError(
                f"{path}: {len(got)} frames gave logits {got.shape}, expected {reference.logits.shape}: "
                f"the manifest names {reference.logits.shape[1]} classes"
            )
        predicted = got.argmax(axis=1)
        here = accuracy(reference.labels, predicted)
        checks.append(
            FileCheck(
                precision=precision,
                file=entry.file,
                size_bytes=entry.size_bytes,
                executed=executed,
                max_abs_diff=largest_difference(reference.logits, got),
                agreement=agreement(reference.logits, got),
                accuracy=here,
                accuracy_by_snr=accuracy_by_snr(reference.labels, predicted, reference.snr_db),
                points_lost=100 * (original - here),
                problems=tuple(_problems(entry, executed if precision == "fp32" else precision, reference, got)),
            )
        )
    return checks


def refuse_problems(bundle: Bundle, runtime: str, checks: Sequence[FileCheck]) -> None:
    """Raise BundleError with every problem that a check in ``runtime`` found, where it found one."""
    if wrong := [f"  {each.file}: {problem}" for each in checks for problem in each.problems]:
        raise BundleError(
            f"{bundle.folder}: whole, but in {runtime} it does not compute what it did where it was exported\n"
            + "\n".join(wrong)
        )


def _logits(model: Model, iq: Float32, threads: int) -> tuple[Float32, Executed]:
    with tempfile.TemporaryDirectory(prefix="thinwave-") as folder:
        frames, left = Path(folder) / "frames.npy", Path(folder) / "logits.npy"
        np.save(frames, iq, allow_pickle=False)
        said = ask_for("logits", model, frames, threads=threads, samples=[left])
        return np.load(left, allow_pickle=False), said["precision"]


def _problems(entry: ModelFile, computed: Executed, reference: ReferenceFrames, got: Float32) -> list[str]:
    if not np.isfinite(got).all():
        return ["its logits are not finite"]
    same = agreement(reference.logits, got)
    if computed == "fp32":
        difference, most = largest_difference(reference.logits, got), most_difference(reference.logits)
        problems = [] if difference <= most else [f"its logits differ by {difference:.2g}, expected at most {most:.2g}"]
        return problems if same == 1.0 else [*problems, f"{same:.2%} of the frames get the same class, expected all"]
    least, agreed = accuracy(reference.labels, reference.logits.argmax(axis=1)), 1.0
    if entry.parity is not None:
        least = min(least, entry.parity.accuracy)
        # How many frames change their class says something beside the same type alone.
        agreed = entry.parity.agreement if entry.parity.executed in (None, computed) else 0.0
    least, agreed = least - MOST_ACCURACY_LOST, agreed - MOST_AGREEMENT_LOST
    problems = []
    if (here := accuracy(reference.labels, got.argmax(axis=1))) < least:
        problems.append(f"it names {here:.2%} of the frames rightly, expected at least {least:.2%}")
    if same < agreed:
        problems.append(f"{same:.2%} of the frames get the original's class, expected at least {agreed:.2%}")
    return problems
