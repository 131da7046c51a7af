"""One fit() for training and for fine-tuning.

AdamW with a one-cycle learning rate, its length in steps: a file may be small or large. After every epoch (one pass over
the training frames) the validation split is scored, the best weights are kept, and all of the state is written down,
so a run that was killed goes on from its last finished epoch and, on a CPU, ends in the same bits. The order of the frames
comes from the seed and the epoch's number alone, and so does what the model itself draws, as for dropout. Frames are read
while the model computes (:mod:`toolchain.data.batches`), so a set may be larger than memory.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from deploy.progress import Progress, silent
from toolchain.data.batches import BatchReader, Part
from toolchain.errors import TrainingError
from toolchain.training.answers import predictions_of
from toolchain.training.hardware import ONE_DEVICE, Hardware, resolved
from toolchain.training.learner import FitSettings, Learner, over_devices
from toolchain.training.state import load, save

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class History:
    """What training leaves to tell: a row an epoch, and the epoch whose weights were kept.

    ``earlier_s`` is what was spent on it before it was taken up from a checkpoint.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    earlier_s: float


def _nothing(_model: nn.Module) -> None:
    """What most trainings do to a model between epochs; a function with a name can be sent to other processes."""


def fit(
    model: nn.Module,
    train: Part,
    validation: Part,
    settings: FitSettings,
    *,
    seed: int,
    checkpoint: Path,
    teacher: nn.Module | None = None,
    hardware: Hardware = ONE_DEVICE,
    after_epoch: Callable[[nn.Module], None] = _nothing,
    progress: Progress = silent,
) -> tuple[nn.Module, History]:
    """Train a copy of ``model`` on ``train`` and return its weights of the best epoch on ``validation``, on the CPU.

    ``checkpoint`` is written after every epoch; if it is there already, training goes on from it. With a ``teacher``
    and a distillation weight its answers on the training frames are learnt too. ``after_epoch`` may change the weights of what
    is learning, and of their average, in place, before an epoch is judged: with several devices alike on each.

    Several devices of the ``hardware`` are a process each, started here; the model, the teacher and the sets are pickled for
    them, frames in memory too. Each takes its share of every batch, so steps and learning rate are those of one device, and
    the weights are, but for rounding. BatchNorm sees a device's own share: it normalises a batch of ``batch / devices``
    frames, and the first device's running statistics are kept.

    Raises TrainingError when the loss is no longer a number, a batch is larger than the training split, or this machine
    does not have the hardware.
    """
    hardware = resolved(hardware, batch=settings.batch)
    if settings.batch > len(train):
        raise TrainingError(
            f"a batch of {settings.batch} frames is more than the {len(train)} training frames; lower it"
        )
    # Here, because it takes as long to import as torch, and most that imports this module does not train.
    from toolchain.training.fabric import on_devices

    if settings.distillation == 0:
        teacher = None
    best, history = on_devices(
        hardware, _train, model, train, validation, settings,
        seed=seed, checkpoint=checkpoint, teacher=teacher, after_epoch=after_epoch, progress=progress,
    )  # fmt: skip
    fitted = copy.deepcopy(model)
    fitted.load_state_dict(best)
    return fitted.eval(), history


def _train(
    fabric: Fabric,
    model: nn.Module,
    train: Part,
    validation: Part,
    settings: FitSettings,
    *,
    seed: int,
    checkpoint: Path,
    teacher: nn.Module | None,
    after_epoch: Callable[[nn.Module], None],
    progress: Progress,
) -> tuple[dict[str, Tensor], History]:
    """Do the work of one device; all of them come to the same weights, and the first one writes them down."""
    learner = Learner(fabric, model, teacher, settings)
    reached = load(checkpoint, learner.parts)
    earlier_s, started = reached.seconds, time.monotonic()
    per_epoch, share = len(train) // settings.batch, settings.batch // fabric.world_size
    # The order is drawn for whole batches, however many devices share them.
    whole = BatchReader(train, settings.batch, shuffled=True)
    with BatchReader(train, share, shuffled=True) as reader:
        while reached.step < settings.steps:
            rng = np.random.default_rng([seed, epoch := len(reached.epochs)])
            order = whole.shuffled_order(rng)
            phases = rng.uniform(0, 2 * np.pi, len(train)).astype(np.float32)
            order = order[: min(per_epoch, settings.steps - reached.step) * settings.batch]
            mine = order.reshape(-1, fabric.world_size, share)[:, fabric.global_rank].reshape(-1)
            losses: list[float] = []
            drawing = _drawing([seed, epoch, 1 + fabric.global_rank], fabric.device)
            with drawing, closing(reader.epoch(mine)) as batches:
                for batch in batches:
                    learner.set_rate(one_cycle(reached.step, settings.steps) * settings.learning_rate)
                    losses.append(learner.step(batch, phases))
                    if not math.isfinite(losses[-1]):
                        raise TrainingError(
                            f"the loss became {losses[-1]} at step {reached.step}; lower the learning rate"
                        )
                    reached.step += 1
                    at = f"epoch {epoch + 1} of {-(-settings.steps // per_epoch)}, loss {losses[-1]:.3f}"
                    progress(reached.step, settings.steps, at + reached.score_note())
            learner.settle()
            learner.changed_by(after_epoch)
            reached.finish_epoch(float(np.mean(losses)), _accuracy(fabric, learner.judged, validation), learner.judged)
            reached.seconds = earlier_s + time.monotonic() - started
            if fabric.is_global_zero:
                save(checkpoint, reached, learner.parts)
    return reached.best, History(tuple(reached.epochs), reached.best_epoch, earlier_s)


def _accuracy(fabric: Fabric, model: nn.Module, part: Part) -> float:
    """:func:`accuracy_of` where each device answers for its share of the frames."""
    share = Part(part.dataset, np.array_split(part.indices, fabric.world_size)[fabric.global_rank])
    right = int((predictions_of(model, share) == share.labels).sum())
    return int(over_devices(fabric, torch.tensor(right, device=fabric.device), "sum")) / len(part)


@contextmanager
def _drawing(entropy: list[int], device: torch.device) -> Iterator[None]:
    """Let what the model draws in the block come from ``entropy``; torch's generators are put back after it."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device.index] if on_gpu else []):
        # Not torch.manual_seed: it seeds all GPUs, and those that are not used here would not be put back.
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield


def one_cycle(step: int, steps: int) -> float:
    """The learning rate of ``step`` as a part of its peak: up over the first quarter, down to nothing, by cosines.

    Smith and Topin, "Super-convergence" (2018), with a start at 1/25.
    """
    rise = max(1, round(0.25 * steps))
    if step < rise:
        return 1.0 - (1.0 - 0.04) * (1 + math.cos(math.pi * step / rise)) / 2
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2
