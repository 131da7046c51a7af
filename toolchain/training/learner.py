"""A model that learns on one device: the loss, the step, the average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from toolchain.data.batches import Batch
from toolchain.training.state import Stateful

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train: ``steps`` batches of ``batch`` frames; ``learning_rate`` is the peak of the cycle.

    ``rotate`` turns every frame by a random phase each time it is seen: no receiver knows the carrier's phase, and no
    modulation depends on it.

    ``distillation`` is the weight of the teacher's answers (0 to 1) against the labels', at ``temperature``: Hinton et
    al., "Distilling the knowledge in a neural network" (2015).

    ``ema`` is the decay of an exponential average of the weights, 0 for none; it reaches back some 1 / (1 - ema) steps. With
    it the average is what is validated, kept and returned. BatchNorm's statistics are averaged as the weights are.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    rotate: bool = True
    distillation: float = 0.0
    temperature: float = 4.0
    ema: float = 0.0


class Learner:
    """A model that learns on one device, and all that a step of it changes."""

    def __init__(self, fabric: Fabric, model: nn.Module, teacher: nn.Module | None, settings: FitSettings) -> None:
        self._fabric, self._settings = fabric, settings
        self._model = fabric.to_device(copy.deepcopy(model))
        self._teacher = None if teacher is None else fabric.to_device(copy.deepcopy(teacher)).eval()
        self._averaged: AveragedModel | None = None
        if settings.ema:
            average = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
            self._averaged = AveragedModel(self._model, multi_avg_fn=average, use_buffers=True)
        self._optimiser = torch.optim.AdamW(
            self._model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._shared_model, self._scaled_optimiser = fabric.setup(self._model, self._optimiser)
        self._shared_model.train()

    @property
    def judged(self) -> nn.Module:
        """What is validated and kept: the average of the weights where there is one, else the model."""
        return self._model if self._averaged is None else self._averaged.module

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        parts: dict[str, Stateful] = {"model": self._model, "optimiser": self._optimiser}
        if self._averaged is not None:
            parts["averaged"] = self._averaged
        # With float16 alone: what gradients are multiplied by, so that they do not vanish.
        if (precision := self._fabric.strategy.precision).state_dict():
            parts["gradient_scale"] = precision
        return parts

    def set_rate(self, learning_rate: float) -> None:
        """Take the following steps at ``learning_rate``."""
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate

    def step(self, batch: Batch, phases: NDArray[np.float32]) -> float:
        """Take one step down the loss of a batch, and return that loss, the mean over all devices."""
        device = self._fabric.device
        # Copies that block: the batch is overwritten when the next one is asked for.
        frames, label = torch.from_numpy(batch.iq).to(device), torch.from_numpy(batch.label).to(device)
        if self._settings.rotate:
            frames = rotated(frames, torch.from_numpy(phases[batch.position]).to(device))
        self._optimiser.zero_grad()
        loss = _loss(self._shared_model(frames), label, self._answers(frames), self._settings)
        self._fabric.backward(loss)
        self._scaled_optimiser.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self._model)
        return float(over_devices(self._fabric, loss.detach(), "mean"))

    def changed_by(self, change: Callable[[nn.Module], None]) -> None:
        """Let ``change`` work on the model, and on the average of its weights where there is one."""
        change(self._model)
        if self._averaged is not None:
            change(self._averaged.module)

    def settle(self) -> None:
        """Bring what is no gradient's into one state after an epoch: counts, and statistics that devices have of their own."""
        if self._averaged is not None:
            for averaged, current in zip(self._averaged.module.buffers(), self._model.buffers(), strict=True):
                # Of a count there is no average.
                if not averaged.is_floating_point():
                    averaged.copy_(current)
        if self._fabric.world_size > 1:
            for buffer in (*self._model.buffers(), *self.judged.buffers()):
                torch.distributed.broadcast(buffer, src=0)

    def _answers(self, frames: Tensor) -> Tensor | None:
        if self._teacher is None:
            return None
        with torch.no_grad(), self._fabric.autocast():
            return self._teacher(frames).float()  # type: ignore[no-any-return]


def over_devices(fabric: Fabric, value: Tensor, how: str) -> Tensor:
    """The "mean" or the "sum" of a value over all devices; on one device the value."""
    return value if fabric.world_size == 1 else cast(Tensor, fabric.all_reduce(value, reduce_op=how))


def rotated(iq: Tensor, phases: Tensor) -> Tensor:
    """Frames (n, 2, length) times exp(j ``phases``), phases (n,) in radians."""
    turned = (
        torch.view_as_complex(iq.movedim(1, 2).contiguous()) * torch.polar(torch.ones_like(phases), phases)[:, None]
    )
    return torch.view_as_real(turned).movedim(2, 1).contiguous()


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
