"""Channel pruning: what layer pruning is compared with. Torch-Pruning's dependency graph says what goes together, and removes.

Fang et al., "DepGraph: towards any structural pruning" (2023): channels that are added, concatenated or normalised together go
together. Which go first is a matter of scores (:mod:`toolchain.baselines.criteria`). Which of them go is decided here: the
pruner that comes with the graph leaves a layer whole where all of its channels would go, so that models become larger again
as more is asked to go.
"""

from __future__ import annotations

import copy
import math
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

# A layer's path, and whether its channels are those that it puts "out" or reads "in", to a number for each.
Scores = Mapping[tuple[str, str], Tensor]
# Halvings of the share of channels that goes, which is then known finer than any layer is wide; fewer where the figure is met
# to this part of what is wanted, which suits what is counted.
HALVINGS, CLOSE = 14, 0.002
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


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
    reasons: list[str] = []
    for inner in (False, True):
        try:
            scope = Scope((logits,))
            if inner:
                scope = Scope((logits, *_coupled(model, frame_shape)), inner=True, why=reasons[0])
            thinner = thinned(model, frame_shape, _first_goes(model), 0.5, scope)
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
    scores: Scores,
    ratio: float,
    scope: Scope,
    *,
    everywhere: bool = False,
) -> nn.Module:
    """A new model without the ``ratio`` of channels that have the lowest ``scores``; ``model`` stays as it was.

    Of each layer that part goes, rounded down, or, ``everywhere``, of all layers together; one channel of each stays at the
    least. Of channels that go together the mean over their layers counts; equal ones go from the first on. A larger ratio
    leaves a part of what a smaller one leaves.

    Raises PlanError where Torch-Pruning fails on the model, and where what it leaves gives no logits.
    """
    thinner = copy.deepcopy(model).eval().requires_grad_(True)
    frames = _frames(thinner, frame_shape)
    expected = _logits(model, frames).shape
    try:
        graph = graph_of(thinner, frame_shape)
        for group, channels in going(graph, thinner, scores, ratio, scope, everywhere=everywhere):
            root = group[0].dep
            graph.get_pruning_group(root.target.module, root.handler, channels).prune()
        logits = _logits(thinner, frames)
        widths_between(model, thinner)
    except ModelError as error:
        raise PlanError(str(error)) from error
    except Exception as error:  # Torch-Pruning fails on models that it does not know in many ways
        raise PlanError(_why(model, error)) from error
    if logits.shape != expected:
        raise PlanError(f"what is left gives {tuple(logits.shape)} for two frames, expected {tuple(expected)}")
    for parameter, before in zip(thinner.parameters(), model.parameters(), strict=True):
        parameter.grad = None
        parameter.requires_grad_(before.requires_grad)
    return thinner


def going(
    graph: Any, model: nn.Module, scores: Scores, ratio: float, scope: Scope, *, everywhere: bool = False
) -> list[tuple[Any, list[int]]]:
    """The groups of ``model`` of which channels go, and the numbers of these channels; ratio as in :func:`thinned`."""
    paths = {module: path for path, module in model.named_modules()}
    ignored = [model.get_submodule(path) for path in scope.ignored]
    ranked: list[tuple[Any, list[tuple[float, int]]]] = []
    for group in graph.get_all_groups(ignored_layers=ignored, root_module_types=list(LAYERS)):
        found = _score(group, paths, scores)
        if found is not None:
            # The best stays.
            ranked.append((group, sorted((float(score), channel) for channel, score in enumerate(found))[:-1]))
    if not everywhere:
        counts = [math.floor(ratio * (len(row) + 1) + 1e-9) for _, row in ranked]
        return [
            (group, [channel for _, channel in row[:count]])
            for (group, row), count in zip(ranked, counts, strict=True)
            if row[:count]
        ]
    total = sum(len(row) + 1 for _, row in ranked)
    every = sorted((score, number, channel) for number, (_, row) in enumerate(ranked) for score, channel in row)
    gone: dict[int, list[int]] = {}
    for _, number, channel in every[: math.floor(ratio * total + 1e-9)]:
        gone.setdefault(number, []).append(channel)
    return [(ranked[number][0], channels) for number, channels in sorted(gone.items())]


def _score(group: Any, paths: Mapping[nn.Module, str], scores: Scores) -> Tensor | None:
    """A number for each channel of a group: the mean over the layers that have one; None where none does."""
    count = len(group[0].idxs)
    total, layers = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    for item in group:
        module = item.dep.target.module
        way = "out" if item.dep.handler in PUT_OUT else "in"
        table = scores.get((paths.get(module, ""), way))
        if table is not None:
            roots = torch.tensor(item.root_idxs)
            total.index_add_(0, roots, table.double()[torch.tensor(item.idxs)])
            layers.index_add_(0, roots, torch.ones(len(roots), dtype=torch.float64))
    return total / layers if (layers > 0).all() else None


