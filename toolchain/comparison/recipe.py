"""What a comparison's recipe may say: methods x budgets x seeds x models x data sets, and how all of them are trained.

The tables are those of a run's recipe (:mod:`toolchain.recipe`), where several may be compared in the plural.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from deploy.batches import MOST_BATCH
from deploy.latency import LIMIT_S
from deploy.names import Precision, RuntimeName
from deploy.strict_reading import Strict, read_strictly
from toolchain.compared import OURS
from toolchain.comparison.methods import KINDS, SCRATCH, SOFT, reference_of, unknown_method
from toolchain.errors import RecipeError
from toolchain.recipe import (
    ChoicesTable,
    Count,
    DataTable,
    FileKeys,
    FinetuneTable,
    Fraction,
    HardwareTable,
    ModelTable,
    Seed,
    TrainTable,
    is_file_name,
    threads_here,
    values_of,
)

FILE_KEYS: FileKeys = (("data", "file"), ("models", "weights"), ("measure", "target"))
# What becomes a part of file names.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$"


def _once(what: str, values: Sequence[object]) -> None:
    twice = [value for number, value in enumerate(values) if value in values[:number]]
    if twice:
        raise ValueError(f"{what} has {twice[0]} twice; leave one out")


class CompareTable(Strict):
    """``[compare]``: ``methods``, of which the ``baseline`` is what the others are held against, and the ``seeds``.

    A seed draws the frames (of a generated set), the split, the original's weights, the order in training, and what a method
    draws itself.
    """

    methods: tuple[str, ...] = Field(default=tuple(KINDS), min_length=1)
    baseline: str | None = None
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1)

    @model_validator(mode="after")
    def _known_and_once(self) -> CompareTable:
        for name in self.methods:
            if name not in KINDS:
                raise ValueError(unknown_method(name))
        _once("methods", self.methods)
        _once("seeds", self.seeds)
        if self.baseline is not None and self.baseline not in self.methods:
            raise ValueError(
                f'baseline = "{self.baseline}" is none of the methods, {", ".join(self.methods)}; add it there'
            )
        if SCRATCH in self.methods and reference_of(self.methods) is None:
            raise ValueError(
                f'"{SCRATCH}" trains the shape that a method of layers leaves, and there is none among the methods; '
                f'add "{OURS}"'
            )
        return self

    @property
    def against(self) -> str:
        """What the others are held against: the baseline, or else thinwave's method, or the first."""
        return self.baseline or (OURS if OURS in self.methods else self.methods[0])


class BudgetsTable(Strict):
    """``[budgets]``, each number one: the least fraction of MACs or parameters that goes, or how fast a model is to be.

    ``speedup`` is the least times as fast as the original, ``latency_ms`` the most milliseconds, both in the first of
    ``measure.runtimes``.
    """

    macs_cut: tuple[Fraction, ...] = ()
    params_cut: tuple[Fraction, ...] = ()
    speedup: tuple[Annotated[float, Field(gt=1)], ...] = ()
    latency_ms: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _some_and_once(self) -> BudgetsTable:
        for name in type(self).model_fields:
            _once(name, getattr(self, name))
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError(
                f"there is no budget; expected one of {', '.join(type(self).model_fields)}, as macs_cut = [0.75]"
            )
        return self


class ComparedData(DataTable):
    """One of ``[[data]]``: as ``[data]`` of a run, with a ``name`` to tell it from others."""

    name: str = Field(pattern=NAME)


class ComparedModel(ModelTable):
    """One of ``[[models]]``: as ``[model]`` of a run; ``label`` tells it from others.

    ``learning_rate`` takes the place of those of ``[train]`` and ``[finetune]``.
    """

    label: str | None = Field(default=None, pattern=NAME)
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None

    @model_validator(mode="after")
    def _something(self) -> ComparedModel:
        if self.name is None and self.weights is None:
            raise ValueError('expected name = "resnet1d56", or weights = "trained.safetensors"')
        return self

    @property
    def called(self) -> str:
        """The label, or else the architecture's name, or that of the file of weights."""
        return self.label or self.name or Path(self.weights or "").stem


