"""Exporting a bundle: a file a precision, each held to the original's answers and scored; reference frames; the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from deploy.accuracy import accuracy, accuracy_by_snr, confusion_matrix, sensitivity_db
from deploy.bundle import (
    Accuracy,
    InputFormat,
    Manifest,
    ModelFile,
    NamedFile,
    Parity,
    Reference,
    write_manifest,
)
from deploy.host import package_version
from deploy.names import PRECISIONS, Precision
from deploy.progress import Progress, silent
from deploy.runtimes import open_runtime
from toolchain.data import Part, in_order
from toolchain.errors import ExportError
from toolchain.export.half import to_half
from toolchain.export.int8 import to_int8
from toolchain.export.layers import layers_of
from toolchain.export.origin import Origin
from toolchain.export.parity import parity_of, require_parity
from toolchain.export.trtexec import write_trtexec
from toolchain.training import EVALUATION_BATCH

REFERENCE = "reference.npz"
VERSIONS = ("thinwave", "torch", "onnx", "onnxruntime")
# An accuracy is a quotient of whole numbers: no comparison of two is to turn on its last bit.
ROUNDING = 1e-9
# Where the reference frames are parted: batches of 1, 2, 7, and the rest.
BATCHES_COMPARED = (1, 3, 10)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What a bundle is judged by: the splits of a set, classes numbered as the model's.

    int8 is calibrated on ``calibration`` frames of the training split; choices are judged on validation, of which
    ``reference`` frames travel with the bundle. What is reported is of the test split, which is read once a file.
    """

    train: Part
    validation: Part
    test: Part
    calibration: int = 512
    reference: int = 512
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A bundle that was written: its manifest, and a confusion matrix (rows: true) a precision."""

    manifest: Manifest
    confusion: dict[Precision, list[list[int]]]


def write_bundle(
    folder: Path,
    origin: Origin,
    frames: Frames,
    precisions: Sequence[Precision],
    *,
    most_drop: float = 0.005,
    sensitivity_level: float = 0.6,
    threads: int = 1,
    progress: Progress = silent,
) -> Scored:
    """Write ``origin`` as a bundle to the ``folder``, which is there and empty, in each of ``precisions``.

    fp16 and int8 may be at most ``most_drop`` less accurate than fp32 on the validation split; for int8 that is reached by
    leaving layers in fp32.

    Raises ExportError where a file does not compute what the origin does, or cannot be written in a precision.
    """
    wanted = [precision for precision in PRECISIONS if precision in precisions]
    steps = 2 + 2 * len(wanted)
    progress(0, steps, "fp32")
    fp32 = folder / "fp32.onnx"
    origin.write(fp32)
    reference = frames.validation.sampled(frames.reference, frames.seed)
    iq = reference.dataset.frames(reference.indices)
    expected = origin.logits(iq)

    def correct(path: Path, precision: Precision) -> float:
        return accuracy(frames.validation.labels, _predicted(path, precision, frames.validation, threads))

    needed = 0.0 if wanted == ["fp32"] else correct(fp32, "fp32") - most_drop - ROUNDING

    def write(path: Path, precision: Precision, progress: Progress) -> tuple[str, ...]:
        """Make the file of ``precision`` from that of fp32; return the names of layers that stayed float."""
        if precision == "fp16":
            to_half(fp32, path, iq)
            if (reached := correct(path, "fp16")) < needed:
                raise ExportError(
                    f"{path.name}: its accuracy on the validation split is {reached:.2%}, more than "
                    f"{100 * most_drop:g} points below that of fp32; allow it more, or leave fp16 out"
                )
        elif precision == "int8":
            calibration = frames.train.sample(frames.calibration, frames.seed)
            return to_int8(fp32, path, calibration, lambda file: correct(file, "int8") >= needed, progress=progress)
        return ()

    entries: dict[Precision, ModelFile] = {}
    confusion: dict[Precision, list[list[int]]] = {}
    for number, precision in enumerate(wanted):
        path = folder / f"{precision}.onnx"
        progress(1 + 2 * number, steps, precision)
        left = write(path, precision, _within(progress, 1 + 2 * number, steps))
        parity = _parity(path, precision, origin, reference, iq, expected, threads)
        if precision == "fp32":
            require_parity(parity, expected, path.name)
        progress(2 + 2 * number, steps, f"{precision}: accuracy")
        score, confusion[precision] = score_on_test(path, precision, frames.test, sensitivity_level, threads)
        entries[precision] = ModelFile(
            **NamedFile.facts(path),
            params=origin.params,
            macs=origin.macs,
            float_layers=left,
            parity=parity,
            accuracy=score,
            layers=layers_of(onnx.load(path)),
        )
    if "fp32" not in wanted:
        fp32.unlink()
    progress(steps - 1, steps, "reference frames")
    _write_reference(folder / REFERENCE, reference, iq, expected, origin.classes)
    for_trtexec = write_trtexec(folder, origin.length)
    versions = {name: package_version(name) for name in VERSIONS}
    manifest = Manifest(
        model=origin.name,
        plan=None if origin.plan is None else dict(origin.plan),
        classes=origin.classes,
        input=InputFormat(
            shape=(2, origin.length), sample_rate_hz=reference.dataset.sample_rate_hz, scaling=origin.scaling
        ),
        precisions=entries,
        reference=Reference(**NamedFile.facts(folder / REFERENCE), frames=len(reference)),
        trtexec=tuple(NamedFile(**NamedFile.facts(path)) for path in for_trtexec),
        versions={name: version for name, version in versions.items() if version},
    )
    write_manifest(folder, manifest)
    return Scored(manifest=manifest, confusion=confusion)


def score_on_test(
    path: Path, precision: Precision, test: Part, level: float, threads: int
) -> tuple[Accuracy, list[list[int]]]:
    """The accuracy of an ONNX file and its confusion matrix (rows: true). In a run the one place that reads the test split."""
    predicted = _predicted(path, precision, test, threads)
    by_snr = accuracy_by_snr(test.labels, predicted, test.snr_db)
    score = Accuracy(
        overall=accuracy(test.labels, predicted), by_snr=by_snr, sensitivity_db=sensitivity_db(by_snr, level)
    )
    return score, confusion_matrix(test.labels, predicted, len(test.dataset.classes)).tolist()


def _predicted(path: Path, precision: Precision, part: Part, threads: int) -> NDArray[np.int64]:
    with open_runtime("onnxruntime", path, threads=threads, precision=precision) as runtime:
        return np.concatenate([runtime.run(batch.iq).argmax(axis=1) for batch in in_order(part, EVALUATION_BATCH)])


def _parity(
    path: Path,
    precision: Precision,
    origin: Origin,
    reference: Part,
    iq: NDArray[np.float32],
    expected: NDArray[np.float32],
    threads: int,
) -> Parity:
    with open_runtime("onnxruntime", path, threads=threads, precision=precision) as runtime:
        # In batches of several sizes: a model that mixes the frames of a batch is found so.
        got = np.concatenate([runtime.run(part) for part in np.split(iq, BATCHES_COMPARED) if len(part)])
        executed = runtime.precision
    found = parity_of(expected, got, reference.labels, names=(origin.runs_in, "ONNX Runtime"))
    return found.model_copy(update={"executed": executed})


def _within(progress: Progress, step: int, steps: int) -> Progress:
    """Progress of a part of a step, of which there is no telling how long it is, as a note."""
    return lambda done, total, note="": progress(step, steps, f"{note}, {done} of {total}")


def _write_reference(
    path: Path, part: Part, iq: NDArray[np.float32], logits: NDArray[np.float32], classes: Sequence[str]
) -> None:
    arrays = {
        "iq": iq,
        "label": part.labels,
        "snr_db": part.snr_db,
        "classes": np.array(classes),
        "logits": logits.astype(np.float32),
    }
    rate_hz = part.dataset.sample_rate_hz
    if rate_hz is not None:
        arrays["sample_rate_hz"] = np.array(rate_hz)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
