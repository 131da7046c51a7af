"""A comparison from its recipe: held against the machine, given its folder and who does its jobs, and run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from deploy.progress import Progress, silent
from toolchain.compared import Compared
from toolchain.comparison.beforehand import looked_at
from toolchain.comparison.comparing import Comparison
from toolchain.comparison.folder import Folder, opened
from toolchain.comparison.grid import Grid
from toolchain.comparison.here import runner_here
from toolchain.comparison.jobs import Job, Runner
from toolchain.comparison.known import decided_by_data
from toolchain.comparison.on_ray import ray_cluster
from toolchain.comparison.recipe import ComparisonRecipe


def compare(
    recipe: ComparisonRecipe,
    out: Path,
    *,
    ray: str | None = None,
    replace: bool = False,
    measure_again: bool = False,
    progress: Progress = silent,
) -> Compared:
    """Do what is left of a comparison in the folder ``out``, and give its table, which is in ``compare.json`` too.

    Jobs are done here, one by one, or on the Ray cluster at ``ray`` ("local" for this machine's cores); latencies are measured
    here. What fails is in the table with its reason, and is tried again by the next call. ``replace`` allows a folder that
    holds another recipe's comparison: what fits is kept. With ``measure_again`` the latencies of all rows are measured anew;
    the models of budgets of latency stay.

    Raises a ToolchainError or DeployError for what can be known to be wrong before; nothing is lost then.
    """
    beforehand, grid = looked_at(recipe, progress, trained_here=ray is None), Grid(recipe)
    settings = _settings(grid) | {"measured by": {"processor": beforehand.processor}}
    with opened(out, settings, beforehand.identities, replace=replace) as folder:
        if measure_again:
            folder.forget("latency")
        return Comparison(grid, folder, beforehand, partial(_runner, recipe, folder, ray), progress).run()


def _runner(recipe: ComparisonRecipe, folder: Folder, ray: str | None) -> AbstractContextManager[Runner]:
    run = recipe.run

    def work(job: Job) -> Path:
        return folder.work(job.name, job.key)

    if ray is not None:
        return ray_cluster(ray, threads=run.threads, devices=run.devices, accelerator=run.accelerator, work=work)
    return runner_here(threads=run.threads, work=work)


def _settings(grid: Grid) -> dict[str, Any]:
    """What must not change in a folder, by tables: without what may be more another time, and the names of files.

    The method that channel methods are brought to is a part of it: another one makes other models of them.
    """
    recipe = grid.recipe
    values = recipe.model_dump(mode="json")
    tables = {name: values[name] for name in ("run", "train", "plan", "finetune", "measure")}
    del tables["measure"]["sensitivity_level"]
    tables["compare"] = {"channel methods are brought to": grid.reference or "the budget"}
    tables |= {f"data.{table['name']}": decided_by_data(table) for table in values["data"]}
    for table, model in zip(values["models"], recipe.models, strict=True):
        tables[f"models.{model.called}"] = {
            name: value for name, value in table.items() if name not in ("weights", "label")
        }
    return tables
