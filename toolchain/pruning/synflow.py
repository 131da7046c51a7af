"""Synaptic flow through a chain of units, in logarithms.

Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow" (2020): with every
weight at its absolute value and the non-linearities taken out, feed ones and sum the logits; that sum is the flow R. It
needs no data. What is added here: R is linear in the state at any cut of the chain, so one pass forward and one back
give, at every unit, the state that arrives and the vector g with R = <g, state>. A candidate then costs only its own units.
States are rescaled after every unit and the logarithm is carried: R grows by orders of magnitude a unit, and at depth
110 would leave float64. No flow at all is -inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.dataflow import checked_shape, dataflow
from toolchain.errors import PlanError
from toolchain.pruning.budget import whole_number
from toolchain.pruning.frames import require_finite
from toolchain.pruning.linear_network import LinearNetwork
from toolchain.pruning.span import Span
from toolchain.pruning.units import spans_of


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

    def take(self, chosen: Sequence[int]) -> Flow:
        """Those of the batch at the indices ``chosen``."""
        return Flow(self.state[list(chosen)], self.log[list(chosen)])

    def and_then(self, other: Flow) -> Flow:
        """Both batches as one; an empty one may be of states before what the other has passed."""
        if len(self.log) == 0 or len(other.log) == 0:
            return other if len(self.log) == 0 else self
        return Flow(torch.cat([self.state, other.state]), torch.cat([self.log, other.log]))

    def against(self, readout: Flow) -> Tensor:
        """Log <readout, state> for each state of the batch: (batch,). ``readout`` is a batch of one."""
        product = self.state.flatten(1) @ readout.state.flatten()
        return product.log() + self.log + readout.log


@dataclass(frozen=True)
class LinearChain:
    """A model made linear and taken apart: its n units, and the flow at every cut.

    ``arriving[i]`` is the state before unit i with all units before it whole, for i in 0..n; ``readout[i]`` is the
    gradient of R in the state before unit i with unit i and all after it whole, readout[n] that of the head alone.
    ``formless`` says of each piece that has no linear form why, by the unit's index or "stem", "head", "after unit i". A
    stand-in takes its place: the identity where it keeps the shape, else the mean everywhere.
    """

    network: LinearNetwork
    spans: tuple[Span, ...]
    arriving: tuple[Flow, ...]
    readout: tuple[Flow, ...]
    formless: dict[int | str, str]

    def step(self, index: int, flow: Flow, *, kept: bool) -> Flow:
        """``flow`` after unit ``index``, whole or reduced, and what follows it up to the next."""
        span = self.spans[index]
        last = index + 1 == len(self.spans)
        if not kept and span.kind == "removable" and (last or span.after == self.spans[index + 1].before):
            # Nothing is left of it, and nothing comes after it.
            return flow
        sums = None if kept else {skip.position: skip.shortcut for skip in span.skips}
        whole = kept or span.kind != "removable"
        return Flow(
            torch.vmap(lambda state: self.through(index, state, whole=whole, sums=sums))(flow.state), flow.log
        ).rescaled()

    def through(self, index: int, state: Tensor, *, whole: bool = True, sums: dict[int, int] | None = None) -> Tensor:
        """One state after unit ``index`` and what follows it; ``sums`` are those of which one operand counts."""
        span, run = self.spans[index], self.network.run
        if whole and index in self.formless:
            state = self._stand_in(state, span.before, span.after)
        elif whole:
            state = run(state, span.before, span.after, range(span.start, span.end), sums=sums)
        if index + 1 < len(self.spans):
            following = self.spans[index + 1]
            if f"after unit {index}" in self.formless:
                return self._stand_in(state, span.after, following.before)
            state = run(state, span.after, following.before, range(span.end, following.start))
        return state

    def log_flow(self, keep: Iterable[int]) -> float:
        """Log R of the network in which only the units ``keep`` (indices) are whole."""
        kept, flow = frozenset(keep), self.arriving[0]
        with torch.no_grad():
            for index in range(len(self.spans)):
                flow = self.step(index, flow, kept=index in kept)
            return float(flow.against(self.readout[-1]))

    def flows(self, kept: Iterable[int]) -> tuple[float, float]:
        """The log-flow of the whole network and of what is ``kept`` (indices), on one thread."""
        with one_thread():
            return self.log_flow(range(len(self.spans))), self.log_flow(kept)

    def told(self, log_flow: float) -> float | None:
        """``log_flow`` as a plan tells it: None where nothing flows, and where no unit has a linear form.

        The stand-ins of such units flow the same whichever are kept: a number of theirs would say nothing.
        """
        formless = all(index in self.formless for index in range(len(self.spans)))
        return None if formless or not math.isfinite(log_flow) else log_flow

    def _stand_in(self, state: Tensor, before: int, after: int) -> Tensor:
        shapes = self.network.flow.shapes
        return state if shapes[before] == shapes[after] else state.mean().expand(shapes[after])


def log_flow(
    model: nn.Module, keep: Iterable[int], frame_shape: Sequence[int], units: Sequence[str] | None = None
) -> float:
    """Log R (natural) of ``model`` with only the units ``keep`` (indices in execution order) left, on (2, length) frames.

    ``units`` are globs that name the units, as for :func:`toolchain.pruning.plan_layers`. -inf where nothing flows.

    Raises PlanError for an index that is no unit, or is fixed and left out, and for a layer that
    has no linear form.
    """
    require_finite(model)
    chain = linear_chain(model, frame_shape, units)
    asked = list(keep)
    kept = frozenset(number for index in asked if (number := whole_number(index)) is not None)
    if len(kept) < len(set(asked)) or not all(0 <= index < len(chain.spans) for index in kept):
        raise PlanError(f"keep = {asked}: expected indices of the model's units, 0 to {len(chain.spans) - 1}")
    needed = [index for index, span in enumerate(chain.spans) if span.kind == "fixed" and index not in kept]
    if needed:
        raise PlanError(
            f"units {needed} are fixed: {chain.spans[needed[0]].name}, {chain.spans[needed[0]].reason}; keep them"
        )
    if chain.formless:
        raise PlanError(f"SynFlow has no linear form for {'; '.join(chain.formless.values())}")
    return chain.log_flow(kept)


def synflow_scores(
    model: nn.Module, frame_shape: Sequence[int], units: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Log of the flow through each unit's weights, R(all) - R(its branch silenced): float64 (n,), natural logarithms.

    For a layer of a serial branch this is Tanaka's score, the sum of |theta dR/dtheta| over the layer; in a plain chain
    that is all of R, the same for every layer. NaN for a unit that has no linear form (a recurrent layer, a gate).
    """
    require_finite(model)
    chain = linear_chain(model, frame_shape, units)
    with torch.no_grad():
        return np.array([_score(chain, index) for index in range(len(chain.spans))])


