"""What comparisons were asked for, by their recipes: which methods with which seeds, of each model, data set and budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import PurePath
from typing import Any

from pydantic import JsonValue

from toolchain.compared import Compared, budget_name
from toolchain.report.comparison.gathering import NO_BUDGET, ORIGINAL

Place = tuple[str, str, str]
"""A data set, a model and a budget, by their names."""
Asked = Mapping[Place, Mapping[str, Sequence[int]]]


def asked_of(compared: Sequence[Compared]) -> Asked:
    """The seeds asked for by place and method, the original's under the budget "none"; nothing of a recipe that names none."""
    found: dict[Place, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for one in compared:
        seeds = [seed for seed in _listed(one.recipe, "compare", "seeds") if isinstance(seed, int)]
        methods = [method for method in _listed(one.recipe, "compare", "methods") if isinstance(method, str)]
        data = [str(table["name"]) for table in _tables(one.recipe, "data") if "name" in table]
        models = [_called(table) for table in _tables(one.recipe, "models")]
        if not methods:
            continue
        for name, model in product(data, models):
            found[name, model, NO_BUDGET][ORIGINAL].update(seeds)
            for budget, method in product(_budgets(one.recipe), methods):
                found[name, model, budget][method].update(seeds)
    return {
        place: {method: tuple(sorted(seeds)) for method, seeds in methods.items()} for place, methods in found.items()
    }


def _budgets(recipe: Mapping[str, JsonValue]) -> Iterator[str]:
    """The budgets as results name them."""
    for kind in ("macs_cut", "params_cut", "speedup", "latency_ms"):
        for value in _listed(recipe, "budgets", kind):
            if isinstance(value, int | float):
                yield budget_name(kind, value)


def _called(model: Mapping[str, Any]) -> str:
    """What results call a model: its label, or else the architecture's name, or that of the file of weights."""
    return str(model.get("label") or model.get("name") or PurePath(str(model.get("weights") or "")).stem)


def _listed(recipe: Mapping[str, JsonValue], table: str, key: str) -> list[Any]:
    """A list of the recipe; an empty one where there is none, for a recipe is only told here, not read as one."""
    values = recipe.get(table)
    found = values.get(key) if isinstance(values, dict) else None
    return found if isinstance(found, list) else []


def _tables(recipe: Mapping[str, JsonValue], name: str) -> list[dict[str, Any]]:
    found = recipe.get(name)
    return [table for table in found if isinstance(table, dict)] if isinstance(found, list) else []
