"""Channel pruning: what layer pruning is compared with. Torch-Pruning's dependency graph does the removal.

Fang et al., "DepGraph: towards any structural pruning" (2023): channels that are added, concatenated or normalised together go
together. Which go first is asked of an importance (:mod:`toolchain.baselines.criteria`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from deploy.errors import first_line
from toolchain.cost import cost
from toolchain.dataflow import checked_shape
from toolchain.errors import ModelError, PlanError
from toolchain.models import widths_between

# A group of channels that go together to a number for each; those with the least go first.
Importance = Callable[..., Tensor | None]
# What ranks the channels of the copy that is about to be pruned.
Ranker = Callable[[nn.Module], Importance]
# Each layer keeps a channel at the least.
MOST_OF_A_LAYER = 0.99
# Halvings of the share of channels that goes, which is then known finer than any layer is wide; fewer where the figure is met
# to this part of what is wanted.
HALVINGS, CLOSE = 14, 0.002


@dataclass(frozen=True)
class Scope:
    """Which channels of a model can go: not those that the modules ``ignored`` (paths) put out.

    ``inner`` is True where that leaves the inside of blocks alone, because the model fails when more goes; ``why`` says with
    what.
    """

    ignored: tuple[str, ...]
    inner: bool = False
    why: str = ""


@dataclass(frozen=True)
class Thinner:
    """A model with fewer channels, and the share of channels that was asked to go; ``figure`` is what was looked for."""

    model: nn.Module
    ratio: float
    figure: float


def scope_of(model: nn.Module, frame_shape: Sequence[int]) -> Scope:
    """What of ``model``, on frames (2, length), Torch-Pruning can take: found by trying on a copy.

    Raises PlanError, with the reasons, where it can take nothing.
    """
    frame_shape = checked_shape(frame_shape)
    logits = _logits_layer(model, frame_shape)
    whole = Scope((logits,))
    reasons: list[str] = []
    for scope in (whole, None):
        try:
            if scope is None:
                scope = Scope((logits, *_coupled(model, frame_shape)), inner=True, why=reasons[0])
            thinner = thinned(model, frame_shape, lambda _copy: tp.importance.MagnitudeImportance(p=1), 0.5, scope)
        except PlanError as error:
            reasons.append(str(error))
            continue
        if cost(thinner, frame_shape).macs < cost(model, frame_shape).macs:
            return scope
        reasons.append("no channel of it goes")
    raise PlanError(
        f"{type(model).__name__}: its channels cannot be pruned by Torch-Pruning: "
        f"{'; of the inner ones alone: '.join(reasons)}"
    )


def thinned(
    model: nn.Module,
    frame_shape: Sequence[int],
    ranker: Ranker,
    ratio: float,
    scope: Scope,
    *,
    everywhere: bool = False,
) -> nn.Module:
    """A new model without the least important ``ratio`` of channels; ``model`` stays as it was.

    Of each layer that part goes, or, ``everywhere``, of all layers together.

    Raises PlanError where Torch-Pruning fails on the model, and where what it leaves gives no logits.
    """
    thinner = copy.deepcopy(model).eval()
    frames = torch.zeros(2, *checked_shape(frame_shape))
    expected = _logits(model, frames).shape
    try:
        pruner_of(thinner, frame_shape, ranker(thinner), ratio, scope, everywhere=everywhere).step()
        logits = _logits(thinner, frames)
        widths_between(model, thinner)
    except ModelError as error:
        raise PlanError(str(error)) from error
    except Exception as error:  # Torch-Pruning fails on models that it does not know in many ways
        raise PlanError(_why(model, error)) from error
    if logits.shape != expected:
        raise PlanError(f"what is left gives {tuple(logits.shape)} for two frames, expected {tuple(expected)}")
    return thinner


def pruner_of(
    model: nn.Module,
    frame_shape: Sequence[int],
    importance: Importance,
    ratio: float,
    scope: Scope,
    *,
    everywhere: bool = False,
) -> Any:
    """Torch-Pruning's own pruner, which works on ``model`` itself."""
    with warnings.catch_warnings():
        # Of parameters that are in no module it knows: whether that matters is seen from what is left.
        warnings.simplefilter("ignore")
        return tp.pruner.BasePruner(
            model,
            torch.zeros(2, *checked_shape(frame_shape)),
            importance=importance,
            global_pruning=everywhere,
            pruning_ratio=ratio,
            max_pruning_ratio=MOST_OF_A_LAYER,
            ignored_layers=[model.get_submodule(path) for path in scope.ignored],
        )


def thinned_to(
    model: nn.Module,
    frame_shape: Sequence[int],
    ranker: Ranker,
    scope: Scope,
    figure: Callable[[nn.Module], float],
    wanted: float,
    *,
    everywhere: bool = False,
) -> Thinner:
    """The model whose ``figure`` (MACs, parameters, a latency) is nearest to ``wanted`` of all that were tried.

    The share of channels is found by halving, because the figure falls with it; by how much it is missed is for the caller to
    judge.

    Raises PlanError where nothing can be thinned.
    """
    low, high = 0.0, 1.0
    best: Thinner | None = None
    for _ in range(HALVINGS):
        ratio = (low + high) / 2
        thinner = thinned(model, frame_shape, ranker, ratio, scope, everywhere=everywhere)
        found = Thinner(thinner, ratio, figure(thinner))
        if best is None or abs(found.figure - wanted) < abs(best.figure - wanted):
            best = found
        if abs(found.figure - wanted) <= CLOSE * wanted:
            break
        low, high = (ratio, high) if found.figure > wanted else (low, ratio)
    assert best is not None  # there is one halving at least
    return best


def _why(model: nn.Module, error: Exception) -> str:
    """What Torch-Pruning failed with; of a recurrent layer it asserts what does not hold, without a word."""
    recurrent = [type(module).__name__ for module in model.modules() if isinstance(module, nn.RNNBase)]
    about = f" (it has recurrent layers: {', '.join(sorted(set(recurrent)))})" if recurrent else ""
    return f"{first_line(error) or type(error).__name__}{about}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch-Pruning warns of parameters that are in no module it knows: whether that matters is seen from what is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _logits(model: nn.Module, frames: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(frames)
    return found


def _logits_layer(model: nn.Module, frame_shape: tuple[int, ...]) -> str:
    """The path of the last layer with products that runs, whose outputs are the classes."""
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, path=path: ran.append(path))
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    ]
    try:
        _logits(model, torch.zeros(2, *frame_shape))
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise PlanError(f"{type(model).__name__}: has no convolution and no dense layer, so no channels")
    return ran[-1]


def _coupled(model: nn.Module, frame_shape: tuple[int, ...]) -> list[str]:
    """The layers whose outputs are added to, or concatenated with, those of others, or go where nobody can follow them."""
    probed = copy.deepcopy(model).eval()
    layers = {
        module: path
        for path, module in probed.named_modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    }
    try:
        with _quiet():
            graph = tp.DependencyGraph().build_dependency(probed, torch.zeros(2, *frame_shape))
    except Exception as error:  # as above
        raise PlanError(_why(model, error)) from error
    return [path for module, path in layers.items() if not _alone(graph, module, layers)]


def _alone(graph: tp.DependencyGraph, module: nn.Module, layers: Mapping[Any, str]) -> bool:
    try:
        with _quiet():
            group = graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, idxs=[0])
    except Exception:  # a layer that it cannot follow stays as it is
        return False
    putting_out = {
        dep.target.module
        for dep, _ in group
        if dep.target.module in layers and graph.is_out_channel_pruning_fn(dep.handler)
    }
    return putting_out == {module}
