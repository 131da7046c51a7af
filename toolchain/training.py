"""One fit() for training and for fine-tuning.

AdamW with a one-cycle learning rate, its length in steps: a file may be small or large. After every epoch (one pass over
the training frames) the validation split is scored, the best weights are kept, and all of the state is written down,
so a run that was killed goes on from its last finished epoch and ends in the same bits. The order of the frames comes
from the seed and the epoch's number alone. Frames are read while the model computes (:mod:`toolchain.data.batches`), so
a set may be larger than memory.
"""

from __future__ import annotations

import copy
import io
import logging
import math
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.progress import Progress, silent
from toolchain.data.batches import BatchReader, Part, in_order
from toolchain.errors import TrainingError
from toolchain.models.modes import evaluating

log = logging.getLogger(__name__)

# Frames at once where no gradient is kept: the speed no longer grows past this.
EVALUATION_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train: ``steps`` batches of ``batch`` frames; ``learning_rate`` is the peak of the cycle.

    ``rotate`` turns every frame by a random phase each time it is seen: no receiver knows the carrier's phase, and no
    modulation depends on it.

    ``distillation`` is the weight of the teacher's answers (0 to 1) against the labels', at ``temperature``: Hinton et
    al., "Distilling the knowledge in a neural network" (2015).
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    rotate: bool = True
    distillation: float = 0.0
    temperature: float = 4.0


@dataclass(frozen=True)
class History:
    """What training leaves to tell: a row an epoch, and the epoch whose weights were kept.

    ``earlier_s`` is what was spent on it before it was taken up from a checkpoint.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    earlier_s: float


def fit(
    model: nn.Module,
    train: Part,
    validation: Part,
    settings: FitSettings,
    *,
    seed: int,
    checkpoint: Path,
    teacher: nn.Module | None = None,
    progress: Progress = silent,
) -> tuple[nn.Module, History]:
    """Train a copy of ``model`` on ``train`` and return its weights of the best epoch on ``validation``.

    ``checkpoint`` is written after every epoch; if it is there already, training goes on from it. With a ``teacher``
    and a distillation weight its answers on the training frames are learnt too.

    Raises TrainingError when the loss is no longer a number, or a batch is larger than the training split.
    """
    if settings.batch > len(train):
        raise TrainingError(
            f"a batch of {settings.batch} frames is more than the {len(train)} training frames; lower it"
        )
    model = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    state = _State(optimiser, model)
    state.load(checkpoint)
    earlier_s, started = state.seconds, time.monotonic()
    if settings.distillation == 0:
        teacher = None

    steps_per_epoch = len(train) // settings.batch
    with BatchReader(train, settings.batch, shuffled=True) as reader:
        while state.step < settings.steps:
            rng = np.random.default_rng([seed, len(state.epochs)])
            order = reader.shuffled_order(rng)
            phases = rng.uniform(0, 2 * np.pi, len(train)).astype(np.float32)
            losses: list[float] = []
            model.train()
            with closing(reader.epoch(order)) as batches:
                for batch in islice(batches, min(steps_per_epoch, settings.steps - state.step)):
                    for group in optimiser.param_groups:
                        group["lr"] = one_cycle(state.step, settings.steps) * settings.learning_rate
                    frames, label = torch.from_numpy(batch.iq), torch.from_numpy(batch.label)
                    if settings.rotate:
                        frames = rotated(frames, torch.from_numpy(phases[batch.position]))
                    losses.append(_step(model, optimiser, frames, label, teacher, settings))
                    if not math.isfinite(losses[-1]):
                        raise TrainingError(
                            f"the loss became {losses[-1]} at step {state.step}; lower the learning rate"
                        )
                    state.step += 1
                    progress(state.step, settings.steps, f"loss {losses[-1]:.3f}{state.score_note()}")
            state.finish_epoch(float(np.mean(losses)), accuracy_of(model, validation))
            state.seconds = earlier_s + time.monotonic() - started
            state.save(checkpoint)
    model.load_state_dict(state.best)
    return model.eval(), History(tuple(state.epochs), state.best_epoch, earlier_s)


def one_cycle(step: int, steps: int) -> float:
    """The learning rate of ``step`` as a part of its peak: up over the first quarter, down to nothing, by cosines.

    Smith and Topin, "Super-convergence" (2018), with a start at 1/25.
    """
    rise = max(1, round(0.25 * steps))
    if step < rise:
        return 1.0 - (1.0 - 0.04) * (1 + math.cos(math.pi * step / rise)) / 2
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def rotated(iq: Tensor, phases: Tensor) -> Tensor:
    """Frames (n, 2, length) times exp(j ``phases``), phases (n,) in radians."""
    turned = (
        torch.view_as_complex(iq.movedim(1, 2).contiguous()) * torch.polar(torch.ones_like(phases), phases)[:, None]
    )
    return torch.view_as_real(turned).movedim(2, 1).contiguous()


def logits_of(model: nn.Module, iq: NDArray[np.float32]) -> Tensor:
    """The model's logits (n, classes) on frames (n, 2, length), in evaluation mode."""
    with evaluating(model):
        starts = range(0, len(iq), EVALUATION_BATCH)
        return torch.cat([model(torch.from_numpy(iq[at : at + EVALUATION_BATCH])) for at in starts])


