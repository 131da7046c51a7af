"""A unit among the operations of a model's data flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolchain.models.structure import Edit
from toolchain.pruning.skips import Skip

Kind = Literal["removable", "reducible", "fixed"]


@dataclass(frozen=True, kw_only=True)
class Span:
    """One unit among the operations ``start`` to ``end`` (not in), from value ``before`` to value ``after``.

    ``skips``: its sums; ``left``: the positions that still run when it is dropped; ``edits``: what drops it; ``modules``: the
    paths that hold its parameters.
    """

    name: str
    kind: Kind
    reason: str
    start: int
    end: int
    before: int
    after: int
    skips: tuple[Skip, ...] = ()
    left: frozenset[int] = frozenset()
    edits: tuple[Edit, ...] = ()
    modules: tuple[str, ...] = ()
