"""train: the original model, trained here or brought along. Leaves ``original.safetensors``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from deploy.progress import Progress
from toolchain.errors import RecipeError, TrainingError
from toolchain.models import ModelCard, build_model, load_model, load_weights, save_model
from toolchain.recipe import HardwareTable
from toolchain.run_folder import StageOutput
from toolchain.stages.plan import require_plannable
from toolchain.stages.run import Run
from toolchain.training import FitSettings, accuracy_of, fit
from toolchain.training.hardware import Hardware, resolved

DEFAULT_ARCHITECTURE = "resnet1d56"


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """Train by ``[train]``, unless ``[model] weights`` brings a trained model."""
    dataset = run.dataset
    architecture = run.recipe.model.name or DEFAULT_ARCHITECTURE
    card = run.card or ModelCard(architecture=architecture, classes=dataset.classes, length=dataset.length)
    if run.recipe.model.weights is not None:
        file = Path(run.recipe.model.weights)
        model = (
            load_model(file, trusted=run.recipe.model.name)[0]
            if run.card
            else load_weights(file, architecture, len(card.classes), card.length)
        )
        save_model(out.path / "original.safetensors", model, card)
        score = accuracy_of(model, run.split("validation"), progress)
        return f"{card.architecture} from {file.name}, not trained here; validation {score:.3f}"
    generator = torch.Generator().manual_seed(run.seed)
    model = build_model(architecture, len(card.classes), card.length, generator=generator)
    require_plannable(run.recipe.plan, model, card.length)
    settings = FitSettings(**run.recipe.train.model_dump())
    score = trained(run, out, "original", model, card, settings, progress=progress)
    return f"{architecture}, {settings.steps} steps of {settings.batch} frames, validation {score:.3f}"


def hardware_of(table: HardwareTable, batch: int) -> Hardware:
    """What ``[run]`` says to train on, when this machine has it and it can share batches of ``batch``.

    Raises RecipeError that names the key otherwise.
    """
    asked = Hardware(accelerator=table.accelerator, devices=table.devices, precision=table.precision)
    try:
        return resolved(asked, batch=batch)
    except TrainingError as error:
        raise RecipeError(f"run.{error}") from error


def trained(
    run: Run,
    out: StageOutput,
    name: str,
    model: nn.Module,
    card: ModelCard,
    settings: FitSettings,
    *,
    teacher: nn.Module | None = None,
    progress: Progress,
) -> float:
    """Fit ``model`` by ``settings``, going on from a checkpoint if there is one; save it; return its validation accuracy."""
    hardware = hardware_of(run.recipe.run, settings.batch)
    fitted, history = fit(
        model,
        run.split("train"),
        run.split("validation"),
        settings,
        seed=run.seed,
        checkpoint=out.work / "checkpoint.pt",
        teacher=teacher,
        hardware=hardware,
        progress=progress,
    )
    out.earlier_s = history.earlier_s
    record = {
        "settings": asdict(settings),
        "hardware": asdict(hardware),
        "epochs": list(history.epochs),
        "best_epoch": history.best_epoch,
        # From which `thinwave evaluate` knows the frames that this model never saw.
        "data": json.loads((run.path / "data" / "dataset.json").read_text())["use"],
    }
    save_model(out.path / f"{name}.safetensors", fitted, replace(card, training=record))
    return history.epochs[history.best_epoch]["validation_accuracy"]
