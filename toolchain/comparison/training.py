"""The work of a comparison that trains: originals, and the fine-tuning that all methods get alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploy.accuracy import accuracy, accuracy_by_snr, confusion_matrix
from deploy.progress import Progress, part
from toolchain.baselines import Scope, filter_norms, scope_of, softly, thinned
from toolchain.comparison.frames import Frames, FramesAsked, frames_of
from toolchain.comparison.shapes import shape_of
from toolchain.cost import cost
from toolchain.models import ModelCard, build_model, load_card, load_model, load_weights, save_model
from toolchain.training import FitSettings, Hardware, accuracy_of, first_device, fit, predictions_of

FITTED = "fitted.safetensors"


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How models are trained: on which frames, by what settings, on what."""

    frames: FramesAsked
    settings: FitSettings
    hardware: Hardware


@dataclass(frozen=True, kw_only=True)
class OriginalAsked:
    """A model to be trained: its ``architecture``; or brought along in a file, "weights" among the job's models."""

    fitting: Fitting
    architecture: str | None


@dataclass(frozen=True, kw_only=True)
class FinetuneAsked:
    """A pruned model to be fine-tuned: "pruned" among the job's models, "original" its teacher.

    With ``softly``, a share of channels, it is the original that is trained, whose channels go softly for half of the steps.
    """

    fitting: Fitting
    architecture: str
    softly: float | None = None


def train_original(
    asked: OriginalAsked, models: Mapping[str, Path], folder: Path, progress: Progress
) -> tuple[dict[str, Any], Path | None]:
    """Train a model, or take the one that is there; say how good it is."""
    frames = frames_of(asked.fitting.frames)
    classes = frames.set.classes
    if "weights" in models:
        model, card = brought(models["weights"], asked.architecture, classes, frames.set.length)
    else:
        assert asked.architecture is not None  # the recipe says one of the two
        generator = torch.Generator().manual_seed(asked.fitting.frames.seed)
        model = build_model(asked.architecture, len(classes), frames.set.length, generator=generator)
        card = ModelCard(architecture=asked.architecture, classes=classes, length=frames.set.length)
        model, record = _fitted(model, frames, asked.fitting, folder / "checkpoint.pt", None, progress)
        card = replace(card, training=record)
    save_model(folder / FITTED, model, card)
    told = {
        "classes": list(card.classes),
        "frames": frames.counts,
        "judged": judged(model, frames, asked.fitting.hardware),
        "shape": shape_of(card),
    }
    return told, folder / FITTED


def brought(file: Path, architecture: str | None, classes: tuple[str, ...], length: int) -> tuple[nn.Module, ModelCard]:
    """The model that somebody trained before, in thinwave's file or as plain weights of an architecture.

    Raises ModelError for what is none.
    """
    if load_card(file) is not None:
        return load_model(file, trusted=architecture)
    assert architecture is not None  # plain weights do not say it, and the recipe was refused
    card = ModelCard(architecture=architecture, classes=classes, length=length)
    return load_weights(file, architecture, len(classes), length), card


def finetune(
    asked: FinetuneAsked, models: Mapping[str, Path], folder: Path, progress: Progress
) -> tuple[dict[str, Any], Path | None]:
    """Fine-tune a pruned model with the original as its teacher; say how good it is."""
    frames = frames_of(asked.fitting.frames)
    teacher, _ = load_model(models["original"], trusted=asked.architecture)
    model, card = load_model(models["pruned"], trusted=asked.architecture)
    untuned = accuracy_of(model.to(first_device(asked.fitting.hardware)), frames.validation)
    model.cpu()
    if asked.softly is None:
        model, record = _fitted(model, frames, asked.fitting, folder / "checkpoint.pt", teacher, progress)
    else:
        model, record = _softly_fitted(asked.softly, frames, asked.fitting, folder, teacher, progress)
    save_model(folder / FITTED, model, replace(card, training=record))
    told = {
        "untuned_accuracy": untuned,
        "judged": judged(model, frames, asked.fitting.hardware),
        "shape": shape_of(card),
    }
    return told, folder / FITTED


def judged(model: nn.Module, frames: Frames, hardware: Hardware) -> dict[str, Any]:
    """How good a finished model is, and what it costs.

    In a comparison the one place that reads the test split, once a model.
    """
    test = frames.test
    counted = cost(model, (2, frames.set.length))
    model = model.to(first_device(hardware))
    predicted = predictions_of(model, test)
    return {
        "accuracy": accuracy(test.labels, predicted),
        "validation_accuracy": accuracy_of(model, frames.validation),
        "accuracy_by_snr": accuracy_by_snr(test.labels, predicted, test.snr_db),
        "confusion": confusion_matrix(test.labels, predicted, len(frames.set.classes)).tolist(),
        "params": counted.params,
        "macs": counted.macs,
    }


def _softly_fitted(
    share: float, frames: Frames, fitting: Fitting, folder: Path, original: nn.Module, progress: Progress
) -> tuple[nn.Module, dict[str, Any]]:
    """Half of the steps with channels that are set to nothing after each epoch, the other half without them."""
    shape = (2, frames.set.length)
    scope: Scope = scope_of(original, shape)
    steps = fitting.settings.steps
    half = steps // 2
    halves = [replace(fitting, settings=replace(fitting.settings, steps=each)) for each in (half, steps - half)]
    first, second = part(progress, 0, half, steps, "softly"), part(progress, half, steps - half, steps)
    soft, _ = _fitted(
        original, frames, halves[0], folder / "soft.pt", original, first, after_epoch=softly(shape, share, scope)
    )
    thinner = thinned(soft, shape, filter_norms(soft, 2), share, scope)
    return _fitted(thinner, frames, halves[1], folder / "checkpoint.pt", original, second)


def _fitted(
    model: nn.Module,
    frames: Frames,
    fitting: Fitting,
    checkpoint: Path,
    teacher: nn.Module | None,
    progress: Progress,
    **more: Callable[[nn.Module], None],
) -> tuple[nn.Module, dict[str, Any]]:
    """The weights of the best epoch on validation, and the record that the model's file keeps."""
    fitted, history = fit(
        model, frames.train, frames.validation, fitting.settings, seed=fitting.frames.seed, checkpoint=checkpoint,
        teacher=teacher, hardware=fitting.hardware, progress=progress, **more,
    )  # fmt: skip
    return fitted, {
        "settings": asdict(fitting.settings),
        "hardware": asdict(fitting.hardware),
        "epochs": list(history.epochs),
        "best_epoch": history.best_epoch,
        # From which `thinwave evaluate` knows the frames that this model never saw.
        "data": dict(frames.record),
    }