class MeasureTable(Strict):
    """``[measure]``: the target that this machine is, and how latencies are measured on it, of all methods in turns.

    ``seconds`` are those of timing for each model in each of the ``processes``. Sensitivity is the SNR at which the accuracy
    crosses ``sensitivity_level``.
    """

    target: str = "x86-cpu"
    runtimes: tuple[RuntimeName, ...] = Field(default=("onnxruntime",), min_length=1)
    precision: Precision = "fp32"
    threads: Count = 1
    batch: Annotated[int, Field(ge=1, le=MOST_BATCH)] = 1
    processes: Annotated[int, Field(ge=2, le=1000)] = 10
    seconds: Annotated[float, Field(gt=0, le=10)] = 0.3
    sensitivity_level: Fraction = 0.6

    @model_validator(mode="after")
    def _once_each(self) -> MeasureTable:
        _once("runtimes", self.runtimes)
        return self


class ComparisonRecipe(Strict):
    """A whole recipe of a comparison; ``[[models]]`` and ``[[data]]`` have to be said, all else has a default."""

    compare: CompareTable = CompareTable()
    budgets: BudgetsTable = BudgetsTable(macs_cut=(0.5, 0.75))
    data: tuple[ComparedData, ...] = Field(min_length=1)
    models: tuple[ComparedModel, ...] = Field(min_length=1)
    run: HardwareTable = HardwareTable()
    train: TrainTable = TrainTable()
    plan: ChoicesTable = ChoicesTable()
    finetune: FinetuneTable = FinetuneTable()
    measure: MeasureTable = MeasureTable()

    @model_validator(mode="after")
    def _told_apart(self) -> ComparisonRecipe:
        _once("data: names", [table.name for table in self.data])
        _once("models: labels", [table.called for table in self.models])
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> ComparisonRecipe:
        together = self.measure.seconds * (1 + len(self.compare.methods))
        if together > LIMIT_S:
            raise ValueError(
                f"measure.seconds = {self.measure.seconds:g} are {together:g} in each process for {len(self.compare.methods)} "
                f"methods and the original; expected {LIMIT_S:g} at most: less seconds, or more processes"
            )
        if SOFT in self.compare.methods and self.finetune.steps < 2:
            raise ValueError(f'finetune.steps = 1: "{SOFT}" halves them; expected 2 or more')
        return self


def read_comparison(path: Path, assignments: Iterable[str] = ()) -> ComparisonRecipe:
    """The recipe of a comparison in ``path``, changed by ``assignments`` such as ``compare.seeds=[1]``.

    File names in it are relative to the recipe's folder, those in assignments to the working directory.

    Raises RecipeError that lists every fault.
    """
    values, where = values_of(path, assignments, FILE_KEYS)
    recipe = read_strictly(ComparisonRecipe, values, where=where, error=RecipeError)
    run = recipe.run.model_copy(update={"threads": threads_here(recipe.run.threads)})
    return recipe.model_copy(update={"run": run})


def files_named(recipe: ComparisonRecipe) -> dict[str, str]:
    """The files that ``recipe`` names, by where it does."""
    named = {f"data.{table.name}.file": table.file for table in recipe.data}
    named |= {f"models.{table.called}.weights": table.weights for table in recipe.models}
    if is_file_name(recipe.measure.target):
        named["measure.target"] = recipe.measure.target
    return {where: text for where, text in named.items() if text is not None}


def told(recipe: ComparisonRecipe) -> dict[str, Any]:
    """The recipe's values as JSON, of files only the names, for results may travel."""
    values = recipe.model_dump(mode="json")
    for tables, key in (("data", "file"), ("models", "weights")):
        for table in values[tables]:
            table[key] = None if table[key] is None else os.path.basename(table[key])  # noqa: PTH119
    values["measure"]["target"] = Path(recipe.measure.target).name
    return values