def predictions_of(model: nn.Module, part: Part, progress: Progress = silent) -> NDArray[np.int64]:
    """The class that ``model`` gives each frame of ``part``, int64 (n,)."""
    predicted = np.empty(len(part), dtype=np.int64)
    with evaluating(model):
        for batch in in_order(part, EVALUATION_BATCH):
            predicted[batch.position] = model(torch.from_numpy(batch.iq)).argmax(dim=1).numpy()
            progress(int(batch.position[-1]) + 1, len(part), "frames")
    return predicted


def accuracy_of(model: nn.Module, part: Part, progress: Progress = silent) -> float:
    """The fraction of the frames that ``model`` names rightly."""
    return float((predictions_of(model, part, progress) == part.labels).mean())


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    frames: Tensor,
    label: Tensor,
    teacher: nn.Module | None,
    settings: FitSettings,
) -> float:
    """Take one step down the loss of a batch, and return that loss."""
    optimiser.zero_grad()
    loss = _loss(model(frames), label, None if teacher is None else _answers(teacher, frames), settings)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()


def _loss(logits: Tensor, label: Tensor, answers: Tensor | None, settings: FitSettings) -> Tensor:
    hard = F.cross_entropy(logits, label)
    if answers is None:
        return hard
    t = settings.temperature
    # t squared keeps the gradients of the two terms comparable (Hinton et al., section 2).
    soft = F.kl_div(
        F.log_softmax(logits / t, dim=1), F.log_softmax(answers / t, dim=1), reduction="batchmean", log_target=True
    )
    return (1 - settings.distillation) * hard + settings.distillation * t * t * soft


def _answers(teacher: nn.Module, frames: Tensor) -> Tensor:
    with evaluating(teacher):
        return teacher(frames)  # type: ignore[no-any-return]


class _State:
    """All that changes while a model trains, to and from one file."""

    def __init__(self, optimiser: torch.optim.Optimizer, model: nn.Module) -> None:
        self.optimiser, self.model = optimiser, model
        self.step = 0
        self.epochs: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = -1
        self.seconds = 0.0

    def finish_epoch(self, loss: float, accuracy: float) -> None:
        if not self.epochs or accuracy >= self.epochs[self.best_epoch]["validation_accuracy"]:
            self.best_epoch = len(self.epochs)
            self.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.epochs.append({"step": self.step, "loss": loss, "validation_accuracy": accuracy})

    def score_note(self) -> str:
        return f", validation {self.epochs[-1]['validation_accuracy']:.3f}" if self.epochs else ""

    def save(self, path: Path) -> None:
        values = {name: value for name, value in vars(self).items() if name not in ("optimiser", "model")}
        content = io.BytesIO()
        torch.save({**values, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}, content)
        # Through Python's own file: a full disk is then an OSError, as everywhere.
        partial = path.with_suffix(".partial")
        partial.write_bytes(content.getbuffer())
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Take up what :meth:`save` wrote; a file that is damaged (the power went) counts as none."""
        if not path.is_file():
            return
        fresh = copy.deepcopy(self.model.state_dict())
        try:
            values: dict[str, Any] = torch.load(path, weights_only=True)
            weights, optimiser = values.pop("model"), values.pop("optimiser")
            self.model.load_state_dict(weights)
            self.optimiser.load_state_dict(optimiser)
        except OSError:
            raise
        except Exception:  # torch raises whatever its unpickler met
            self.model.load_state_dict(fresh)
            log.warning("%s is damaged: training starts afresh", path)
            return
        vars(self).update(values)
