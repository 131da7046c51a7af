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
from toolchain.errors import PlanError
from toolchain.pruning import Budget, Plan, Unit
from toolchain.pruning.frames import as_frames
from toolchain.pruning.outputs import watch_outputs
from toolchain.pruning.plan import globs

# How much a probe's weights are held back, as a part of what its features, each scaled, weigh.
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
    unit's averaged output. Here it is a ridge regression onto the classes, of one half of the sample, judged by the other. A
    unit's gain is that over the unit before it, the first's over naming the most frequent class.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    frames = as_frames(sample.frames)

    def most_gained(found: Sequence[Unit], free: Sequence[int]) -> list[int]:
        told = probe_accuracies(model, frames, sample.labels, found, progress)
        guessed = np.unique(sample.labels, return_counts=True)[1].max() / len(sample.labels)
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
        told[index] = probe_accuracy(features_of(output), labels)
        progress(index + 1, len(units), f"probing {units[index].name}")

    watch_outputs(model, frames, units, keep)
    return told


def features_of(output: Tensor) -> NDArray[np.float64]:
    """What is averaged of a unit's output (n, ...): over all dimensions but one, for each of these: float64 (n, d).

    Channels are in the first dimension of a convolution, and in the last of tokens and of a recurrent layer.
    """
    real = torch.view_as_real(output.resolve_conj()) if output.is_complex() else output
    kept = [real.movedim(axis, 1).flatten(2).mean(dim=2) for axis in range(1, real.ndim)] if real.ndim > 2 else [real]
    features: NDArray[np.float64] = torch.cat(kept, dim=1).double().cpu().numpy()
    return features


def probe_accuracy(features: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The share of one half of ``features`` (n, d) that a classifier fitted to the other half takes for its label.

    Each class is halved. Raises PlanError where one has a single frame.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    in_order = np.argsort(numbers, kind="stable")
    within = np.arange(len(labels)) - np.searchsorted(numbers[in_order], numbers[in_order])
    counts = np.bincount(numbers)
    if counts.min() < 2:
        raise PlanError(
            f"a probe needs two frames of each class at the least, class {classes[counts.argmin()]} has one"
        )
    fitted, judged = in_order[within % 2 == 0], in_order[within % 2 == 1]
    centre, spread = features[fitted].mean(axis=0), features[fitted].std(axis=0)
    # What does not vary says nothing.
    rows = np.where(spread > 1e-9 * (1 + np.abs(centre)), (features - centre) / np.maximum(spread, 1e-300), 0.0)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    wanted = np.eye(len(classes))[numbers[fitted]]
    held_back = RIDGE * len(fitted) * np.eye(rows.shape[1])
    weights = np.linalg.solve(rows[fitted].T @ rows[fitted] + held_back, rows[fitted].T @ wanted)
    return float(((rows[judged] @ weights).argmax(axis=1) == numbers[judged]).mean())