PUT_OUT = (
    tp.prune_conv_out_channels, tp.prune_depthwise_conv_out_channels, tp.prune_linear_out_channels,
    tp.prune_batchnorm_out_channels,
)  # fmt: skip
"""What of Torch-Pruning's functions takes channels that a layer puts out; the others take those that it reads."""


def thinned_to(
    model: nn.Module,
    frame_shape: Sequence[int],
    scores: Scores,
    scope: Scope,
    figure: Callable[[nn.Module], float],
    wanted: float,
    *,
    everywhere: bool = False,
    close: float = CLOSE,
) -> Thinner:
    """The model whose ``figure`` (MACs, parameters, a latency) is nearest to ``wanted`` of all that were tried.

    The share of channels is found by halving, because the figure falls with it, until it is met to a part of ``close``; by
    how much it is missed is for the caller to judge.

    Raises PlanError where no channel goes at any share.
    """
    low, high = 0.0, 1.0
    best: Thinner | None = None
    for _ in range(HALVINGS):
        ratio = (low + high) / 2
        found = thinned(model, frame_shape, scores, ratio, scope, everywhere=everywhere)
        reached = Thinner(found, ratio, figure(found))
        if best is None or abs(reached.figure - wanted) < abs(best.figure - wanted):
            best = reached
        if abs(reached.figure - wanted) <= close * wanted:
            break
        low, high = (ratio, high) if reached.figure > wanted else (low, ratio)
    if best is None or not widths_between(model, best.model):
        raise PlanError(f"{type(model).__name__}: these scores say nothing of any channel that can go")
    return best


def layers_of_model(model: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and dense layers of ``model``, by path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, LAYERS)}


def filters_of(layer: nn.Module, weights: Tensor) -> Tensor:
    """The ``weights`` of a layer, or what is as large, a row a channel that it puts out."""
    # A transposed convolution has its outputs second.
    return (weights.transpose(0, 1) if getattr(layer, "transposed", False) else weights).flatten(1)


def filter_norms(model: nn.Module, p: int) -> Scores:
    """The L1 or L2 norm of each channel's filter."""
    return {
        (path, "out"): torch.linalg.vector_norm(filters_of(layer, layer.weight.detach()).double().cpu(), ord=p, dim=1)
        for path, layer in layers_of_model(model).items()
        if isinstance(layer.weight, Tensor)
    }


def outputs_of(layer: nn.Module) -> int:
    """How many channels a convolution or dense layer puts out."""
    return layer.out_features if isinstance(layer, nn.Linear) else int(getattr(layer, "out_channels"))  # noqa: B009


def _first_goes(model: nn.Module) -> Scores:
    """Scores that let the first channels go: to try what can."""
    return {(path, "out"): torch.arange(float(outputs_of(layer))) for path, layer in layers_of_model(model).items()}


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


def graph_of(model: nn.Module, frame_shape: Sequence[int]) -> Any:
    """Torch-Pruning's dependency graph of ``model``, whose parameters take gradients."""
    with _quiet(), torch.enable_grad():
        return tp.DependencyGraph().build_dependency(model, _frames(model, frame_shape))


def _frames(model: nn.Module, frame_shape: Sequence[int]) -> Tensor:
    """Two frames of zeros, where the model is."""
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    return torch.zeros(2, *checked_shape(frame_shape), device=device)


def _logits(model: nn.Module, frames: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(frames)
    return found


def _logits_layer(model: nn.Module, frame_shape: tuple[int, ...]) -> str:
    """The path of the last layer with products that runs, whose outputs are the classes."""
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, path=path: ran.append(path))
        for path, module in layers_of_model(model).items()
    ]
    try:
        _logits(model, _frames(model, frame_shape))
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise PlanError(f"{type(model).__name__}: has no convolution and no dense layer, so no channels")
    return ran[-1]


def _coupled(model: nn.Module, frame_shape: tuple[int, ...]) -> list[str]:
    """The layers whose channels go with those of other layers, or where nobody can follow them."""
    probed = copy.deepcopy(model).eval().requires_grad_(True)
    layers = layers_of_model(probed)
    try:
        graph = graph_of(probed, frame_shape)
    except Exception as error:  # as above
        raise PlanError(_why(model, error)) from error
    known = set(layers.values())
    return [path for path, module in layers.items() if not _alone(graph, module, known)]


def _alone(graph: Any, module: nn.Module, layers: set[nn.Module]) -> bool:
    try:
        group = graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, idxs=[0])
    except Exception:  # a layer that it cannot follow stays as it is
        return False
    touched = [(dep.target.module, dep.handler) for dep, _ in group]
    if any(isinstance(each, nn.RNNBase) for each, _ in touched):
        # Its widths are not in a model's file.
        return False
    return {each for each, handler in touched if each in layers and handler in PUT_OUT} == {module}
