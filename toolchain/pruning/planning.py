"""From a trained model to a plan: similarity, segmentation, selection, within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from deploy.progress import Progress, silent
from toolchain.cost import Cost, cost
from toolchain.errors import PlanError
from toolchain.pruning.budget import Budget, Room, count_to_keep, no_room, room_within, whole_number
from toolchain.pruning.frames import as_frames, require_finite
from toolchain.pruning.knapsack import most_flow
from toolchain.pruning.plan import Plan, globs, settings_of
from toolchain.pruning.scores import DIRECTED, SCORES, Choosing
from toolchain.pruning.segmentation import Segmentation, choose_blocks, scatter_of, segmentations
from toolchain.pruning.selection import MOST_EVALUATIONS, Choice, Direction, quotas
from toolchain.pruning.sharing import Choose, Kept, Share, largest_share, put_back, smallest_share
from toolchain.pruning.similarity import SIMILARITIES, similarity_matrix
from toolchain.pruning.synflow import LinearChain, linear_chain
from toolchain.pruning.units import Unit, find_units

Matrix = NDArray[np.float64]

# How a layer's row of the similarity matrix becomes its signature (n, d).
SIGNATURES: dict[str, Callable[[Matrix], Matrix]] = {
    "row": lambda matrix: matrix,
    "sum": lambda matrix: matrix.sum(axis=1, keepdims=True),
}
# Similarities are computed in float32: that signatures differ by this part of themselves is rounding.
SIMILARITY_ROUNDING = 1e-6
# What a latency is given to: the units with the most flow of the whole network, or each block its share of units; "auto" is
# the former where the flow of every unit is known.
ALLOTMENTS = ("auto", "flow", "shares")
# Candidates whose flow a plan remembers, a block.
MOST_FLOWS = 101


def plan_layers(
    model: nn.Module,
    frames: ArrayLike | Tensor,
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
    choices = Choices(
        budget=Budget(keep=keep, macs_cut=macs_cut, params_cut=params_cut),
        similarity=similarity,
        signature=signature,
        blocks=blocks,
        score=score,
        direction=direction,
        units=units,
        seed=seed,
    )
    return planned(model, frames, choices, progress=progress)[0]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a plan is asked for: its budget, and each choice of the method as :func:`plan_layers` describes it.

    The budget is None until it is known: that of a latency has to be measured first. ``allot``, of :data:`ALLOTMENTS`, is for
    that one alone.

    Raises PlanError for a choice that is in no table.
    """

    budget: Budget | None = None
    similarity: str = "cka"
    signature: str = "row"
    blocks: int | str = "auto"
    score: str = "synflow"
    direction: Direction = "max"
    allot: str = ALLOTMENTS[0]
    units: Sequence[str] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        tables: dict[str, Sequence[str]] = {
            "similarity": tuple(SIMILARITIES),
            "signature": tuple(SIGNATURES),
            "score": tuple(SCORES),
            "direction": ("max", "min"),
            "allot": ALLOTMENTS,
        }
        for name, known in tables.items():
            if getattr(self, name) not in known:
                raise PlanError(f'{name} "{getattr(self, name)}" is not one of {", ".join(known)}')
        if self.direction == "min" and self.score not in DIRECTED:
            raise PlanError(
                f'direction "min" is for score {" and ".join(DIRECTED)}; score "{self.score}" has no direction'
            )
        if self.allot == "flow" and self.score != "synflow":
            raise PlanError(f'allot "flow" is for score "synflow"; with score "{self.score}" blocks have shares')
        object.__setattr__(self, "units", globs(self.units))
        object.__setattr__(self, "seed", seed_asked(self.seed))


# Signatures (n, d) to the first index of each block: cuts that somebody else makes, where Fisher's are not asked for.
Cutting = Callable[[Matrix], Sequence[int]]


def planned(
    model: nn.Module,
    frames: ArrayLike | Tensor,
    choices: Choices,
    *,
    cutting: Cutting | None = None,
    progress: Progress = silent,
) -> tuple[Plan, Matrix]:
    """As :func:`plan_layers`, with the similarity matrix (n, n) that the plan was made on."""
    require_finite(model)
    frames = as_frames(frames)
    units = find_units(model, frames, choices.units)

    def comparing(done: int, total: int, note: str = "") -> None:
        # Selecting takes as many steps at the most, for all that can be told.
        progress(done, 2 * total, note)

    matrix = similarity_matrix(model, frames, units, choices.similarity, progress=comparing)
    return plan_on(matrix, model, frames, units, choices, cutting=cutting, progress=progress), matrix


