"""Synaptic flow through a chain of units, in logarithms.

Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow" (2020): with every
weight at its absolute value and the non-linearities taken out, feed ones and sum the logits; that sum is the flow R. It
needs no data. What is added here: R is linear in the state at any cut of the chain, so one pass forward and one back
give, at every unit, the state that arrives and the vector g with R = <g, state>. A candidate then costs only its own units.
States are rescaled after every unit and the logarithm is carried: R grows by orders of magnitude a unit, and at depth
110 would leave float64. No flow at all is -inf.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.errors import PlanError
from toolchain.models.residual import ResidualUnit
from toolchain.models.scaling import UnitRms
from toolchain.pruning.units import find_units


@dataclass(frozen=True)
class Flow:
    """A batch of non-negative states (batch, ...) whose true values are ``state * exp(log)``; ``log`` is (batch,)."""

    state: Tensor
    log: Tensor

    def rescaled(self) -> Flow:
        """The same flow with every state's largest value at 1."""
        peak = self.state.flatten(1).amax(dim=1)
        scale = torch.where(peak > 0, peak, torch.ones_like(peak))
        log = torch.where(peak > 0, self.log + scale.log(), -torch.inf)
        return Flow(self.state / scale.view(-1, *[1] * (self.state.dim() - 1)), log)

    def against(self, readout: Flow) -> Tensor:
        """Log <readout, state> for each state of the batch: (batch,). ``readout`` is a batch of one."""
        product = self.state.flatten(1) @ readout.state.flatten()
        return product.log() + self.log + readout.log


@dataclass(frozen=True)
class LinearChain:
    """A model made linear and taken apart: its n units, what each leaves when dropped, and the flow at every cut.

    ``arriving[i]`` is the state before unit i with all units before it whole, for i in 0..n; ``readout[i]`` is the
    gradient of R in the state before unit i with unit i and all after it whole, readout[n] that of the head alone.
    """

    units: tuple[ResidualUnit, ...]
    shortcuts: tuple[nn.Module, ...]
    arriving: tuple[Flow, ...]
    readout: tuple[Flow, ...]

    def step(self, index: int, flow: Flow, *, kept: bool) -> Flow:
        """``flow`` after unit ``index``, whole or reduced."""
        module = (self.units if kept else self.shortcuts)[index]
        if isinstance(module, nn.Identity):
            return flow
        return Flow(module(flow.state), flow.log).rescaled()

    def log_flow(self, keep: Iterable[int]) -> float:
        """Log R of the network in which only the units ``keep`` (indices) are whole."""
        kept, flow = frozenset(keep), self.arriving[0]
        with torch.no_grad():
            for index in range(len(self.units)):
                flow = self.step(index, flow, kept=index in kept)
            return float(flow.against(self.readout[-1]))


def log_flow(model: nn.Module, keep: Iterable[int], frame_shape: Sequence[int]) -> float:
    """Log R (natural) of ``model`` with only the units ``keep`` (indices in execution order) left, on (2, length) frames.

    -inf where nothing flows. Raises PlanError for an index that is no unit, or a layer that has no linear form.
    """
    chain = linear_chain(model, frame_shape)
    kept = frozenset(keep)
    wrong = sorted(index for index in kept if not 0 <= index < len(chain.units))
    if wrong:
        raise PlanError(f"units {wrong} do not exist: the model has units 0 to {len(chain.units) - 1}")
    return chain.log_flow(kept)


