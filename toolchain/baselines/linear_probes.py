"""Linear classifier probes: units after which the classes can be told no better than before go first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.progress import Progress, silent
from toolchain.baselines.ordered import plan_in_order
from toolchain.baselines.sample import Sample
from toolchain.pruning import Budget, Plan, Unit
from toolchain.pruning.frames import as_frames
from toolchain.pruning.outputs import watch_outputs
from toolchain.pruning.plan import globs

# How much a probe's weights are held back, as a part of the mean square of its features.
RIDGE = 1e-2


def linear_probes(
    model: nn.Module,
    sample: Sample,
    budget: Budget,
    *,
    units: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Plan:
    """The units of ``model`` whose outputs tell the classes of the ``sample`` better than those before them.

    Chen and Zhao, "Shallowing deep networks: layer-wise pruning based on feature representations" (2018), by the probes of
    Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2016): a linear classifier of each
    unit's output, averaged over time. Here it is a ridge regression onto the classes, of one half of the sample, judged by the
    other. A unit's gain is that over the unit before it, the first's over guessing.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    frames = as_frames(sample.frames)

    def most_gained(found: Sequence[Unit], free: Sequence[int]) -> list[int]:
        told = probe_accuracies(model, frames, sample.labels, found, progress)
        guessed = 1 / len(np.unique(sample.labels))
        gains = np.diff(told, prepend=guessed)
        return sorted(free, key=lambda index: (-gains[index], index))

    return plan_in_order(model, frames, budget, most_gained, units=globs(units), score="lcp", baseline="lcp")


def probe_accuracies(
    model: nn.Module,
    frames: NDArray[np.float32],
    labels: NDArray[np.int64],
    units: Sequence[Unit],
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """How well a linear classifier tells ``labels`` from each unit's output: a fraction a unit (n,)."""
    told = np.zeros(len(units))

    def keep(index: int, output: Tensor) -> None:
        features = output.flatten(2).mean(dim=2) if output.ndim > 2 else output
        told[index] = probe_accuracy(features.double(), torch.from_numpy(labels))
        progress(index + 1, len(units), f"probing {units[index].name}")

    watch_outputs(model, frames, units, keep)
    return told


def probe_accuracy(features: Tensor, labels: Tensor) -> float:
    """The share of every second of ``features`` (n, d) that a classifier fitted to the others takes for its label."""
    classes = int(labels.max()) + 1
    fitted, judged = features[::2], features[1::2]
    centre, spread = fitted.mean(dim=0), fitted.std(dim=0).clamp_min(1e-12)
    rows = torch.cat([(fitted - centre) / spread, torch.ones(len(fitted), 1)], dim=1)
    wanted = torch.nn.functional.one_hot(labels[::2], classes).double()
    held_back = RIDGE * len(rows) * torch.eye(rows.shape[1])
    weights = torch.linalg.solve(rows.T @ rows + held_back.double(), rows.T @ wanted)
    answers = torch.cat([(judged - centre) / spread, torch.ones(len(judged), 1)], dim=1) @ weights
    return float((answers.argmax(dim=1) == labels[1::2]).double().mean())
