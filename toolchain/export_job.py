"""One model exported on one file: the work of ``thinwave export``. It leaves a bundle, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.bundle import MANIFEST_NAME, Manifest
from deploy.frames.dataset import Dataset
from deploy.names import PRECISIONS, Precision
from deploy.progress import Progress, silent
from toolchain.data import DataUse, Part, with_class_order
from toolchain.errors import DatasetError, RunError
from toolchain.export import REFERENCE, TRTEXEC_FILES, Frames, Origin, write_bundle

# What may lie in a bundle's folder: files that this writes, and engines, which are built again.
BUNDLE_FILES = (MANIFEST_NAME, REFERENCE, "engines", *TRTEXEC_FILES, *(f"{precision}.onnx" for precision in PRECISIONS))


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
    seed: int = 1,
    threads: int = 1,
    progress: Progress = silent,
) -> Manifest:
    """Export ``origin`` on ``dataset`` (the whole set, of which ``use`` says the split) as the bundle ``out``.

    ``seed`` draws the frames for calibration and reference. What was at ``out`` stays until the new bundle is complete, and
    then goes.

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
        seed=seed,
    )
    with _replaced(out) as folder:
        return write_bundle(
            folder, origin, frames, precisions, most_drop=most_drop, threads=threads, progress=progress
        ).manifest


def refuse_used(out: Path, *, replace: bool, read: Sequence[Path] = ()) -> None:
    """Raise RunError where ``out`` cannot be made a bundle, or is there already, unless it is one and ``replace``.

    A folder that holds anything besides a bundle's own files is left alone, and so is one that holds what is ``read``.
    """
    if out.is_symlink() and not out.exists():
        raise RunError(f"{out}: is a link to nothing; name another folder with --out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out.is_dir() and (out / MANIFEST_NAME).is_file()):
            raise RunError(f"{out}: is there, and is no bundle; name another folder with --out")
        if not replace:
            raise RunError(f"{out}: holds a bundle already; name another folder, or write over it with --replace")
        if inside := [path for path in read if path.resolve().is_relative_to(out.resolve())]:
            raise RunError(
                f"{out}: holds {inside[0].name}, which is read; name another folder, so that nothing is lost"
            )
        if others := sorted(path.name for path in out.iterdir() if path.name not in BUNDLE_FILES):
            raise RunError(f"{out}: holds {others[0]} besides the bundle; name another folder, so that nothing is lost")
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
            try:
                new.rename(out)
            except BaseException:
                # An interrupt too: what was there goes back before the folder for the work is removed.
                if old.exists() and not out.exists():
                    old.rename(out)
                raise
    except OSError as error:
        raise RunError(
            f"{out}: cannot be written: {error.strerror or error}; make room there and in the folder for temporary files, "
            "or name another folder with --out"
        ) from error