def synflow_scores(model: nn.Module, frame_shape: Sequence[int]) -> NDArray[np.float64]:
    """Log of the flow that each unit's branch carries, R(all) - R(without the unit): float64 (n,), natural logarithms.

    For a layer of a serial branch this is Tanaka's score, the sum of |theta dR/dtheta| over the layer.
    """
    chain = linear_chain(model, frame_shape)
    scores = np.empty(len(chain.units))
    with torch.no_grad():
        for index, unit in enumerate(chain.units):
            # R is linear in the branch, so the difference is the branch's own flow; subtracting would lose digits.
            before = chain.arriving[index]
            carried = Flow(unit.branch(before.state), before.log).rescaled()
            scores[index] = float(carried.against(chain.readout[index + 1]))
    return scores


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block: these layers are so small that several would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def linear_chain(model: nn.Module, frame_shape: Sequence[int]) -> LinearChain:
    """Make a linear copy of ``model``, leave ``model`` as it was, and follow the flow through the copy both ways.

    Raises PlanError for a layer that has no linear form.
    """
    names = [unit.name for unit in find_units(model, np.zeros((1, *frame_shape), dtype=np.float32))]
    linear = linearised(model)
    units = [cast(ResidualUnit, linear.get_submodule(name)) for name in names]
    shortcuts = [unit.without_branch() for unit in units]
    arriving, last = _forward(linear, units, frame_shape)
    readout = _backward(units, arriving, last)
    return LinearChain(tuple(units), tuple(shortcuts), tuple(arriving), tuple(readout))


def _forward(linear: nn.Module, units: list[ResidualUnit], frame_shape: Sequence[int]) -> tuple[list[Flow], Flow]:
    """The state before each unit and after the last one, and the gradient of the summed logits in that last state."""
    arriving: list[Flow] = []
    zero = torch.zeros(1, dtype=torch.float64)

    def enter(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        arriving.append(Flow(inputs[0].detach(), zero).rescaled())
        return (arriving[0].state,)

    def leave(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        arriving.append(Flow(output.detach(), arriving[-1].log).rescaled())
        return arriving[-1].state.requires_grad_()

    hooks = [units[0].register_forward_pre_hook(enter), *(unit.register_forward_hook(leave) for unit in units)]
    with torch.enable_grad():
        total = linear(torch.ones(1, *frame_shape, dtype=torch.float64)).sum()
        (gradient,) = torch.autograd.grad(total, arriving[-1].state)
    for hook in hooks:
        hook.remove()
    arriving = [Flow(flow.state.detach(), flow.log) for flow in arriving]
    return arriving, Flow(gradient, zero).rescaled()


def _backward(units: list[ResidualUnit], arriving: list[Flow], last: Flow) -> list[Flow]:
    readout = [last]
    for unit, before in zip(reversed(units), reversed(arriving[:-1]), strict=True):
        state = before.state.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(unit(state), state, grad_outputs=readout[-1].state)
        readout.append(Flow(gradient, readout[-1].log).rescaled())
    return readout[::-1]


class _Scale(nn.Module):
    """BatchNorm in evaluation form, linearised: |gamma| / sqrt(running variance + eps) a channel."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        if norm.running_var is None:
            raise PlanError("a BatchNorm without running statistics has no evaluation form; train it with them")
        scale = (norm.running_var + norm.eps).rsqrt()
        self.scale = scale * norm.weight.detach().abs() if norm.affine else scale

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.view(1, -1, *[1] * (x.dim() - 2))


def linearised(model: nn.Module) -> nn.Module:
    """A float64 copy of ``model`` that is linear and positive: |weights|, no biases, no non-linearities.

    Raises PlanError that names the layers which have no such form.
    """
    linear = copy.deepcopy(model).double().eval().requires_grad_(False)
    unknown: list[str] = []
    for name, module in list(linear.named_modules()):
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.weight.abs_()
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            linear.set_submodule(name, _Scale(module))
        elif isinstance(module, nn.ReLU | UnitRms):
            linear.set_submodule(name, nn.Identity())
        elif not any(True for _ in module.children()) and not isinstance(module, _LINEAR_ALREADY):
            unknown.append(f"{name} ({type(module).__name__})")
    if unknown:
        raise PlanError(f"SynFlow has no linear form for {', '.join(unknown)}")
    return linear


_LINEAR_ALREADY = (nn.Identity, nn.Flatten, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AvgPool1d, nn.AvgPool2d)
