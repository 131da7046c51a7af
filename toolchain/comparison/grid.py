"""What is compared: originals, budgets, and the cells that combine them with methods."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from toolchain.compared import budget_name
from toolchain.comparison.methods import reference_of
from toolchain.comparison.recipe import BudgetsTable, ComparedData, ComparedModel, ComparisonRecipe
from toolchain.errors import RecipeError
from toolchain.run_folder import key_of

# Longer parts of file names are cut.
LONGEST_NAME = 100
BudgetKind = Literal["macs_cut", "params_cut", "speedup", "latency_ms"]


@dataclass(frozen=True)
class Asked:
    """A budget: so much of MACs or parameters goes, or so fast a model is to be."""

    kind: BudgetKind
    value: float

    @property
    def is_latency(self) -> bool:
        """Whether it has to be measured."""
        return self.kind in ("speedup", "latency_ms")

    def __str__(self) -> str:
        """As results name it."""
        return budget_name(self.kind, self.value)


@dataclass(frozen=True)
class Start:
    """A model on a data set by a seed, before anything is pruned: what all methods start from."""

    data: str
    model: str
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return _as_file_name(f"{self.data}.{self.model}.seed{self.seed}")

    def __str__(self) -> str:
        """As people are told of it."""
        return f"{self.model} on {self.data}, seed {self.seed}"


@dataclass(frozen=True)
class Cell:
    """One model to be made: a start, a budget, a method."""

    start: Start
    asked: Asked
    method: str

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.start.name}.{_as_file_name(str(self.asked))}.{self.method}"

    def __str__(self) -> str:
        """As people are told of it."""
        return f"{self.method}, {self.asked}, {self.start}"


@dataclass(frozen=True)
class Grid:
    """All of a recipe's starts and cells, in the order in which they are made."""

    recipe: ComparisonRecipe

    @cached_property
    def starts(self) -> tuple[Start, ...]:
        """Seed by seed, so that one that is stopped half way has whole seeds of what it did."""
        recipe = self.recipe
        return tuple(
            Start(data.name, model.called, seed)
            for seed in recipe.compare.seeds
            for data in recipe.data
            for model in recipe.models
        )

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The reference's first of each budget, because channel methods are brought to its figure."""
        methods = sorted(self.recipe.compare.methods, key=lambda name: name != self.reference)
        return tuple(
            Cell(start, asked, method)
            for start in self.starts
            for asked in budgets_of(self.recipe.budgets)
            for method in methods
        )

    @cached_property
    def reference(self) -> str | None:
        """The method whose figures channel methods are brought to; None where all are brought to the budget itself."""
        return reference_of(self.recipe.compare.methods)

    def reference_cell(self, cell: Cell) -> Cell | None:
        """The cell whose figure ``cell`` is brought to; None for itself, and where there is none."""
        if self.reference in (None, cell.method):
            return None
        return Cell(cell.start, cell.asked, str(self.reference))

    def require_names(self) -> None:
        """Raise RecipeError where two starts, or two cells, would have the same files."""
        for places in (self.starts, self.cells):
            seen: dict[str, Start | Cell] = {}
            for place in places:
                if place.name in seen:
                    raise RecipeError(
                        f"{seen[place.name]} and {place} would have files of the same name, {place.name}; name the data or "
                        "the models otherwise"
                    )
                seen[place.name] = place

    def data(self, start: Start) -> ComparedData:
        """The data set of a start."""
        return next(table for table in self.recipe.data if table.name == start.data)

    def model(self, start: Start) -> ComparedModel:
        """The model of a start."""
        return next(table for table in self.recipe.models if table.called == start.model)


def budgets_of(table: BudgetsTable) -> list[Asked]:
    """The budgets, one by one."""
    kinds: tuple[BudgetKind, ...] = ("macs_cut", "params_cut", "speedup", "latency_ms")
    return [Asked(kind, value) for kind in kinds for value in getattr(table, kind)]


def _as_file_name(text: str) -> str:
    """``text`` as a part of a file's name: as it is, or with a hash where characters are replaced or it is long."""
    # A model of the user's own is called package.module:factory.
    name = re.sub(r"[^A-Za-z0-9._=-]", "_", text)[:LONGEST_NAME]
    return name if name == text else f"{name}-{key_of(text=text)[:8]}"