def _score(chain: LinearChain, index: int) -> float:
    span, before, after = chain.spans[index], chain.arriving[index], chain.readout[index + 1]
    if index in chain.formless:
        return math.nan

    def carried(sums: dict[int, int]) -> float:
        state = chain.through(index, before.state[0], sums=sums)[None]
        return float(Flow(state, before.log).rescaled().against(after))

    if len(span.skips) == 1:
        # R is linear in the branch, so the difference is the branch's own flow; subtracting would lose digits.
        return carried({skip.position: skip.branch for skip in span.skips})
    total = carried({})
    if not span.skips or total == -math.inf:
        return total
    silenced = carried({skip.position: skip.shortcut for skip in span.skips})
    share = -math.expm1(silenced - total)
    return total + math.log(share) if share > 0 else -math.inf


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block: these layers are so small that several would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def linear_chain(model: nn.Module, frame_shape: Sequence[int], names: Sequence[str] | None = None) -> LinearChain:
    """Follow the flow through ``model`` both ways; the model is left as it was.

    Raises PlanError where the model has no units.
    """
    with one_thread():
        flow = dataflow(model, torch.ones(1, *checked_shape(frame_shape)))
        network = LinearNetwork(model, flow)
        spans = spans_of(model, flow, names)
        if all(span.kind == "fixed" for span in spans):
            raise PlanError(f"{type(model).__name__} has no unit that can be dropped")
        formless = _formless(network, spans)
        chain = LinearChain(network, tuple(spans), (), (), formless)
        zero = torch.zeros(1, dtype=torch.float64)
        arriving = [Flow(_stem(chain)[None], zero).rescaled()]
        with torch.no_grad():
            for index in range(len(spans)):
                arriving.append(chain.step(index, arriving[-1], kept=True))
        one = Flow(torch.ones(1, dtype=torch.float64), zero)
        readout = [_gradient(partial(_summed_logits, chain), arriving[-1].state[0], one)]
        for index in range(len(spans) - 1, -1, -1):
            readout.append(_gradient(partial(chain.through, index), arriving[index].state[0], readout[-1]))
        return LinearChain(network, tuple(spans), tuple(arriving), tuple(readout[::-1]), formless)


def _stem(chain: LinearChain) -> Tensor:
    """The state before the first unit when the model is fed ones; ones themselves where its stem has no linear form."""
    network, first = chain.network, chain.spans[0]
    source = network.flow.source
    if "stem" in chain.formless:
        return torch.ones(network.flow.shapes[first.before], dtype=torch.float64)
    state = torch.ones(network.flow.shapes[source], dtype=torch.float64)
    with torch.no_grad():
        return network.run(state, source, first.before, range(first.start))


def _summed_logits(chain: LinearChain, state: Tensor) -> Tensor:
    """R, given the state after the last unit; its plain sum where the head has no linear form."""
    network, last = chain.network, chain.spans[-1]
    if "head" not in chain.formless:
        state = network.run(state, last.after, network.flow.result, range(last.end, len(network.flow.operations)))
    return state.sum()[None]


def _gradient(function: Callable[[Tensor], Tensor], at: Tensor, outer: Flow) -> Flow:
    """The gradient of <outer, function> where the state is ``at``."""
    state = at.clone().requires_grad_()
    with torch.enable_grad():
        output = function(state)
        (gradient,) = torch.autograd.grad(output, state, grad_outputs=outer.state.reshape(output.shape))
    return Flow(gradient[None], outer.log).rescaled()


def _formless(network: LinearNetwork, spans: Sequence[Span]) -> dict[int | str, str]:
    flow = network.flow
    pieces: dict[int | str, tuple[int, int, range]] = {"stem": (flow.source, spans[0].before, range(spans[0].start))}
    for index, span in enumerate(spans):
        pieces[index] = (span.before, span.after, range(span.start, span.end))
        if index + 1 < len(spans):
            following = spans[index + 1]
            pieces[f"after unit {index}"] = (span.after, following.before, range(span.end, following.start))
    pieces["head"] = (spans[-1].after, flow.result, range(spans[-1].end, len(flow.operations)))
    reasons = {name: network.missing(*piece) for name, piece in pieces.items()}
    return {name: reason for name, reason in reasons.items() if reason}
