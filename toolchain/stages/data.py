"""data: frames generated or read, checked, and split. Leaves ``data/``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.frames.h5 import FORMAT as OWN_FORMAT
from deploy.progress import Progress
from toolchain.data import Dataset, check_frames, record_of, seen_among_tested, use_in_training, verify_h5
from toolchain.data.synth import write_generated
from toolchain.errors import RecipeError
from toolchain.recipe import snrs_db
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import GENERATED, Run


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """The split's indices, what the set is, and the frames if they were generated; a file that was given stays where it is."""
    table = run.recipe.data
    (out.path / "data").mkdir()
    if table.file is None:
        _generate(run, out.path / GENERATED, progress)
    whole = run.opened_whole(Path(table.file or out.path / GENERATED), progress)
    found = run.use.selected(whole)
    dataset = run.ordered(found)
    check_frames(dataset, expected_length=run.card.length if run.card else None, progress=progress)
    if table.file is not None and whole.format == OWN_FORMAT:
        verify_h5(Path(table.file), progress=progress)
    split = run.use.split_of(whole)
    _check_unseen(run, whole, len(split.test))
    _check_batches(run, len(split.train))
    np.savez(out.path / "data" / "split.npz", train=split.train, validation=split.validation, test=split.test)
    described = {
        "source": dataset.source if table.file else f"generated: {table.preset}",
        "fingerprint": dataset.fingerprint,
        "classes": list(dataset.classes),
        "frames": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        "use": record_of(whole, run.use),
    }
    write_json(out.path / "data" / "dataset.json", described)
    if table.file is not None:
        # Not read again; generated frames are about to move to where the stage leaves them.
        run.opened = dataset
    return (
        f"{len(dataset):,} frames of {dataset.length} samples, {len(dataset.classes)} classes, "
        f"{dataset.snr_db.min():g} to {dataset.snr_db.max():g} dB, {described['source']}"
    )


def _check_unseen(run: Run, whole: Dataset, test_frames: int) -> None:
    """Refuse to test a model that was brought along on frames that it was trained on, where its file says so."""
    trained = use_in_training(run.card.training, whole) if run.card else None
    seen = seen_among_tested(whole, trained, run.use) if trained else 0
    if trained and seen:
        raise RecipeError(
            f"{run.recipe.model.weights}: was trained on {seen} of the {test_frames} frames of this run's test split; its set "
            f'is the same, and was split by run.seed = {trained.seed}, data.split = "{trained.split}", data.train = '
            f"{trained.fractions[0]:g}, data.validation = {trained.fractions[1]:g}, classes {_said(trained.classes)}, SNRs "
            f"from {_said(trained.snr_min_db)} to {_said(trained.snr_max_db)}. Set these the same, or take another set"
        )


def _said(value: object) -> str:
    return "all" if value is None else str(value)


def _check_batches(run: Run, train_frames: int) -> None:
    tables = {"finetune": run.recipe.finetune.batch}
    if run.recipe.model.weights is None:
        tables["train"] = run.recipe.train.batch
    for table, batch in tables.items():
        if batch > train_frames:
            raise RecipeError(f"{table}.batch = {batch}: more than the {train_frames} training frames; lower it")


def _generate(run: Run, path: Path, progress: Progress) -> None:
    table = run.recipe.data
    write_generated(
        path,
        table.preset,
        frames_per_cell=table.frames_per_cell,
        snr_db=snrs_db(table),
        seed=run.seed,
        progress=progress,
    )
