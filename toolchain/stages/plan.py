"""plan: which units stay. Leaves ``plan.json`` and ``similarity.npy``."""

from __future__ import annotations

import numpy as np

from deploy.progress import Progress
from toolchain.models import load_model
from toolchain.pruning import find_units, planned_on, similarity_matrix
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import Run


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """Similarity on frames of the training split, Fisher's segmentation, selection by SynFlow."""
    table = run.recipe.plan
    model, _ = load_model(run.path / "original.safetensors")
    frames = run.sample("train", table.frames)
    units = find_units(model, frames)
    matrix = similarity_matrix(model, frames, units, table.similarity)
    progress(1, 2, "selecting units")
    plan = planned_on(
        matrix,
        model,
        units,
        frames.shape[1:],
        keep=table.keep,
        signature=table.signature,
        blocks=table.blocks,
        direction=table.direction,
    )
    np.save(out.path / "similarity.npy", matrix)
    write_json(out.path / "plan.json", plan.to_json())
    return f"{len(plan.kept)} of {len(units)} units kept, in {len(plan.boundaries)} blocks"
