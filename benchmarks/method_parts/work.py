"""What a worker does: train a base model, plan, fine-tune. A worker reads a job a line and answers with a line.

It lives on its own: when the program that started it is gone, it ends with the job at hand.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deploy.accuracy import accuracy, accuracy_by_snr, sensitivity_db
from method_parts.grid import COMPARED_FRAMES, SETS, SHARED_FILE, Base, Choice, Training
from method_parts.records import Record, base_key, model_file, name_of, plan_key, tune_key
from toolchain.baselines import psr, random_layers
from toolchain.cost import cost
from toolchain.data import Dataset, Part, from_memory, open_dataset, stratified_split
from toolchain.data.generator import PRESETS, generate
from toolchain.errors import PlanError
from toolchain.models import ModelCard, create_model, edited, load_model, save_model
from toolchain.models.initialisation import initialise
from toolchain.pruning import Budget, Choices, Plan, find_units, plan_on, similarity_matrix
from toolchain.training import FitSettings, accuracy_of, fit, predictions_of

# Sensitivity is the SNR at which this accuracy is crossed.
LEVEL = 0.6


@dataclass(frozen=True, eq=False)
class Split:
    """The three parts of a set. ``test`` is read by :func:`judged` alone."""

    train: Part
    validation: Part
    test: Part

    @property
    def set(self) -> Dataset:
        """The set that they are parts of."""
        return self.train.dataset


def train_base(work: Path, base: Base) -> list[Record]:
    """Train a base model and keep it in the ``work`` folder."""
    split = split_of(base.frames, base.seed)
    generator = torch.Generator().manual_seed(base.seed)
    model = create_model(base.architecture, len(split.set.classes), split.set.length, generator=generator)
    key = base_key(base)
    fitted, told = _fitted(work, key, model, split, base.training, base.seed, teacher=None)
    whole = cost(fitted, (2, split.set.length))
    card = ModelCard(architecture=base.architecture, classes=split.set.classes, length=split.set.length)
    partial = model_file(work, base).with_suffix(".partial")
    save_model(partial, fitted, card)
    partial.replace(model_file(work, base))
    frames = {name: len(getattr(split, name)) for name in ("train", "validation", "test")}
    return [
        {
            "key": key,
            "set": base.frames,
            "frames": frames,
            "params": whole.params,
            "macs": whole.macs,
            **judged(fitted, split),
            **told,
        }
    ]


def make_plans(work: Path, base: Base, choices: Sequence[Choice]) -> list[Record]:
    """Plan by each of ``choices``; a budget that a choice cannot meet leaves a record that says so."""
    model = load_model(model_file(work, base))[0]
    frames = compared_frames(base)
    matrices: dict[str, NDArray[np.float64]] = {}
    return [_plan_record(model, frames, base, choice, matrices) for choice in choices]


def tune(work: Path, base: Base, kept: Sequence[int], tuning: Training) -> list[Record]:
    """Take out all units but ``kept``, fine-tune with the base model as teacher, and judge both."""
    split = split_of(base.frames, base.seed)
    teacher = load_model(model_file(work, base))[0]
    units = find_units(teacher, compared_frames(base)[:2])
    dropped = [unit for index, unit in enumerate(units) if index not in kept]
    model = edited(teacher, [edit for unit in dropped for edit in unit.edits])
    if tuning.start == "fresh":
        initialise(model, torch.Generator().manual_seed(1000 + base.seed))
    key = tune_key(base, tuple(kept), tuning)
    before = accuracy_of(model, split.validation)
    fitted, told = _fitted(work, key, model, split, tuning, base.seed, teacher=teacher)
    # Of the base model as it is here: another machine may train one that differs in the last digits.
    base_judged = {f"base_{name}": value for name, value in judged(teacher, split).items() if name != "by_snr"}
    return [{"key": key, "validation_untuned": before, **judged(fitted, split), **base_judged, **told}]


def judged(model: nn.Module, split: Split) -> Record:
    """How good a finished model is. The one place that reads the test split, once a model."""
    predicted = predictions_of(model, split.test)
    by_snr = accuracy_by_snr(split.test.labels, predicted, split.test.snr_db)
    sensitivity = sensitivity_db(by_snr, LEVEL)
    return {
        "validation": round(accuracy_of(model, split.validation), 6),
        "test": round(accuracy(split.test.labels, predicted), 6),
        "by_snr": {snr: round(share, 4) for snr, share in by_snr.items()},
        "sensitivity_db": None if sensitivity is None else round(sensitivity, 3),
    }


@lru_cache(maxsize=2)
def split_of(frames: str, seed: int) -> Split:
    """The frames of a set in memory, split 60/20/20 by class and SNR."""
    wanted = SETS[frames]
    if wanted.file:
        found = open_dataset(SHARED_FILE)
        iq = found.frames(np.arange(len(found)))
        labels, snr_db, classes, length = found.labels, found.snr_db, found.classes, found.length
    else:
        snrs = range(wanted.low_db, 20, 2)
        made = generate("rml2016a", frames_per_cell=wanted.frames_per_cell, snr_db=snrs, seed=seed)
        iq, labels, snr_db = made.iq, made.label, made.snr_db
        classes, length = PRESETS["rml2016a"].classes, PRESETS["rml2016a"].length
    dataset = Dataset(
        source=wanted.key,
        format="in memory",
        classes=classes,
        labels=labels,
        snr_db=snr_db,
        length=length,
        sample_rate_hz=None,
        read=from_memory(iq),
    )
    parts = stratified_split(labels, snr_db, seed=seed, classes=classes)
    return Split(*(Part(dataset, getattr(parts, name)) for name in ("train", "validation", "test")))


def compared_frames(base: Base) -> NDArray[np.float32]:
    """The training frames on which units are compared."""
    return split_of(base.frames, base.seed).train.sample(COMPARED_FRAMES, base.seed)


def _plan_record(
    model: nn.Module,
    frames: NDArray[np.float32],
    base: Base,
    choice: Choice,
    matrices: dict[str, NDArray[np.float64]],
) -> Record:
    key, started = plan_key(base, choice), time.monotonic()
    try:
        if choice.by == "thinwave":
            plan = _planned(model, frames, base, choice, matrices)
        elif choice.by == "psr":
            plan = psr(model, frames, Budget(**choice.budget))
        else:
            # A draw of its own for each base model, or all would lose the same layers.
            seed = 1000 * (choice.draw or 0) + base.seed
            plan = random_layers(model, frames, Budget(**choice.budget), seed=seed)
    except PlanError as error:
        return {"key": key, "refused": str(error)}
    return {
        "key": key,
        "kept": list(plan.kept),
        "boundaries": list(plan.boundaries),
        "units": len(plan.units),
        "macs_removed": round(1 - plan.macs_left / plan.macs, 5),
        "params_removed": round(1 - plan.params_left / plan.params, 5),
        "seconds": round(time.monotonic() - started, 1),
    }


def _planned(
    model: nn.Module,
    frames: NDArray[np.float32],
    base: Base,
    choice: Choice,
    matrices: dict[str, NDArray[np.float64]],
) -> Plan:
    settings = choice.settings
    units = find_units(model, frames)
    kind = settings["similarity"]
    if kind not in matrices:
        matrices[kind] = similarity_matrix(model, frames, units, kind)
    choices = Choices(budget=Budget(**choice.budget), seed=base.seed, **settings)
    return plan_on(matrices[kind], model, frames, units, choices)


def _fitted(
    work: Path, key: Record, model: nn.Module, split: Split, training: Training, seed: int, teacher: nn.Module | None
) -> tuple[nn.Module, Record]:
    """The model of the best epoch on validation, and what there is to tell. An interrupted training goes on."""
    settings = FitSettings(
        steps=training.epochs * (len(split.train) // training.batch),
        batch=training.batch,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        distillation=training.distillation,
        temperature=training.temperature,
    )
    checkpoint = work / f"checkpoint-{name_of(key)}.pt"
    started, processor = time.monotonic(), time.process_time()
    fitted, history = fit(
        model, split.train, split.validation, settings, seed=seed, checkpoint=checkpoint, teacher=teacher
    )
    checkpoint.unlink(missing_ok=True)
    rows = history.epochs
    return fitted, {
        "best_epoch": history.best_epoch,
        "last_gain": round(rows[-1]["validation_accuracy"] - rows[len(rows) * 2 // 3]["validation_accuracy"], 4),
        "seconds": round(history.earlier_s + time.monotonic() - started, 1),
        "processor_s": round(time.process_time() - processor, 1),
    }


def base_from(values: dict[str, Any]) -> Base:
    """A base model's description from JSON values."""
    return Base(**{**values, "training": Training(**values["training"])})


def answer(job: dict[str, Any]) -> list[Record]:
    """Do a job: ``what`` is "base", "plan" or "tune"."""
    work, base = Path(job["work"]), base_from(job["base"])
    if job["what"] == "base":
        return train_base(work, base)
    if job["what"] == "plan":
        return make_plans(work, base, [Choice(**choice) for choice in job["choices"]])
    return tune(work, base, job["kept"], Training(**job["tuning"]))


def serve() -> None:
    """Answer jobs from standard input until it ends."""
    torch.set_num_threads(1)
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            said: dict[str, Any] = {"records": answer(json.loads(line))}
        except Exception:  # the program that asked says what went wrong, and goes on with other cells
            said = {"error": traceback.format_exc()}
        print(json.dumps(said), file=answers, flush=True)