def plan_on(
    matrix: Matrix,
    model: nn.Module,
    frames: ArrayLike | Tensor,
    units: Sequence[Unit],
    choices: Choices,
    *,
    cutting: Cutting | None = None,
    progress: Progress = silent,
) -> Plan:
    """As :func:`plan_layers`, on the similarity ``matrix`` (n, n) of ``units`` on ``frames`` that is there already."""
    require_finite(model)
    frames = as_frames(frames)
    if np.shape(matrix) != (len(units), len(units)):
        raise PlanError(
            f"similarities: got shape {np.shape(matrix)}, expected a row and a column for {len(units)} units"
        )
    budget, score = choices.budget, choices.score
    if budget is None:
        raise PlanError("a plan needs a budget: one of keep, macs_cut, params_cut, latency")
    signatures = _signatures(matrix, choices)
    cuts = segmentations(signatures, len(units))
    boundaries = None if cutting is None else tuple(cutting(signatures))
    blocks = blocks_asked(choices.blocks if boundaries is None else len(boundaries), len(units))
    if boundaries is not None:
        cuts[len(boundaries) - 1] = Segmentation(boundaries, scatter_of(signatures, boundaries))
    shape = tuple(frames.shape[1:])
    layout = _layout(cuts, units, blocks, signatures)
    chain = linear_chain(model, shape, choices.units)
    given = Choosing(model, units, signatures, chain, choices.seed, stay=layout.fixed)
    whole = cost(model, shape)

    @cache
    def choose(
        block: range,
        quota: int,
        *,
        stay: frozenset[int] = frozenset(),
        gone: frozenset[int] = frozenset(),
        quick: bool = False,
    ) -> Choice:
        progress(len(units) + min(choose.cache_info().currsize, len(units) - 1), 2 * len(units), "selecting units")
        most = MOST_EVALUATIONS // 10 if quick else MOST_EVALUATIONS
        now = replace(given, stay=layout.fixed | stay, gone=gone, evaluations=most)
        return _choice(now, block, quota, score, choices.direction)

    picked: list[Kept] = []
    allot = None if budget.latency is None else _allotment(chain, units, choices)
    if allot == "flow":
        room = room_within(budget, units, whole)
        picked = put_back(room, _bought(room, layout, given, choices.direction), choose)
    if not picked:
        # Of a flow that nothing fits for, this says what is nearest.
        picked = _picked(budget, layout, units, whole, choose)
    kept = tuple(index for _, choice in picked for index in choice.kept)
    flow_whole, flow_left = _flows(chain, kept, score)
    return Plan(
        units=tuple(units),
        boundaries=tuple(block.start for block, _ in picked),
        kept=kept,
        scores=tuple(chain.told(choice.log_flow) for _, choice in picked),
        scored_by=tuple(choice.scored_by for _, choice in picked),
        candidate_log_flows=tuple(_thinned(choice.flows) for _, choice in picked),
        log_flow=chain.told(flow_left),
        log_flow_whole=chain.told(flow_whole),
        losses=tuple(each.loss for each in cuts),
        params=whole.params,
        macs=whole.macs,
        frame_shape=shape,
        settings=settings_of(
            budget,
            frames,
            choices.units,
            similarity=choices.similarity,
            signature=choices.signature,
            blocks=blocks,
            score=score,
            direction=choices.direction,
            **({} if allot is None else {"allot": allot}),
            **({"seed": choices.seed} if score == "random" else {}),
        ),
    )


def allotment(model: nn.Module, units: Sequence[Unit], frame_shape: Sequence[int], choices: Choices) -> str:
    """What a latency is given to, "flow" or "shares"; PlanError for "flow" where that of a unit is not known."""
    return _allotment(linear_chain(model, frame_shape, choices.units), units, choices)


def _allotment(chain: LinearChain, units: Sequence[Unit], choices: Choices) -> str:
    without = [unit.name for index, unit in enumerate(units) if index in chain.formless]
    if choices.allot == "flow" and without:
        raise PlanError(f'allot "flow": no flow is known of {without[0]}; allot "shares" needs none')
    if choices.allot == "auto":
        return "shares" if without or choices.score != "synflow" else "flow"
    return choices.allot


