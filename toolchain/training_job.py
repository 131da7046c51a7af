"""One model trained on one file: the work of ``thinwave train``.

While it goes on, ``MODEL.safetensors.training/`` beside the model holds the settings and the last finished epoch, so
that the same command goes on after an interrupt; the model appears when it is complete, and the folder goes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data import DataUse, Part, check_frames, record_of
from toolchain.errors import RunError, TrainingError
from toolchain.models import ModelCard, build_model, save_model
from toolchain.run_folder import locked, read_json, write_json
from toolchain.training import FitSettings, History, fit
from toolchain.training_hardware import ONE_DEVICE, Hardware, resolved


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What is trained, and how: ``epochs`` passes over the training split."""

    architecture: str
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    rotate: bool
    use: DataUse
    ema: float = 0.0
    hardware: Hardware = ONE_DEVICE


def train_on(
    dataset: Dataset, job: TrainingJob, out: Path, *, replace: bool = False, progress: Progress = silent
) -> tuple[ModelCard, History]:
    """Train a model on ``dataset`` and write it to ``out``, going on where an interrupted call stopped.

    Raises RunError where ``out`` is there already (unless ``replace``) or another job's half-trained model is,
    DatasetError for a set that cannot be used, TrainingError where training goes wrong or this machine lacks the hardware.
    """
    if out.exists() and not replace:
        raise RunError(f"{out}: is there already; name another file with --out, or write over it with --replace")
    hardware = resolved(job.hardware, batch=job.batch)
    generator = torch.Generator().manual_seed(job.use.seed)
    selected = job.use.selected(dataset)
    model = build_model(job.architecture, len(selected.classes), selected.length, generator=generator)
    check_frames(selected, progress=progress)
    split = job.use.split_of(dataset)
    steps_per_epoch = len(split.train) // job.batch
    if steps_per_epoch == 0:
        raise TrainingError(
            f"a batch of {job.batch} frames is more than the {len(split.train)} training frames; lower --batch"
        )
    settings = FitSettings(
        steps=job.epochs * steps_per_epoch,
        batch=job.batch,
        learning_rate=job.learning_rate,
        weight_decay=job.weight_decay,
        rotate=job.rotate,
        ema=job.ema,
    )
    data = record_of(dataset, job.use)
    folder = out.with_name(f"{out.name}.training")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file, where the training keeps its work; move it away, or name another --out")
    folder.mkdir(exist_ok=True)
    with locked(folder):
        asked = {"settings": asdict(settings), "hardware": asdict(job.hardware), "data": data}
        _take(folder, {"architecture": job.architecture, **asked}, replace=replace)
        fitted, history = fit(
            model,
            Part(selected, split.train),
            Part(selected, split.validation),
            settings,
            seed=job.use.seed,
            checkpoint=folder / "checkpoint.pt",
            hardware=hardware,
            progress=progress,
        )
        record = {
            "settings": asdict(settings),
            "hardware": asdict(hardware),
            "epochs": list(history.epochs),
            "best_epoch": history.best_epoch,
        }
        card = ModelCard(
            architecture=job.architecture,
            classes=selected.classes,
            length=selected.length,
            training={**record, "data": data},
        )
        save_model(folder / "model.safetensors", fitted, card)
        (folder / "model.safetensors").replace(out)
        # Under the lock, or another one's work might go.
        shutil.rmtree(folder)
    return card, history


def _take(folder: Path, described: Mapping[str, Any], *, replace: bool) -> None:
    """Make ``folder`` this job's; raises RunError where it holds another one's work, unless ``replace``."""
    file, after = folder / "job.json", json.loads(json.dumps(described))
    before = read_json(file)
    if before != after:
        if before is not None and not replace:
            changed = "; ".join(_differences("", before, after))
            raise RunError(
                f"{folder}: holds a training that was interrupted and was started otherwise: {changed}. "
                f"Go on with the options it was started with, drop it with --replace, or name another --out"
            )
        (folder / "checkpoint.pt").unlink(missing_ok=True)
        write_json(file, after)


def _differences(place: str, before: object, after: object) -> Iterator[str]:
    """Say in which values two records differ: ``settings.steps 8 there, 4 here``."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(f"{place}.{key}" if place else key, before.get(key), after.get(key))
    elif before != after:
        yield f"{place} {before} there, {after} here"
