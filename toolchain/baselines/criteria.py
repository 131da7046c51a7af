"""What channels are ranked by: a criterion is one function that gives scores, and one line in the table.

A score is a number for each channel that a layer puts out (or one that it reads): of channels that go together the mean
counts, and those with the least go first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.baselines.channels import Scores, filter_norms, filters_of, layers_of_model, outputs_of
from toolchain.baselines.sample import Sample
from toolchain.errors import PlanError
from toolchain.models.modes import evaluating

# Frames whose feature maps or gradients are looked at, a batch at a time.
BATCH = 64
# Cells of the histogram of a feature map.
BINS = 10


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """How channels are ranked, by a model, a sample and a seed.

    ``everywhere`` in one order of all layers, as its authors do, or each layer by itself.
    """

    scores: Callable[[nn.Module, Sample, int], Scores]
    everywhere: bool = False


def norm(model: nn.Module, _sample: Sample, _seed: int, *, p: int) -> Scores:
    """The L1 or L2 norm of a channel's filter: Li et al., "Pruning filters for efficient ConvNets" (2017)."""
    return filter_norms(model, p)


def geometric_median(model: nn.Module, _sample: Sample, _seed: int) -> Scores:
    """How far a channel's filter is from all others of its layer together: one near their median is replaced by them.

    He et al., "Filter pruning via geometric median for deep convolutional neural networks acceleration" (2019), equation 6.
    """
    return _by_filters(model, lambda filters: torch.cdist(filters, filters).sum(dim=1))


def lamp(model: nn.Module, _sample: Sample, _seed: int) -> Scores:
    """The square of a filter's norm over the sum of those that are no smaller, so that layers compare.

    Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning" (2021), equation 2, for whole filters.
    """

    def scores(filters: Tensor) -> Tensor:
        squares = filters.square().sum(dim=1)
        order = torch.argsort(squares, stable=True)
        no_smaller = squares[order].flip(0).cumsum(0).flip(0)
        return torch.empty_like(squares).scatter_(0, order, squares[order] / no_smaller.clamp_min(1e-300))

    return _by_filters(model, scores)


def batchnorm_scale(model: nn.Module, _sample: Sample, _seed: int) -> Scores:
    """BatchNorm's scale: Liu et al., "Learning efficient convolutional networks through network slimming" (2017).

    Here the model was not trained to make scales small.
    """
    norms = {
        path: module for path, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    return {(path, "out"): module.weight.detach().abs().cpu() for path, module in norms.items() if module.affine}


def taylor(model: nn.Module, sample: Sample, _seed: int) -> Scores:
    """By what the loss would change to first order without a channel's filter: (sum of weight x gradient) squared.

    Molchanov et al., "Importance estimation for neural network pruning" (2019), equation 8; the mean over batches of the
    sample, of cross-entropy.
    """
    layers = layers_of_model(model)
    weights = [layer.weight for layer in layers.values() if isinstance(layer.weight, nn.Parameter)]
    were = [weight.requires_grad for weight in weights]
    totals = {path: torch.zeros(outputs_of(layer), dtype=torch.float64) for path, layer in layers.items()}
    try:
        for weight in weights:
            weight.requires_grad_(True)
        for frames, labels in _batches(sample):
            with evaluating(model), torch.enable_grad():
                loss = F.cross_entropy(model(frames.to(weights[0].device)), labels.to(weights[0].device))
                gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            for (path, layer), weight, gradient in zip(layers.items(), weights, gradients, strict=True):
                if gradient is not None:
                    change = filters_of(layer, (weight * gradient).detach()).sum(dim=1)
                    totals[path] += change.double().cpu().square() * len(frames) / len(sample.frames)
    finally:
        for weight, was in zip(weights, were, strict=True):
            weight.requires_grad_(was)
    return {(path, "out"): total for path, total in totals.items()}


def feature_entropy(model: nn.Module, sample: Sample, _seed: int) -> Scores:
    """How much there is to know in a channel: the entropy of the histogram of its means over the frames.

    Luo and Wu, "An entropy-based pruning method for CNN compression" (2017). It is looked at where a layer reads the channel,
    behind normalisation and activation.
    """
    means: dict[str, list[Tensor]] = {}

    def keep(path: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A dense layer has its channels last, a convolution behind the batch.
        values = inputs[0].movedim(-1, 1) if isinstance(module, nn.Linear) else inputs[0]
        means.setdefault(path, []).append(values.flatten(2).mean(dim=2).cpu() if values.ndim > 2 else values.cpu())

    hooks = [module.register_forward_pre_hook(partial(keep, path)) for path, module in layers_of_model(model).items()]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with evaluating(model):
            for frames, _ in _batches(sample):
                model(frames.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return {(path, "in"): torch.from_numpy(entropies(torch.cat(rows).numpy())) for path, rows in means.items()}


def drawn(model: nn.Module, _sample: Sample, seed: int) -> Scores:
    """Any channel as well as any other of its layer, by the seed."""
    generator = torch.Generator().manual_seed(seed)
    return {
        (path, "out"): torch.rand(outputs_of(layer), generator=generator)
        for path, layer in layers_of_model(model).items()
    }


def entropies(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The entropy in bits of each column of ``values`` (n, d): of a histogram of BINS cells from its least to its largest."""
    found = np.zeros(values.shape[1])
    for index, column in enumerate(values.T.astype(np.float64)):
        low, high = column.min(), column.max()
        # What differs by rounding alone says nothing.
        if high - low > 1e-6 * max(abs(low), abs(high)):
            counts, _ = np.histogram(column, bins=BINS)
            shares = counts[counts > 0] / counts.sum()
            found[index] = -(shares * np.log2(shares)).sum()
    return found


def _by_filters(model: nn.Module, score: Callable[[Tensor], Tensor]) -> Scores:
    """Scores of each layer's filters: (channels that it puts out, weights of each), in float64."""
    return {
        (path, "out"): score(filters_of(layer, layer.weight.detach()).double().cpu())
        for path, layer in layers_of_model(model).items()
        if isinstance(layer.weight, Tensor)
    }


def _batches(sample: Sample) -> Iterator[tuple[Tensor, Tensor]]:
    frames, labels = torch.from_numpy(sample.frames), torch.from_numpy(sample.labels)
    return zip(torch.split(frames, BATCH), torch.split(labels, BATCH), strict=True)


CRITERIA: dict[str, Criterion] = {
    "l1": Criterion(scores=partial(norm, p=1)),
    "l2": Criterion(scores=partial(norm, p=2)),
    "fpgm": Criterion(scores=geometric_median),
    "bn-scale": Criterion(scores=batchnorm_scale, everywhere=True),
    "rfp": Criterion(scores=feature_entropy),
    "taylor": Criterion(scores=taylor, everywhere=True),
    "lamp": Criterion(scores=lamp, everywhere=True),
    "random-channels": Criterion(scores=drawn),
}


def criterion_of(name: str) -> Criterion:
    """The criterion of that name; raises PlanError where there is none."""
    if name not in CRITERIA:
        raise PlanError(f'criterion "{name}" is not one of {", ".join(CRITERIA)}')
    return CRITERIA[name]
