"""One model exported on one file: the work of ``thinwave export``. It leaves a bundle, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.bundle import MANIFEST_NAME, Manifest
from deploy.frames.dataset import Dataset
from deploy.names import Precision
from deploy.progress import Progress, silent
from toolchain.data import DataUse, Part, with_class_order
from toolchain.errors import DatasetError, RunError
from toolchain.export import Frames, Origin, write_bundle


def export_on(
    dataset: Dataset,
    use: DataUse,
    origin: Origin,
    precisions: Sequence[Precision],
    out: Path,
    *,
    most_drop: float,
    calibration: int,
    reference: int,
    threads: int = 1,
    progress: Progress = silent,
) -> Manifest:
    """Export ``origin`` on ``dataset`` (the whole set, of which ``use`` says the split) as the bundle ``out``.

    What was at ``out`` stays until the new bundle is complete, and then goes.

    Raises DatasetError for a set that the model does not fit, ExportError as :func:`toolchain.export.write_bundle`, RunError
    for a folder that cannot be written.
    """
    if dataset.length != origin.length:
        raise DatasetError(
            f"{dataset.source}: its frames have {dataset.length} samples, and the model takes {origin.length}; take "
            "frames of that length"
        )
    split = use.split_of(dataset)
    taken = with_class_order(use.selected(dataset), origin.classes, all_of_them=False)
    frames = Frames(
        train=Part(taken, split.train),
        validation=Part(taken, split.validation),
        test=Part(taken, split.test),
        calibration=calibration,
        reference=reference,
        seed=use.seed,
    )
    with _replaced(out) as folder:
        return write_bundle(
            folder, origin, frames, precisions, most_drop=most_drop, threads=threads, progress=progress
        ).manifest


def refuse_used(out: Path, *, replace: bool) -> None:
    """Raise RunError where ``out`` cannot be made a bundle, or is there already, unless it is one and ``replace``."""
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / MANIFEST_NAME).is_file())):
        raise RunError(f"{out}: is there, and is no bundle; name another folder with --out")
    if out.is_dir() and any(out.iterdir()) and not replace:
        raise RunError(f"{out}: holds a bundle already; name another folder, or write over it with --replace")
    place = next(folder for folder in out.absolute().parents if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "may not be written to" if place.is_dir() else "is no folder"
        raise RunError(f"{out}: cannot be made: {place} {why}; name another folder with --out")


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """A folder to write in, which becomes ``out`` at the end of the block if all went well."""
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as work:
            new, old = Path(work) / "new", Path(work) / "old"
            new.mkdir()
            yield new
            if out.exists():
                out.rename(old)
            new.rename(out)
    except OSError as error:
        raise RunError(
            f"{out}: cannot be written: {error.strerror or error}; make room, or name another folder with --out"
        ) from error
