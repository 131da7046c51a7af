"""What channels are ranked by: a criterion is one function that gives an importance, and one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
import torch_pruning as tp
from numpy.typing import ArrayLike
from torch import Tensor, nn

from toolchain.baselines.channels import Importance, Ranker
from toolchain.baselines.sample import Sample
from toolchain.errors import PlanError
from toolchain.models.modes import evaluating

# Frames whose feature maps or gradients are looked at, a batch at a time.
BATCH = 64
# Cells of the histogram of a feature map, as in RFP.
BINS = 10


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """How channels are ranked, by a model, a sample and a seed.

    ``everywhere`` in one order of all layers, as its authors do, or each layer by itself.
    """

    ranker: Callable[[nn.Module, Sample, int], Ranker]
    everywhere: bool = False


def _by_weights(importance: Importance) -> Callable[[nn.Module, Sample, int], Ranker]:
    return lambda _model, _sample, _seed: lambda _copy: importance


def taylor(model: nn.Module, sample: Sample, _seed: int) -> Ranker:
    """What the loss would change by to first order: |weight x gradient|, summed over a channel's weights.

    Molchanov et al., "Importance estimation for neural network pruning" (2019). Gradients are those of the cross-entropy over
    the sample.
    """
    for parameter in model.parameters():
        parameter.grad = None
    with evaluating(model), torch.enable_grad():
        for frames, labels in _batches(sample):
            loss = F.cross_entropy(model(frames), labels, reduction="sum") / len(sample.labels)
            torch.autograd.backward(loss)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = None

    def ranker(copy: nn.Module) -> Importance:
        for name, parameter in copy.named_parameters():
            gradient = gradients[name]
            parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient.clone()
        importance: Importance = tp.importance.GroupTaylorImportance()
        return importance

    return ranker


def feature_entropy(model: nn.Module, sample: Sample, _seed: int) -> Ranker:
    """How much there is to know in a channel's feature maps: the entropy of the histogram of their means over frames.

    "RFP": Luo and Wu, "An entropy-based pruning method for CNN compression" (2017): global average pooling, then the entropy
    of ten cells between a channel's least and largest value.
    """
    means: dict[str, list[Tensor]] = {}

    def keep(path: str, module: nn.Module, _inputs: object, output: Tensor) -> None:
        # A dense layer has its channels last, a convolution behind the batch.
        by_channel = output.movedim(-1, 1) if isinstance(module, nn.Linear) else output
        means.setdefault(path, []).append(by_channel.flatten(2).mean(dim=2) if output.ndim > 2 else output)

    hooks = [module.register_forward_hook(partial(keep, path)) for path, module in _layers(model).items()]
    try:
        with evaluating(model), torch.no_grad():
            for frames, _ in _batches(sample):
                model(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return _by_table({path: torch.as_tensor(_entropies(torch.cat(rows).numpy())) for path, rows in means.items()})


def drawn(model: nn.Module, _sample: Sample, seed: int) -> Ranker:
    """Any channel as well as any other: one random order of all, by the seed."""
    generator = torch.Generator().manual_seed(seed)
    return _by_table(
        {path: torch.rand(_outputs(module), generator=generator) for path, module in _layers(model).items()}
    )


def _batches(sample: Sample) -> Iterator[tuple[Tensor, Tensor]]:
    frames, labels = torch.from_numpy(sample.frames), torch.from_numpy(sample.labels)
    return zip(torch.split(frames, BATCH), torch.split(labels, BATCH), strict=True)


def _entropies(values: ArrayLike) -> np.ndarray:
    """The entropy in bits of each column's histogram of BINS cells."""
    found = []
    for column in np.asarray(values).T:
        counts, _ = np.histogram(column, bins=BINS)
        shares = counts[counts > 0] / counts.sum()
        found.append(-(shares * np.log2(shares)).sum())
    return np.array(found)


def _outputs(layer: nn.Module) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else int(cast(Any, layer).out_channels)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return {path: module for path, module in model.named_modules() if isinstance(module, kinds)}


def _by_table(scores: Mapping[str, Tensor]) -> Ranker:
    """Rank by a number for each output of each layer; of channels that go together by the mean over their layers."""

    def ranker(copy: nn.Module) -> Importance:
        paths = {module: path for path, module in copy.named_modules()}

        def importance(group: tp.Group) -> Tensor | None:
            found = []
            for dep, indices in group:
                path = paths.get(dep.target.module, "")
                puts_out = dep.handler in (tp.prune_conv_out_channels, tp.prune_linear_out_channels)
                if path in scores and puts_out:
                    found.append(scores[path][indices])
            return torch.stack(found).mean(dim=0) if found else None

        return importance

    return ranker


CRITERIA: dict[str, Criterion] = {
    "l1": Criterion(ranker=_by_weights(tp.importance.GroupMagnitudeImportance(p=1))),
    "l2": Criterion(ranker=_by_weights(tp.importance.GroupMagnitudeImportance(p=2))),
    "fpgm": Criterion(ranker=_by_weights(tp.importance.FPGMImportance())),
    "bn-scale": Criterion(ranker=_by_weights(tp.importance.BNScaleImportance()), everywhere=True),
    "rfp": Criterion(ranker=feature_entropy),
    "taylor": Criterion(ranker=taylor, everywhere=True),
    "lamp": Criterion(ranker=_by_weights(tp.importance.LAMPImportance()), everywhere=True),
    "random-channels": Criterion(ranker=drawn),
}


def criterion_of(name: str) -> Criterion:
    """The criterion of that name; raises PlanError where there is none."""
    if name not in CRITERIA:
        raise PlanError(f'criterion "{name}" is not one of {", ".join(CRITERIA)}')
    return CRITERIA[name]