def least_to_keep(matrix: Matrix, units: Sequence[Unit], choices: Choices) -> int:
    """The fewest units that such a plan on ``matrix`` keeps: one of each block that was asked for, and all fixed ones."""
    signatures, blocks = _signatures(matrix, choices), blocks_asked(choices.blocks, len(units))
    return _layout(segmentations(signatures, len(units)), units, blocks, signatures).least


def _signatures(matrix: Matrix, choices: Choices) -> Matrix:
    return SIGNATURES[choices.signature](np.asarray(matrix, dtype=np.float64))


def _layout(cuts: Sequence[Segmentation], units: Sequence[Unit], blocks: int | str, signatures: Matrix) -> Layout:
    fixed = frozenset(index for index, unit in enumerate(units) if unit.kind == "fixed")
    return Layout(cuts, fixed, blocks, SIMILARITY_ROUNDING**2 * float((signatures**2).sum()))


def with_unit(plan: Plan, index: int, model: nn.Module) -> Plan:
    """``plan`` for ``model`` that keeps unit ``index`` too."""
    kept = tuple(sorted({*plan.kept, index}))
    chain = linear_chain(model, plan.frame_shape, plan.settings.get("units"))
    _, left = chain.flows(kept)
    at = next(number for number, block in enumerate(plan.blocks) if index in block)
    block = plan.blocks[at]
    _, alone = chain.flows([each for each in range(len(plan.units)) if each not in block or each in kept])
    scores = [chain.told(alone) if number == at else score for number, score in enumerate(plan.scores)]
    return replace(plan, kept=kept, scores=tuple(scores), log_flow=chain.told(left))


def log_flows_with(plan: Plan, among: Sequence[int], model: nn.Module) -> list[float | None]:
    """The log-flow of ``plan`` for ``model`` with each of the units ``among`` kept too; None where that is not known."""
    chain = linear_chain(model, plan.frame_shape, plan.settings.get("units"))
    return [chain.told(chain.flows(sorted({*plan.kept, index}))[1]) for index in among]


def _flows(chain: LinearChain, kept: Sequence[int], score: str) -> tuple[float, float]:
    """The log-flow of the whole network and of what is kept; PlanError where SynFlow chose and nothing flows."""
    whole, left = chain.flows(kept)
    if not math.isfinite(left) and score == "synflow":
        which = "what would be kept of the network" if math.isfinite(whole) else "the network"
        raise PlanError(
            f"no synaptic flow passes {which} (log-flow {left}): a layer's weights are all zero; train the model, or keep "
            "more units"
        )
    return whole, left


class Layout:
    """How many blocks there are, and what each keeps, for any number of units to keep."""

    def __init__(
        self, cuts: Sequence[Segmentation], fixed: frozenset[int], blocks: int | str, negligible: float
    ) -> None:
        self.cuts, self.fixed, self.blocks, self.negligible = cuts, fixed, blocks, negligible
        self.units = len(cuts)

    @property
    def least(self) -> int:
        """The fewest units that can be kept."""
        return self._least(self._ranges(1 if self.blocks == "auto" else int(self.blocks)))

    def count(self, budget: Budget) -> int:
        """The number of units that a budget of units keeps; PlanError where they are too few."""
        return count_to_keep(budget.keep, self.units, len(self.fixed), self.least, self.blocks)

    def shares(self, keep: int) -> Iterator[Share]:
        """The ways to share ``keep`` units out: the blocks that the curve asks for, and where they are automatic one less.

        With too few units for the blocks that the curve asks for an automatic number shrinks; and where a cut is not met by
        so many units in these blocks, it may be in one block less, before a unit more goes.
        """
        fitting = (ranges for ranges in self.blocks_down_to_one() if self._least(ranges) <= keep)
        for ranges in islice(fitting, 2):
            shared = quotas([len(block) for block in ranges], [self.fixed_in(block) for block in ranges], keep)
            yield list(zip(ranges, shared, strict=True))

    def blocks_down_to_one(self) -> Iterator[list[range]]:
        """The blocks that the curve asks for, and where their number is automatic all smaller numbers of them."""
        if self.blocks != "auto":
            yield self._ranges(int(self.blocks))
            return
        wanted = choose_blocks([cut.loss for cut in self.cuts], self.negligible)
        yield from (self._ranges(number) for number in range(wanted, 0, -1))

    def fixed_in(self, block: range) -> int:
        """How many units of ``block`` are fixed."""
        return len(self.fixed.intersection(block))

    def _ranges(self, number: int) -> list[range]:
        starts = self.cuts[number - 1].boundaries
        return [range(start, end) for start, end in zip(starts, (*starts[1:], self.units), strict=True)]

    def _least(self, blocks: Sequence[range]) -> int:
        return sum(max(1, self.fixed_in(block)) for block in blocks)


