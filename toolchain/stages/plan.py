"""plan: which units stay. Leaves ``plan.json`` and ``similarity.npy``."""

from __future__ import annotations

import numpy as np
from torch import nn

from deploy.progress import Progress
from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.models import load_model
from toolchain.pruning import Budget, Choices, check_budget, find_units, planned, with_model
from toolchain.recipe import PlanTable
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import Run


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """Similarity on frames of the training split, Fisher's segmentation, selection by SynFlow."""
    table = run.recipe.plan
    model, card = load_model(run.path / "original.safetensors", trusted=run.recipe.model.name)
    frames = run.sample("train", table.frames)
    choices = Choices(
        budget=Budget(**table.budget),
        similarity=table.similarity,
        signature=table.signature,
        blocks=table.blocks,
        score=table.score,
        direction=table.direction,
        units=table.units,
        seed=run.seed,
    )
    plan, matrix = planned(model, frames, choices, progress=progress)
    plan = with_model(plan, card)
    np.save(out.path / "similarity.npy", matrix)
    write_json(out.path / "plan.json", plan.to_json())
    return f"{len(plan.kept)} of {len(plan.units)} units kept, in {len(plan.boundaries)} blocks"


def require_plannable(table: PlanTable, model: nn.Module, length: int) -> None:
    """Raise PlanError, which names the key, where no plan of ``model`` on frames (2, ``length``) can meet ``[plan]``."""
    units = find_units(model, np.zeros((1, 2, length), dtype=np.float32), table.units)
    try:
        check_budget(units, cost(model, (2, length)), Budget(**table.budget), table.blocks)
    except PlanError as error:
        raise PlanError(f"plan.{error}") from error
