"""The work of a comparison that prunes: each method brings a trained model to a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from deploy.progress import Progress
from toolchain.baselines import BASELINES, Sample, criterion_of, from_scratch, scope_of, thinned_to
from toolchain.compared import OURS
from toolchain.comparison.frames import FramesAsked, frames_of
from toolchain.comparison.grid import Asked
from toolchain.comparison.methods import KINDS, SOFT
from toolchain.cost import cost
from toolchain.errors import NoRoomError
from toolchain.models import ModelCard, Width, load_model, save_model, widths_between
from toolchain.pruning import Budget, Choices, Plan, apply_plan, planned, pruned_card
from toolchain.recipe import ChoicesTable

PRUNED = "pruned.safetensors"
# How near a method has to come to the figure that it is brought to, as a part of the original's.
NEAR = 0.02
# The share of the original's figure (MACs, parameters, a latency) that a model has.
Share = Callable[[nn.Module, ModelCard], float]


@dataclass(frozen=True, kw_only=True)
class PruneAsked:
    """A method and a budget, for "original" among the job's models.

    ``wanted`` is the share that channel methods are brought to, ``choices`` are those of our own method; "shape" among the
    models is what is trained from scratch.
    """

    method: str
    asked: Asked
    frames: FramesAsked
    architecture: str
    choices: ChoicesTable
    wanted: float | None = None


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What all methods start from: a trained model, its card, training frames to look at, and a seed."""

    model: nn.Module
    card: ModelCard
    sample: Sample
    seed: int

    @property
    def shape(self) -> tuple[int, int]:
        """That of a frame."""
        return (2, self.card.length)


def prune(
    asked: PruneAsked, models: Mapping[str, Path], folder: Path, progress: Progress
) -> tuple[dict[str, Any], Path | None]:
    """Bring the original to a budget of MACs or parameters by a method."""
    start, left = opened(asked, models), 1.0 - asked.asked.value
    kind = KINDS[asked.method]
    share = count_share(asked.asked, start)
    if kind == "scratch":
        return untrained(start, models["shape"], left, share, folder)
    if kind == "layers":
        plan = _nearest_plan(asked, start, progress)
        return layers_dropped(start, plan, left, share, folder)
    return channels_dropped(asked, start, left, share, folder)


def budget_of(asked: Asked) -> Budget:
    """A budget of what is counted."""
    return Budget(macs_cut=asked.value) if asked.kind == "macs_cut" else Budget(params_cut=asked.value)


def opened(asked: PruneAsked, models: Mapping[str, Path]) -> Opened:
    """What a method starts from."""
    model, card = load_model(models["original"], trusted=asked.architecture)
    seed = asked.frames.seed
    return Opened(model=model, card=card, sample=frames_of(asked.frames).sample(asked.choices.frames, seed), seed=seed)


def count_share(asked: Asked, start: Opened) -> Share:
    """The share of MACs or parameters."""
    name = asked.kind.removesuffix("_cut")
    whole = getattr(cost(start.model, start.shape), name)
    return lambda model, _: float(getattr(cost(model, start.shape), name) / whole)


def planned_by(asked: PruneAsked, start: Opened, budget: Budget, progress: Progress) -> Plan:
    """The plan of a method that takes out layers; raises PlanError where there is none within the budget."""
    table = asked.choices.model_dump(exclude={"frames"})
    if asked.method == OURS:
        choices = Choices(budget=budget, seed=start.seed, **table)
        return planned(start.model, start.sample.frames, choices, progress=progress)[0]
    units = asked.choices.units
    return BASELINES[asked.method](start.model, start.sample, budget, seed=start.seed, units=units)


def _nearest_plan(asked: PruneAsked, start: Opened, progress: Progress) -> Plan:
    """The plan within the budget, or the nearest there is, where that is as near as channel methods have to come."""
    try:
        return planned_by(asked, start, budget_of(asked.asked), progress)
    except NoRoomError as error:
        if not error.most or error.most < asked.asked.value - NEAR:
            raise
        return planned_by(asked, start, budget_of(replace(asked.asked, value=error.most)), progress)


def layers_dropped(start: Opened, plan: Plan, left: float, share: Share, folder: Path) -> tuple[dict[str, Any], Path]:
    """The model of a plan."""
    model, card = apply_plan(plan, start.model), pruned_card(start.card, plan)
    layers = {
        "units": [unit.name for unit in plan.units],
        "kept": list(plan.kept),
        "boundaries": list(plan.boundaries),
        "scored_by": list(plan.scored_by),
    }
    reached = share(model, card)
    save_model(folder / PRUNED, model, card)
    return {"asked": left, "wanted": left, "reached": reached, "layers": layers}, folder / PRUNED


def channels_dropped(
    asked: PruneAsked, start: Opened, left: float, share: Share, folder: Path, *, close: float | None = None
) -> tuple[dict[str, Any], Path]:
    """The model of a channel method, whose share is as near to ``asked.wanted`` as it can be brought."""
    wanted = left if asked.wanted is None else asked.wanted
    scope = scope_of(start.model, start.shape)
    criterion = criterion_of("l2" if asked.method == SOFT else asked.method)
    scores = criterion.scores(start.model, start.sample, start.seed)
    found = thinned_to(
        start.model, start.shape, scores, scope, lambda model: share(model, thinner_card(start, model)), wanted,
        everywhere=criterion.everywhere, **({} if close is None else {"close": close}),
    )  # fmt: skip
    save_model(folder / PRUNED, found.model, thinner_card(start, found.model))
    told = {
        "asked": left,
        "wanted": wanted,
        "reached": found.figure,
        "within": abs(found.figure - wanted) <= NEAR,
        "ratio": found.ratio,
        "inner": scope.inner,
    }
    return told, folder / PRUNED


def untrained(start: Opened, shape: Path, left: float, share: Share, folder: Path) -> tuple[dict[str, Any], Path]:
    """The model of the same shape that was never trained."""
    small, card = load_model(shape, trusted=start.card.architecture)
    fresh = from_scratch(small, start.seed)
    reached = share(fresh, card)
    save_model(folder / PRUNED, fresh, card)
    return {"asked": left, "wanted": left, "reached": reached}, folder / PRUNED


def thinner_card(start: Opened, model: nn.Module) -> ModelCard:
    """The card of ``model``, which has fewer channels than the one that was started from."""
    between: dict[str, Width] = {
        width.module: width for width in (*start.card.widths, *widths_between(start.model, model))
    }
    return replace(start.card, widths=tuple(between.values()))