def _picked(budget: Budget, layout: Layout, units: Sequence[Unit], whole: Cost, choose: Choose) -> list[Kept]:
    """What each block keeps within the budget; PlanError where nothing does."""
    if budget.cut is None:
        share = next(layout.shares(layout.count(budget)))
        return [(block, choose(block, quota)) for block, quota in share]
    room = room_within(budget, units, whole)
    kept = largest_share(room, range(layout.least, len(units)), layout.shares, choose)
    if not kept:
        # What each block would choose is too dear. Fewer blocks have to keep less.
        smallest = (smallest_share(room, blocks, layout.fixed, choose) for blocks in layout.blocks_down_to_one())
        kept = next(filter(None, smallest), [])
    if not kept:
        *_, blocks = layout.blocks_down_to_one()
        nearest = [index for block in blocks for index in room.cheapest(block, max(1, layout.fixed_in(block)))]
        raise no_room(budget, len(nearest), len(units), room.removed(nearest))
    return put_back(room, kept, choose)


def _bought(room: Room, layout: Layout, given: Choosing, direction: Direction) -> list[Kept]:
    """What each block keeps where the whole network's flow is what counts; nothing where nothing fits."""
    for blocks in layout.blocks_down_to_one():
        kept = most_flow(given.chain, room, blocks, layout.fixed, direction)
        if kept is not None:
            free = frozenset(kept) - layout.fixed
            return [(block, given.with_those_that_stay(block, sorted(free.intersection(block)))) for block in blocks]
    return []


def _choice(given: Choosing, block: range, quota: int, score: str, direction: Direction) -> Choice:
    """The choice in a block; one in which SynFlow has no form for a unit goes by the medoid."""
    by = score
    if score == "synflow" and any(index in given.chain.formless for index in block):
        by = "medoid"
    return replace(SCORES[by](given, block, quota, direction), scored_by=by)


def check_budget(units: Sequence[Unit], whole: Cost, budget: Budget, blocks: int | str) -> None:
    """Say before any work what can be known: raise PlanError for a budget that no plan of ``units`` can meet."""
    blocks = blocks_asked(blocks, len(units))
    fixed = sum(unit.kind == "fixed" for unit in units)
    least = max(1, fixed, 1 if blocks == "auto" else int(blocks))
    if budget.cut is None:
        count_to_keep(budget.keep, len(units), fixed, least, blocks)
        return
    room = room_within(budget, units, whole)
    nearest = room.cheapest(range(len(units)), least)
    if room.fits(nearest):
        return
    if blocks in ("auto", 1):
        raise no_room(budget, least, len(units), room.removed(nearest))
    raise PlanError(
        f"{budget.asked}: no plan of {blocks} blocks removes more than {room.removed(nearest):.2%}, wherever the blocks "
        "lie; ask for less, or for fewer blocks"
    )


def blocks_asked(blocks: object, units: int) -> int | str:
    """``blocks`` as a plan takes it: "auto", or an int from 1 to ``units``; PlanError for anything else."""
    if isinstance(blocks, str) and blocks == "auto":
        return blocks
    number = whole_number(blocks)
    if number is None or not 1 <= number <= units:
        raise PlanError(f'blocks = {blocks!r}: expected "auto" or a number from 1 to the {units} units')
    return number


def seed_asked(seed: object) -> int:
    """``seed`` as an int; PlanError unless it is a whole number from 0."""
    number = whole_number(seed)
    if number is None or number < 0:
        raise PlanError(f"seed = {seed!r}: expected a whole number from 0")
    return number


def _thinned(flows: Sequence[float]) -> tuple[float, ...]:
    finite = [flow for flow in flows if math.isfinite(flow)]
    if len(finite) <= MOST_FLOWS:
        return tuple(finite)
    return tuple(finite[round(at)] for at in np.linspace(0, len(finite) - 1, MOST_FLOWS))
