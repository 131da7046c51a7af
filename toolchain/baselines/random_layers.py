"""Units drawn at random: what every way of choosing has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from toolchain.baselines.ordered import plan_in_order
from toolchain.pruning import Budget, Plan, Unit
from toolchain.pruning.frames import as_frames
from toolchain.pruning.plan import globs
from toolchain.pruning.planning import seed_asked


def random_layers(
    model: nn.Module,
    frames: ArrayLike | Tensor,
    budget: Budget,
    *,
    seed: int,
    units: Sequence[str] | None = None,
) -> Plan:
    """Units of ``model`` drawn from the whole network, without blocks; ``frames`` (batch, 2, length) say the shape alone.

    The units that can be dropped are put into one random order, by ``seed``. A plan of m units keeps the fixed ones and
    the first of that order, so a larger plan holds every smaller one; within a cut or a latency that order is gone through,
    and each unit that still fits is kept.

    Raises PlanError for what cannot be made, as :func:`toolchain.pruning.plan_layers`.
    """
    rng = np.random.default_rng(seed := seed_asked(seed))

    def drawn(_units: Sequence[Unit], free: Sequence[int]) -> list[int]:
        order: list[int] = rng.permutation(free).tolist()
        return order

    return plan_in_order(
        model, as_frames(frames), budget, drawn, units=globs(units), score="random", seed=seed, baseline="random"
    )
