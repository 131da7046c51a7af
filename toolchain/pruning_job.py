"""One model planned and pruned on one file: the work of ``thinwave prune``. It leaves a folder of three files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data import DataUse, record_of, stratified_sample
from toolchain.errors import RunError
from toolchain.models import ModelCard, save_model
from toolchain.pruning import Budget, Plan, apply_plan, find_units, plan_on, similarity_matrix
from toolchain.pruning.selection import Direction
from toolchain.report.drawing import save
from toolchain.report.plan_figure import plan_figure

PLAN, MODEL, PICTURE = "plan.json", "model.safetensors", "plan.png"


@dataclass(frozen=True, kw_only=True)
class PruningJob:
    """How a model is pruned: the budget, and each choice of the method as :func:`toolchain.pruning.plan_layers` takes it.

    ``frames`` of the training split are compared; ``units`` are globs that name the units; ``seed`` draws what is random.
    """

    budget: Budget
    frames: int
    similarity: str
    signature: str
    blocks: int | str
    score: str
    direction: Direction
    units: tuple[str, ...] | None
    seed: int


def prune_on(
    dataset: Dataset,
    use: DataUse,
    model: nn.Module,
    card: ModelCard,
    job: PruningJob,
    out: Path,
    *,
    progress: Progress = silent,
) -> Plan:
    """Plan on training frames of ``dataset`` (the whole set, of which ``use`` says the split) and write the folder ``out``.

    Raises PlanError for what cannot be made, DatasetError for a set that cannot be used, RunError for a folder that cannot.
    """
    frames = training_frames(dataset, use, job.frames, job.seed)
    units = find_units(model, frames, job.units)
    progress(0, 1, "comparing units")
    matrix = similarity_matrix(model, frames, units, job.similarity)
    plan = plan_on(
        matrix,
        model,
        frames,
        units,
        budget=job.budget,
        similarity=job.similarity,
        signature=job.signature,
        blocks=job.blocks,
        score=job.score,
        direction=job.direction,
        names=job.units,
        seed=job.seed,
        progress=progress,
    )
    described = {"architecture": card.architecture, "classes": list(card.classes), "length": card.length}
    plan = replace(plan, model={**described, "dropped": list(card.dropped)})
    smaller = replace(
        card,
        dropped=(*card.dropped, *plan.dropped),
        edits=(*card.edits, *plan.edits),
        plan=plan.to_json(),
        # The split that the model was trained on stays known, so that fine-tuning does not see what it is tested by.
        training=card.training or {"data": record_of(dataset, use)},
    )
    _write(out, plan, matrix, apply_plan(plan, model), smaller)
    return plan


def training_frames(dataset: Dataset, use: DataUse, count: int, seed: int) -> NDArray[np.float32]:
    """``count`` frames of the training split, or all where it has fewer, spread over class and SNR: (count, 2, length)."""
    selected, among = use.selected(dataset), use.split_of(dataset).train
    rng = np.random.default_rng([seed, count])
    return selected.frames(stratified_sample(selected.labels, selected.snr_db, among, min(count, len(among)), rng))


def _write(out: Path, plan: Plan, matrix: NDArray[np.float64], model: nn.Module, card: ModelCard) -> None:
    """Write beside the places first: what was there stays until all is complete."""
    new = not out.exists()
    files = {name: out / f".{name}.partial" for name in (PLAN, MODEL, PICTURE)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        files[PLAN].write_text(json.dumps(plan.to_json(), indent=1) + "\n")
        save_model(files[MODEL], model, card)
        save(plan_figure(plan, matrix), files[PICTURE])
        for name, partial in files.items():
            partial.replace(out / name)
    except OSError as error:
        raise RunError(
            f"{out}: cannot be written: {error.strerror}; make room, or name another folder with --out"
        ) from error
    finally:
        for partial in files.values():
            if partial.exists():
                partial.unlink()
        if new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def refuse_used(out: Path, *, replace: bool, read: Sequence[Path] = ()) -> None:
    """Raise RunError where ``out`` is no folder, or holds what would be written over, unless ``replace``.

    ``read`` are files that go into the work: they are never written over.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is there and is no folder; name another with --out")
    lost = [path for path in read if path.exists() and any(_same(path, out / name) for name in (PLAN, MODEL, PICTURE))]
    if lost:
        raise RunError(f"{lost[0]}: is what is read; name another folder with --out, so that nothing is lost")
    there = [name for name in (PLAN, MODEL, PICTURE) if (out / name).exists()]
    if there and not replace:
        raise RunError(f"{out}: holds {', '.join(there)} already; name another folder, or write over it with --replace")


def _same(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)


def summary(plan: Plan) -> dict[str, Any]:
    """What came out, in numbers, as JSON values."""
    return {
        "units": len(plan.units),
        "kept": [plan.units[index].name for index in plan.kept],
        "reduced": [unit.name for unit in plan.dropped_units if unit.kind == "reducible"],
        "blocks": [list(block) for block in plan.blocks],
        "scored_by": list(plan.scored_by),
        "log_flow": plan.log_flow,
        "log_flow_whole": plan.log_flow_whole,
        "params": {"before": plan.params, "after": plan.params_left},
        "macs": {"before": plan.macs, "after": plan.macs_left},
        "settings": dict(plan.settings),
    }
