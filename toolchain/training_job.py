"""One model trained on one file, from its beginning or further: the work of ``thinwave train`` and ``thinwave finetune``.

While it goes on, ``MODEL.safetensors.training/`` beside the model holds the settings and the last finished epoch, so
that the same command goes on after an interrupt; the model appears when it is complete, and the folder goes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data import DataUse, Part, check_frames, record_of
from toolchain.errors import RunError, TrainingError
from toolchain.models import ModelCard, build_model, save_model
from toolchain.run_folder import locked, read_json, write_json
from toolchain.trained_model import in_the_models_order, require_length, use_for_more_training
from toolchain.training import ONE_DEVICE, FitSettings, Hardware, History, accuracy_of, fit, resolved

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """How a model is trained: ``epochs`` passes over the training split, in an order that ``seed`` draws.

    ``distillation`` is the weight of a teacher's answers at ``temperature``; the rest is as in :class:`FitSettings`.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    rotate: bool
    seed: int
    ema: float = 0.0
    distillation: float = 0.0
    temperature: float = 4.0
    hardware: Hardware = ONE_DEVICE


@dataclass(frozen=True, kw_only=True)
class _Material:
    """What a model learns from: ``selected`` of the ``whole`` set by ``use``, its classes numbered as the model's."""

    whole: Dataset
    use: DataUse
    selected: Dataset


@dataclass(frozen=True, kw_only=True)
class _Start:
    """The training record of the model that goes on, ``earlier``, and the one that teaches it."""

    earlier: Mapping[str, Any]
    teacher: nn.Module | None


def train_on(
    dataset: Dataset,
    architecture: str,
    use: DataUse,
    job: TrainingJob,
    out: Path,
    *,
    replace: bool = False,
    progress: Progress = silent,
) -> tuple[ModelCard, History]:
    """Train a model on what ``use`` takes of ``dataset`` and write it to ``out``, going on where an interrupted call stopped.

    Raises RunError where ``out`` is there already (unless ``replace``) or another job's half-trained model is,
    DatasetError for a set that cannot be used, TrainingError where training goes wrong or this machine lacks the hardware.
    """
    _refuse(out, job, replace=replace)
    selected = use.selected(dataset)
    generator = torch.Generator().manual_seed(job.seed)
    model = build_model(architecture, len(selected.classes), selected.length, generator=generator)
    card = ModelCard(architecture=architecture, classes=selected.classes, length=selected.length)
    material = _Material(whole=dataset, use=use, selected=selected)
    return _trained_into(out, model, card, material, job, None, replace=replace, progress=progress)


def finetune_on(
    dataset: Dataset,
    model: nn.Module,
    card: ModelCard,
    job: TrainingJob,
    out: Path,
    *,
    asked: DataUse | None = None,
    teacher: nn.Module | None = None,
    replace: bool = False,
    progress: Progress = silent,
) -> tuple[ModelCard, History]:
    """Train ``model`` further, from its weights, and write it to ``out``, going on where an interrupted call stopped.

    A set that the model was trained on is used as then, so that the frames of its test split stay unseen; another one as
    ``asked``, or split by the job's seed. Its classes are numbered as the model's, of which it may lack some. The record
    that the file keeps says the accuracy on the validation split before, ``validation_accuracy_before``, and ``from``
    what it started: the model's own record, without its epochs.

    Raises as :func:`train_on`; DatasetError also for classes that the model does not know, frames of another length, and
    where ``asked`` is not how the model's file says that the set was used.
    """
    _refuse(out, job, replace=replace)
    require_length(dataset, card)
    use = use_for_more_training(dataset, card, asked) or DataUse(seed=job.seed)
    selected = in_the_models_order(use.selected(dataset), card)
    lacking = [name for number, name in enumerate(card.classes) if not (selected.labels == number).any()]
    if lacking:
        log.warning("%s: has no frames of %s, which the model may unlearn", dataset.source, ", ".join(lacking))
    material = _Material(whole=dataset, use=use, selected=selected)
    start = _Start(earlier=card.training, teacher=teacher)
    return _trained_into(out, model, card, material, job, start, replace=replace, progress=progress)


def finished_epochs(out: Path) -> int:
    """How many epochs of an interrupted training into ``out`` are finished and kept; 0 where it is damaged, or none is."""
    try:
        # Mapped: the weights in it are not read.
        kept = torch.load(_work_folder(out) / CHECKPOINT, map_location="cpu", weights_only=True, mmap=True)
        return len(kept["epochs"])
    except Exception:  # torch raises whatever its unpickler met
        return 0


