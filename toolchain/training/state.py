"""All that changes while a model trains, to and from one file."""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


class Stateful(Protocol):
    """What changes as the model trains: the model, the optimiser, the averaged weights, the gradients' scale."""

    def state_dict(self) -> dict[str, Any]:
        """All of its state, by name."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take up what :meth:`state_dict` gave."""


@dataclass
class Reached:
    """How far a training is: plain values, the best weights so far among them.

    ``seconds`` is what was spent on it, in all processes one after the other.
    """

    step: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    seconds: float = 0.0

    def finish_epoch(self, loss: float, accuracy: float, judged: nn.Module) -> None:
        """Note an epoch's mean loss and validation accuracy; keep the weights of ``judged`` where it is the best."""
        if not self.epochs or accuracy >= self.epochs[self.best_epoch]["validation_accuracy"]:
            self.best_epoch = len(self.epochs)
            self.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in judged.state_dict().items()}
        self.epochs.append({"step": self.step, "loss": loss, "validation_accuracy": accuracy})

    def score_note(self) -> str:
        """The last validation accuracy in a few words, for a progress bar."""
        return f", validation {self.epochs[-1]['validation_accuracy']:.3f}" if self.epochs else ""


def save(path: Path, reached: Reached, parts: Mapping[str, Stateful]) -> None:
    """Write ``reached`` and the state of ``parts``, whole or not at all."""
    content = io.BytesIO()
    torch.save({**vars(reached), **{name: part.state_dict() for name, part in parts.items()}}, content)
    # Through Python's own file: a full disk is then an OSError, as everywhere.
    partial = path.with_suffix(".partial")
    partial.write_bytes(content.getbuffer())
    partial.replace(path)


def load(path: Path, parts: Mapping[str, Stateful]) -> Reached:
    """Take up in ``parts`` what :func:`save` wrote; a file that is damaged (the power went) counts as none."""
    if not path.is_file():
        return Reached()
    fresh = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        # Each part moves what it takes to its own device.
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(values.pop(name))
        return Reached(**values)
    except OSError:
        raise
    except Exception:  # torch raises whatever its unpickler met
        for name, part in parts.items():
            part.load_state_dict(fresh[name])
        log.warning("%s is damaged: training starts afresh", path)
        return Reached()
