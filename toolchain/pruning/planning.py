"""From a trained model to a plan: similarity, segmentation, selection, within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deploy.progress import Progress, silent
from toolchain.cost import Cost, cost
from toolchain.errors import PlanError
from toolchain.pruning.budget import Budget, Savings, Share, most_kept, units_to_keep
from toolchain.pruning.plan import Plan
from toolchain.pruning.scores import DIRECTED, SCORES, Choosing
from toolchain.pruning.segmentation import Segmentation, choose_blocks, scatter_of, segmentations
from toolchain.pruning.selection import Choice, Direction, quotas
from toolchain.pruning.similarity import SIMILARITIES, similarity_matrix
from toolchain.pruning.synflow import one_thread
from toolchain.pruning.units import Unit, find_units

Matrix = NDArray[np.float64]
Frames = NDArray[np.float32]

# How a layer's row of the similarity matrix becomes its signature (n, d).
SIGNATURES: dict[str, Callable[[Matrix], Matrix]] = {
    "row": lambda matrix: matrix,
    "sum": lambda matrix: matrix.sum(axis=1, keepdims=True),
}
# Candidates whose flow a plan remembers, a block.
MOST_FLOWS = 101


def plan_layers(
    model: nn.Module,
    frames: Frames,
    *,
    keep: int | float | None = None,
    macs_cut: float | None = None,
    params_cut: float | None = None,
    similarity: str = "cka",
    signature: str = "row",
    blocks: int | str = "auto",
    score: str = "synflow",
    direction: Direction = "max",
    units: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Plan:
    """The units of ``model`` to keep, chosen on training ``frames`` (batch, 2, length).

    One budget: ``keep`` is a number of units, or as a float the fraction of them; ``macs_cut`` and ``params_cut`` are the
    least fraction of the model's that goes. ``blocks`` is a number, or ``"auto"``; ``score`` a key of
    :data:`toolchain.pruning.scores.SCORES`; ``units`` are globs that name the units; ``seed`` is for ``score = "random"``.

    Raises PlanError for what cannot be made, with the nearest that can, and where no flow passes the network.
    """
    budget = Budget(keep=keep, macs_cut=macs_cut, params_cut=params_cut)
    _check_settings(similarity=similarity, signature=signature, score=score, direction=direction)
    found = find_units(model, frames, units)
    progress(0, 3, "comparing units")
    matrix = similarity_matrix(model, frames, found, similarity)
    progress(1, 3, "cutting blocks")
    return plan_on(
        matrix,
        model,
        frames,
        found,
        budget=budget,
        similarity=similarity,
        signature=signature,
        blocks=blocks,
        score=score,
        direction=direction,
        names=units,
        seed=seed,
        progress=progress,
    )


def plan_on(
    matrix: Matrix,
    model: nn.Module,
    frames: Frames,
    units: Sequence[Unit],
    *,
    budget: Budget,
    similarity: str,
    signature: str,
    blocks: int | str,
    score: str,
    direction: Direction,
    names: Sequence[str] | None = None,
    seed: int = 0,
    boundaries: Sequence[int] | None = None,
    progress: Progress = silent,
) -> Plan:
    """As :func:`plan_layers`, on the similarity ``matrix`` (n, n) of ``units`` on ``frames`` that is there already.

    ``boundaries``, the first index of each block, are cuts that somebody else made: Fisher's are not asked for then.
    """
    _check_settings(similarity=similarity, signature=signature, score=score, direction=direction)
    signatures = SIGNATURES[signature](matrix)
    cuts = segmentations(signatures, len(matrix))
    shape = tuple(frames.shape[1:])
    given = Choosing(model, units, signatures, shape, names, np.random.default_rng(seed))
    if boundaries is not None:
        blocks = len(boundaries)
        cuts[blocks - 1] = Segmentation(tuple(boundaries), scatter_of(signatures, boundaries))
    layout = Layout(cuts, given.fixed, blocks)
    chosen: dict[tuple[range, int], tuple[Choice, str]] = {}

    def choices(share: Share) -> list[tuple[Choice, str]]:
        for block, quota in share:
            if (block, quota) not in chosen:
                chosen[block, quota] = _chosen(given, block, quota, score, direction)
                progress(len(chosen), max(len(chosen) + 1, len(share)), "selecting units")
        return [chosen[each] for each in share]

    def kept_of(share: Share) -> list[int]:
        return [index for choice, _ in choices(share) for index in choice.kept]

    whole = cost(model, shape)
    if budget.cut is None:
        share = next(layout.shares(layout.count(budget)))
    else:
        what, fraction = budget.cut
        savings = _savings(what, units, whole)
        share = most_kept(savings, fraction, layout.least, layout.shares, kept_of, what=f"{what}_cut")

    picked = choices(share)
    kept = tuple(index for choice, _ in picked for index in choice.kept)
    with one_thread():
        flow_whole = given.chain.log_flow(range(len(units)))
        flow_left = given.chain.log_flow(kept)
    if not math.isfinite(flow_left) and score == "synflow":
        which = "what would be kept of the network" if math.isfinite(flow_whole) else "the network"
        raise PlanError(
            f"no synaptic flow passes {which} (log-flow {flow_left}): a layer's weights are all zero; "
            "train the model, or keep more units"
        )
    asked = {name: value for name, value in vars(budget).items() if value is not None}
    return Plan(
        units=tuple(units),
        boundaries=tuple(block.start for block, _ in share),
        kept=kept,
        scores=tuple(_finite(choice.log_flow) for choice, _ in picked),
        scored_by=tuple(by for _, by in picked),
        candidate_log_flows=tuple(_thinned(choice.flows) for choice, _ in picked),
        log_flow=_finite(flow_left),
        log_flow_whole=_finite(flow_whole),
        losses=tuple(each.loss for each in cuts),
        params=whole.params,
        macs=whole.macs,
        frame_shape=shape,
        settings={
            **asked,
            "frames": len(frames),
            "similarity": similarity,
            "signature": signature,
            "blocks": blocks,
            "score": score,
            "direction": direction,
            **({} if names is None else {"units": list(names)}),
            **({"seed": seed} if score == "random" else {}),
        },
    )


class Layout:
    """How many blocks there are, and what each keeps, for any number of units to keep."""

    def __init__(self, cuts: Sequence[Segmentation], fixed: frozenset[int], blocks: int | str) -> None:
        self.cuts, self.fixed, self.blocks, self.units = cuts, fixed, blocks, len(cuts)
        whole_number = isinstance(blocks, int) and not isinstance(blocks, bool)
        if blocks != "auto" and not (whole_number and 1 <= int(blocks) <= self.units):
            raise PlanError(f'blocks = {blocks}: expected "auto" or a number from 1 to the {self.units} units')

    @property
    def least(self) -> int:
        """The fewest units that can be kept."""
        return self._least_of(1 if self.blocks == "auto" else int(self.blocks))

    def count(self, budget: Budget) -> int:
        """The number of units that a budget of units keeps; PlanError where they are too few."""
        assert budget.keep is not None  # it is no budget of MACs or parameters
        keep = units_to_keep(budget.keep, self.units)
        if keep >= self.least:
            return keep
        if self.blocks != "auto":
            raise PlanError(
                f"{self.blocks} blocks keep at least {self.least} units, and keep asks for {keep} of {self.units}"
            )
        raise PlanError(
            f"keep = {budget.keep} asks for {keep} of {self.units} units, but {len(self.fixed)} are fixed and always kept; "
            f"expected {self.least} to {self.units}"
        )

    def shares(self, keep: int) -> Iterator[Share]:
        """The ways to share ``keep`` units out: the blocks that the curve asks for, and where they are automatic fewer ones.

        With too few units for the blocks that the curve asks for an automatic number shrinks; and where a cut is not met by
        so many units in these blocks, it may be in others.
        """
        wanted = choose_blocks([cut.loss for cut in self.cuts]) if self.blocks == "auto" else int(self.blocks)
        for number in range(wanted, 0 if self.blocks == "auto" else wanted - 1, -1):
            if self._least_of(number) <= keep:
                ranges = self._ranges(number)
                shared = quotas([len(block) for block in ranges], [self._fixed_in(block) for block in ranges], keep)
                yield list(zip(ranges, shared, strict=True))

    def _ranges(self, number: int) -> list[range]:
        starts = self.cuts[number - 1].boundaries
        return [range(start, end) for start, end in zip(starts, (*starts[1:], self.units), strict=True)]

    def _least_of(self, number: int) -> int:
        return sum(max(1, self._fixed_in(block)) for block in self._ranges(number))

    def _fixed_in(self, block: range) -> int:
        return len(self.fixed.intersection(block))


def _chosen(given: Choosing, block: range, quota: int, score: str, direction: Direction) -> tuple[Choice, str]:
    """The choice in a block, and by what: one in which SynFlow has no form for a unit goes by the medoid."""
    by = score
    if score == "synflow" and any(index in given.chain.formless for index in block):
        by = "medoid"
    return SCORES[by](given, block, quota, direction), by


def _savings(what: str, units: Sequence[Unit], whole: Cost) -> Savings:
    each = tuple(
        float(unit.macs - unit.shortcut_macs if what == "macs" else unit.params - unit.shortcut_params)
        for unit in units
    )
    droppable = tuple(index for index, unit in enumerate(units) if unit.kind != "fixed")
    return Savings(whole.macs if what == "macs" else whole.params, each, droppable)


def check_budget(units: Sequence[Unit], whole: Cost, budget: Budget, blocks: int | str) -> None:
    """Say before any work what can be known: raise PlanError for a budget that no plan of ``units`` can meet."""
    fixed = sum(unit.kind == "fixed" for unit in units)
    least = max(1, fixed, blocks if isinstance(blocks, int) else 1)
    if budget.keep is not None:
        keep = units_to_keep(budget.keep, len(units))
        if keep < least:
            why = (
                f"{fixed} are fixed and always kept"
                if fixed == least
                else f"each of {blocks} blocks keeps one at least"
            )
            raise PlanError(
                f"keep = {budget.keep} keeps {keep} of {len(units)} units, but {why}; expected {least} to {len(units)}"
            )
    if budget.cut is not None:
        what, fraction = budget.cut
        most = _savings(what, units, whole).most([(range(len(units)), least)])
        if most < fraction:
            raise PlanError(
                f"{what}_cut = {fraction:g}: dropping whole units removes at most {most:.2%} of this model's "
                f"{'MACs' if what == 'macs' else 'parameters'}; ask for less, or prune channels as well"
            )


def _check_settings(*, similarity: str, signature: str, score: str, direction: str) -> None:
    tables: dict[str, tuple[str, Sequence[str]]] = {
        "similarity": (similarity, tuple(SIMILARITIES)),
        "signature": (signature, tuple(SIGNATURES)),
        "score": (score, tuple(SCORES)),
        "direction": (direction, ("max", "min")),
    }
    for name, (value, known) in tables.items():
        if value not in known:
            raise PlanError(f'{name} "{value}" is not one of {", ".join(known)}')
    if direction == "min" and score not in DIRECTED:
        raise PlanError(f'direction "min" is for score {" and ".join(DIRECTED)}; score "{score}" has no direction')


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _thinned(flows: Sequence[float]) -> tuple[float, ...]:
    finite = [flow for flow in flows if math.isfinite(flow)]
    if len(finite) <= MOST_FLOWS:
        return tuple(finite)
    return tuple(finite[round(at)] for at in np.linspace(0, len(finite) - 1, MOST_FLOWS))
