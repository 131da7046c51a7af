"""SR-init: units whose weights may as well be drawn anew go first."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from torch import nn

from deploy.progress import Progress, silent
from toolchain.baselines.ordered import plan_in_order
from toolchain.baselines.sample import Sample
from toolchain.baselines.scratch import from_scratch
from toolchain.models import edited
from toolchain.pruning import Budget, Plan, Unit
from toolchain.pruning.frames import as_frames
from toolchain.pruning.plan import globs
from toolchain.pruning.planning import seed_asked
from toolchain.training import logits_of

# Of each unit's weights, whose accuracies are averaged.
DRAWS = 3


def sr_init(
    model: nn.Module,
    sample: Sample,
    budget: Budget,
    *,
    seed: int,
    units: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Plan:
    """The units of ``model`` without whose trained weights most of the ``sample`` is mistaken.

    Tang, Lu and Xuan, "SR-init: an interpretable layer pruning method" (2023, arXiv 2303.07677): a layer's weights are drawn
    anew, as before training, BatchNorm's scales and statistics with them; where that costs little accuracy the layer goes.
    Each unit is drawn three times, by ``seed``.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    seed, frames = seed_asked(seed), as_frames(sample.frames)

    def most_missed(found: Sequence[Unit], free: Sequence[int]) -> list[int]:
        right = {}
        for number, index in enumerate(free):
            progress(number, len(free), f"drawing {found[index].name} anew")
            entropy = np.random.SeedSequence([seed, index]).generate_state(DRAWS)
            draws = [drawn_anew(model, found[index], int(each)) for each in entropy]
            right[index] = float(np.mean([_share_right(each, frames, sample) for each in draws]))
            progress(number + 1, len(free), f"drawing {found[index].name} anew")
        return sorted(free, key=lambda index: (right[index], index))

    return plan_in_order(
        model, frames, budget, most_missed, units=globs(units), score="sr-init", seed=seed, baseline="sr-init"
    )


def drawn_anew(model: nn.Module, unit: Unit, seed: int) -> nn.Module:
    """A new model in which what goes with ``unit`` has the weights of an untrained one; what it would leave stays trained.

    Raises PlanError for a module that does not say how its weights start.
    """
    stays = dict(edited(model, unit.edits).named_parameters())
    gone = {name for name, _ in model.named_parameters() if name not in stays}
    # With the statistics of what goes.
    owners = {name.rpartition(".")[0] for name in gone}
    fresh = from_scratch(model, seed).state_dict()
    anew = copy.deepcopy(model)
    own = anew.state_dict()
    for name in own:
        if name in gone or (name.rpartition(".")[0] in owners and name not in stays):
            own[name].copy_(fresh[name])
    return anew


def _share_right(model: nn.Module, frames: np.ndarray, sample: Sample) -> float:
    return float((logits_of(model, frames).argmax(dim=1).numpy() == sample.labels).mean())
