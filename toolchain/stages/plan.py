"""plan: which units stay. Leaves ``plan.json`` and ``similarity.npy``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploy.progress import Progress
from toolchain.models import load_model
from toolchain.pruning import Budget, find_units, plan_on, similarity_matrix
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import Run


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """Similarity on frames of the training split, Fisher's segmentation, selection by SynFlow."""
    table = run.recipe.plan
    model, card = load_model(run.path / "original.safetensors", trusted=run.recipe.model.name)
    frames = run.sample("train", table.frames)
    units = find_units(model, frames, table.units)
    matrix = similarity_matrix(model, frames, units, table.similarity)
    plan = plan_on(
        matrix,
        model,
        frames,
        units,
        budget=Budget(**table.budget),
        similarity=table.similarity,
        signature=table.signature,
        blocks=table.blocks,
        score=table.score,
        direction=table.direction,
        names=table.units,
        seed=run.seed,
        progress=progress,
    )
    described = {"architecture": card.architecture, "classes": list(card.classes), "length": card.length}
    plan = replace(plan, model={**described, "dropped": list(card.dropped)})
    np.save(out.path / "similarity.npy", matrix)
    write_json(out.path / "plan.json", plan.to_json())
    return f"{len(plan.kept)} of {len(units)} units kept, in {len(plan.boundaries)} blocks"