@contextmanager
def _told_what_is_kept(out: Path, epochs: int) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if finished := finished_epochs(out):
            log.warning("the same command goes on after epoch %d of %d, the last that is finished", finished, epochs)
        else:
            log.warning("no epoch is finished: the same command starts afresh")
        raise


def _work_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.training")


def _refuse(out: Path, job: TrainingJob, *, replace: bool) -> None:
    """Raise what can be known to be wrong before frames are read."""
    if out.exists() and not replace:
        raise RunError(f"{out}: is there already; name another file with --out, or write over it with --replace")
    resolved(job.hardware, batch=job.batch)


def _trained_into(
    out: Path,
    model: nn.Module,
    card: ModelCard,
    material: _Material,
    job: TrainingJob,
    start: _Start | None,
    *,
    replace: bool,
    progress: Progress,
) -> tuple[ModelCard, History]:
    """Train ``model`` as it is and write it to ``out`` with ``card``, whose training record becomes this one's."""
    hardware = resolved(job.hardware, batch=job.batch)
    check_frames(material.selected, progress=progress)
    split = material.use.split_of(material.whole)
    train, validation = Part(material.selected, split.train), Part(material.selected, split.validation)
    settings = _settings(job, len(train))
    data = record_of(material.whole, material.use)
    origin = {} if start is None else _origin(model, start)
    folder = _work_folder(out)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file, where the training keeps its work; move it away, or name another --out")
    folder.mkdir(exist_ok=True)
    with locked(folder):
        # Steps follow from epochs, which are what was asked for.
        asked = {key: value for key, value in asdict(settings).items() if key != "steps"}
        started = {"settings": asked, "hardware": asdict(job.hardware), "seed": job.seed, "data": data}
        _take(folder, {"architecture": card.architecture, "epochs": job.epochs, **origin, **started}, replace=replace)
        if finished := finished_epochs(out):
            log.warning("going on after epoch %d of %d", finished, job.epochs)
        before: dict[str, Any] = {}
        if start is not None:
            on = copy.deepcopy(model).to("cuda" if hardware.accelerator == "gpu" else "cpu")
            score = accuracy_of(on, validation, progress)
            before = {"validation_accuracy_before": score, "from": _without_epochs(start.earlier)}
        with _told_what_is_kept(out, job.epochs):
            fitted, history = fit(
                model,
                train,
                validation,
                settings,
                seed=job.seed,
                checkpoint=folder / CHECKPOINT,
                teacher=None if start is None else start.teacher,
                hardware=hardware,
                progress=progress,
            )
        record = {
            "settings": asdict(settings),
            "hardware": asdict(hardware),
            "seed": job.seed,
            "epochs": list(history.epochs),
            "best_epoch": history.best_epoch,
            "data": data,
        }
        card = with_changes(card, training={**record, **origin, **before})
        save_model(folder / "model.safetensors", fitted, card)
        (folder / "model.safetensors").replace(out)
        # Under the lock, or another one's work might go.
        shutil.rmtree(folder)
    return card, history


def _settings(job: TrainingJob, train_frames: int) -> FitSettings:
    steps_per_epoch = train_frames // job.batch
    if steps_per_epoch == 0:
        raise TrainingError(
            f"a batch of {job.batch} frames is more than the {train_frames} training frames; lower --batch"
        )
    return FitSettings(
        steps=job.epochs * steps_per_epoch,
        batch=job.batch,
        learning_rate=job.learning_rate,
        weight_decay=job.weight_decay,
        rotate=job.rotate,
        distillation=job.distillation,
        temperature=job.temperature,
        ema=job.ema,
    )


def _origin(model: nn.Module, start: _Start) -> dict[str, str]:
    """Say from which weights it starts and whose answers it learns, so that a training is not taken up with others."""
    origin = {"weights_sha256": _digest(model)}
    return origin if start.teacher is None else {**origin, "teacher_sha256": _digest(start.teacher)}


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _without_epochs(record: Mapping[str, Any]) -> dict[str, Any]:
    # A model that goes on again and again would carry all rows of all trainings.
    return {key: value for key, value in record.items() if key != "epochs"}


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
        (folder / CHECKPOINT).unlink(missing_ok=True)
        write_json(file, after)


def _differences(place: str, before: object, after: object) -> Iterator[str]:
    """Say in which values two records differ: ``settings.steps 8 there, 4 here``."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(f"{place}.{key}" if place else key, before.get(key), after.get(key))
    elif before != after:
        yield f"{place} {before} there, {after} here"
