"""Several comparisons as one: what was asked of each model and what was found, in a form that originals share with cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from toolchain.compared import Cell, Compared, Judged, Latency, Layers, Missing, Original
from toolchain.errors import RunError

ORIGINAL = "original"
NO_BUDGET = "none"
Kind = Literal["original", "layers", "channels", "scratch"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A model of the comparison named ``comparison``: a cell's, or an original (method "original", budget "none").

    ``original`` is the one of its seed, in the same comparison; the other values are those of
    :class:`toolchain.compared.Cell`.
    """

    comparison: str
    method: str
    kind: Kind
    data: str
    model: str
    budget: str
    seed: int
    within: bool
    wanted: float | None
    reached: float | None
    untuned_accuracy: float | None
    judged: Judged | None
    layers: Layers | None
    latency: tuple[Latency, ...]
    failed: str | None
    unmeasured: str | None
    inner: bool
    original: Original | None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that its confusion counts, in their order."""
        return self.original.classes if self.original else ()

    @property
    def test_frames(self) -> int | None:
        """How many frames it was judged on, as its confusion counts them; None where neither that nor the original tells."""
        told = sum(map(sum, self.judged.confusion)) if self.judged else 0
        return told or (self.original.frames.get("test") if self.original else None) or None

    @property
    def validation_frames(self) -> int | None:
        """How many frames it was looked at before it was done; None where the original does not tell."""
        return (self.original.frames.get("validation") if self.original else None) or None


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What all the comparisons found; ``runtimes`` in the order in which they are named first."""

    compared: tuple[Compared, ...]
    baseline: str
    level: float
    runtimes: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def missing(self) -> tuple[Missing, ...]:
        """The cells that are not done yet in any of the comparisons that ask for them."""
        there = {_place(cell) for one in self.compared for cell in one.cells}
        lacking = {_place(cell): cell for one in self.compared for cell in one.missing}
        return tuple(cell for place, cell in lacking.items() if place not in there)


def gathered(compared: Sequence[Compared], baseline: str | None = None) -> Gathered:
    """Take ``compared`` together; ``baseline`` is the method that the others are held against, by default their own.

    Raises RunError where two hold the same cell, or originals of one seed that are not the same model: methods pruned from
    them are no pairs; where they do not agree on the level of the sensitivity or, unless one is named, on the baseline; and
    for a baseline that no cell has.
    """
    if not compared:
        raise RunError("no comparison to report on; name the folder of one")
    compared = _named_apart(compared)
    _refuse_doubles(compared)
    _refuse_other_originals(compared)
    levels = {one.level: one.name for one in compared}
    if len(levels) > 1:
        told = ", ".join(f"{level:.0%} in {name}" for level, name in levels.items())
        raise RunError(f"sensitivity is taken at different accuracies ({told}); report on them apart")
    methods = sorted({cell.method for one in compared for cell in one.cells})
    if baseline is not None and baseline not in methods:
        known = ", ".join(methods) or "no cell at all"
        raise RunError(f"baseline {baseline!r}: no cell has this method; there is {known}")
    own = {one.baseline: one.name for one in compared}
    if baseline is None and len(own) > 1:
        told = ", ".join(f"{method} in {name}" for method, name in own.items())
        raise RunError(f"the comparisons are held against different baselines ({told}); name one with --baseline")
    return Gathered(
        compared=tuple(compared),
        baseline=baseline or compared[0].baseline,
        level=compared[0].level,
        runtimes=tuple(dict.fromkeys(name for one in compared for name in one.runtimes)),
        results=tuple(result for one in compared for result in _results(one)),
    )


def _named_apart(compared: Sequence[Compared]) -> list[Compared]:
    """Number the comparisons whose folders have the same name."""
    times: Counter[str] = Counter()
    named = []
    for one in compared:
        times[one.name] += 1
        nth = times[one.name]
        named.append(one if nth == 1 else one.model_copy(update={"name": f"{one.name} ({nth})"}))
    return named


def _results(compared: Compared) -> list[Result]:
    originals = {(one.data, one.model, one.seed): one for one in compared.originals}
    return [_of_original(compared.name, one) for one in compared.originals] + [
        _of_cell(compared.name, cell, originals.get((cell.data, cell.model, cell.seed))) for cell in compared.cells
    ]


def _of_original(comparison: str, one: Original) -> Result:
    return Result(
        comparison=comparison,
        method=ORIGINAL,
        kind="original",
        data=one.data,
        model=one.model,
        budget=NO_BUDGET,
        seed=one.seed,
        within=True,
        wanted=None,
        reached=None,
        untuned_accuracy=None,
        judged=one.judged,
        layers=None,
        latency=one.latency,
        failed=one.failed,
        unmeasured=None,
        inner=False,
        original=one,
    )


def _of_cell(comparison: str, cell: Cell, original: Original | None) -> Result:
    return Result(
        comparison=comparison,
        method=cell.method,
        kind=cell.kind,
        data=cell.data,
        model=cell.model,
        budget=cell.budget,
        seed=cell.seed,
        within=cell.within,
        wanted=cell.wanted,
        reached=cell.reached,
        untuned_accuracy=cell.untuned_accuracy,
        judged=cell.judged,
        layers=cell.layers,
        latency=cell.latency,
        failed=cell.failed,
        unmeasured=cell.unmeasured,
        inner=cell.inner,
        original=original,
    )


def _refuse_doubles(compared: Sequence[Compared]) -> None:
    held: dict[tuple[str, str, str, int, str], str] = {}
    for one in compared:
        for cell in one.cells:
            key = _place(cell)
            if key in held:
                raise RunError(
                    f"{held[key]} and {one.name} both hold {cell.method} of {cell.model} on {cell.data}, {cell.budget}, "
                    f"seed {cell.seed}; report on one of them, or on both apart"
                )
            held[key] = one.name


def _place(cell: Cell | Missing) -> tuple[str, str, str, int, str]:
    return cell.data, cell.model, cell.budget, cell.seed, cell.method


def _refuse_other_originals(compared: Sequence[Compared]) -> None:
    held: dict[tuple[str, str, int], tuple[str, Original]] = {}
    for one in compared:
        for original in one.originals:
            if original.judged is None:
                # Failed, or not done yet: nothing was pruned from it.
                continue
            name, other = held.setdefault((original.data, original.model, original.seed), (one.name, original))
            # Timed twice it is still the same model; judged otherwise it is not.
            if (other.judged, other.classes) != (original.judged, original.classes):
                raise RunError(
                    f"{name} and {one.name} both hold the original {original.model} on {original.data}, seed "
                    f"{original.seed}, and they are not the same model: what was pruned from them is no pair; report on them "
                    "apart"
                )
