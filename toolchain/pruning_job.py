"""One model planned and pruned on one file: the work of ``thinwave prune``. It leaves a folder of three files, or four."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data import DataUse, Part, record_of
from toolchain.errors import RunError
from toolchain.latency_budget import Limit, Meter, Work, as_of_now, plan_within, read_unit_latencies, unit_latencies
from toolchain.models import ModelCard, save_model
from toolchain.pruning import (
    Choices,
    Plan,
    allotment,
    apply_plan,
    blocks_asked,
    find_units,
    planned,
    pruned_card,
    similarity_matrix,
    with_model,
)
from toolchain.report.drawing import save
from toolchain.report.plan_figure import plan_figure

log = logging.getLogger(__name__)

PLAN, MODEL, PICTURE, LATENCY = "plan.json", "model.safetensors", "plan.png", "latency.json"
# The last is there where a latency was the budget.
FILES = (PLAN, MODEL, PICTURE, LATENCY)


@dataclass(frozen=True, kw_only=True)
class Within:
    """A latency to prune to: the limit, what reads latencies, and the file of unit latencies that were read before."""

    limit: Limit
    meter: Meter
    unit_latencies: Path | None = None


def prune_on(
    dataset: Dataset,
    use: DataUse,
    model: nn.Module,
    card: ModelCard,
    choices: Choices,
    out: Path,
    *,
    compared: int,
    within: Within | None = None,
    progress: Progress = silent,
) -> tuple[Plan, dict[str, Any] | None]:
    """Plan on training frames of ``dataset`` (the whole set, of which ``use`` says the split) and write the folder ``out``.

    ``compared`` is the number of these frames. Where the budget is a latency, ``within`` says it; what was read of it comes
    back beside the plan, as JSON values.

    Raises PlanError for what cannot be made, DatasetError for a set that cannot be used, RunError for a folder that cannot,
    and what reading a latency raises.
    """
    train = Part(use.selected(dataset), use.split_of(dataset).train)
    if compared > len(train):
        log.warning("the training split has %s frames, not %s: all are compared", f"{len(train):,}", f"{compared:,}")
    frames = train.sample(compared, choices.seed)
    latency: dict[str, Any] | None = None
    if within is None:
        plan, matrix = planned(model, frames, choices, progress=progress)
    else:
        plan, matrix, latency = _planned_within(within, model, card, frames, choices, progress)
    plan = with_model(plan, card)
    progress(0, 1, "drawing the plan")
    # The split that the model was trained on stays known, so that fine-tuning does not see what it is tested by.
    smaller = replace(pruned_card(card, plan), training=card.training or {"data": record_of(dataset, use)})
    _write(out, plan, matrix, apply_plan(plan, model), smaller, latency)
    return plan, latency


def _planned_within(
    within: Within,
    model: nn.Module,
    card: ModelCard,
    frames: NDArray[np.float32],
    choices: Choices,
    progress: Progress,
) -> tuple[Plan, NDArray[np.float64], dict[str, Any]]:
    units = find_units(model, frames, choices.units)
    # What can be known to be wrong, before minutes of measuring.
    blocks_asked(choices.blocks, len(units))
    choices = replace(choices, allot=allotment(model, units, frames.shape[1:], choices))
    meter, limit = within.meter, within.limit
    known = None if within.unit_latencies is None else read_unit_latencies(within.unit_latencies, card, units, meter)
    matrix = similarity_matrix(model, frames, units, choices.similarity, progress=progress)
    work = Work(matrix=matrix, model=model, card=card, frames=frames, units=units, choices=choices)
    with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
        folder = Path(scratch)
        if known is None:
            taken = unit_latencies(model, card, units, meter, folder, check=limit.check, progress=progress)
        else:
            progress(0, 1, "latency of the whole model")
            taken = as_of_now(known, model, card, meter, folder)
        found = plan_within(limit, taken, meter, work, folder, progress=progress)
    reading = {name: value for name, value in vars(found.reading).items() if name != "records"}
    latency = {
        "kind": meter.kind,
        "limit": str(limit),
        "limit_ms": found.limit_ms,
        "whole_ms": found.whole_ms,
        "reading": reading,
        **found.reading.records,
        "attempts": [vars(attempt) for attempt in found.attempts],
        "unit_latencies": taken.model_dump(mode="json"),
    }
    return found.plan, matrix, latency


def _write(
    out: Path,
    plan: Plan,
    matrix: NDArray[np.float64],
    model: nn.Module,
    card: ModelCard,
    latency: dict[str, Any] | None,
) -> None:
    """Write beside the places first: what was there stays until all is complete."""
    new = not out.exists()
    files = {name: out / f".{name}.partial" for name in FILES if name != LATENCY or latency is not None}
    try:
        out.mkdir(parents=True, exist_ok=True)
        files[PLAN].write_text(json.dumps(plan.to_json(), indent=1) + "\n")
        save_model(files[MODEL], model, card)
        save(plan_figure(plan, matrix), files[PICTURE])
        if latency is not None:
            files[LATENCY].write_text(json.dumps(latency, indent=1) + "\n")
        for name, partial in files.items():
            partial.replace(out / name)
        if latency is None:
            # Of a plan that was there before.
            (out / LATENCY).unlink(missing_ok=True)
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
    """Raise RunError where ``out`` cannot be a folder to write, or holds what would be written over, unless ``replace``.

    ``read`` are files that go into the work: they are never written over.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is there and is no folder; name another with --out")
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "may not be written to" if place.is_dir() else "is no folder"
        raise RunError(f"{out}: cannot be made: {place} {why}; name another folder with --out")
    lost = [path for path in read if path.exists() and any(_same(path, out / name) for name in FILES)]
    if lost:
        raise RunError(f"{lost[0]}: is what is read; name another folder with --out, so that nothing is lost")
    there = [name for name in FILES if (out / name).exists()]
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
