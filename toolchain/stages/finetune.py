"""finetune: the plan applied, and the smaller model taught by the original. Leaves ``pruned.safetensors``."""

from __future__ import annotations

from deploy.progress import Progress
from toolchain.models import load_model
from toolchain.pruning import apply_plan, pruned_card
from toolchain.run_folder import StageOutput
from toolchain.stages.run import Run
from toolchain.stages.train import trained
from toolchain.training import FitSettings


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """Train by ``[finetune]``."""
    original, card = load_model(run.path / "original.safetensors", trusted=run.recipe.model.name)
    settings = FitSettings(**run.recipe.finetune.model_dump())
    model = apply_plan(run.plan, original)
    score = trained(
        run, out, "pruned", model, pruned_card(card, run.plan), settings, teacher=original, progress=progress
    )
    return f"{settings.steps} steps of {settings.batch} frames, validation {score:.3f}"
