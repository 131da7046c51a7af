"""What decides a piece of work, as a hash: a record under the same key is not made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from toolchain.comparison.beforehand import Beforehand
from toolchain.comparison.grid import Cell, Grid, Start
from toolchain.comparison.methods import KINDS, OURS
from toolchain.run_folder import key_of


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of a grid's work."""

    grid: Grid
    beforehand: Beforehand

    @cache  # noqa: B019  # a comparison has one of these, for as long as it lasts
    def original(self, start: Start) -> str:
        """The frames, the model, and how it is trained if it is."""
        recipe, data, model = self.grid.recipe, self.grid.data(start), self.grid.model(start)
        frames = self.beforehand.frames[start]
        files = self.beforehand.identities
        return key_of(
            data={**decided_by_data(data.model_dump(mode="json")), "file": files.get(f"data.{data.name}.file")},
            use=asdict(frames.use),
            seed=start.seed,
            model={
                **model.model_dump(mode="json"),
                "weights": files.get(f"models.{model.called}.weights"),
                "label": None,
            },
            train=None if model.weights else recipe.train.model_dump(mode="json"),
            run=recipe.run.model_dump(mode="json"),
            level=recipe.measure.sensitivity_level,
        )

    @cache  # noqa: B019
    def pruned(self, cell: Cell) -> str:
        """The original, the method and its choices, the budget, and the reference that gives the figure."""
        recipe, reference = self.grid.recipe, self.grid.reference_cell(cell)
        chosen = recipe.plan.model_dump(mode="json")
        if cell.method != OURS:
            # What is ours alone decides nothing of others.
            chosen = {name: chosen[name] for name in ("frames", "units")}
        return key_of(
            original=self.original(cell.start),
            method=cell.method,
            asked=str(cell.asked),
            choices=chosen,
            reference=None if reference is None or KINDS[cell.method] == "layers" else self.pruned(reference),
            measured=self._measuring() if cell.asked.is_latency else None,
        )

    def finetuned(self, cell: Cell) -> str:
        """The pruned model, and how it is fine-tuned."""
        return key_of(pruned=self.pruned(cell), finetune=self.grid.recipe.finetune.model_dump(mode="json"))

    def latency(self, shapes: Mapping[str, str]) -> str:
        """The shapes that are timed together, and how."""
        return key_of(shapes=dict(sorted(shapes.items())), **self._measuring(), every=self._runtimes)

    def unit_latencies(self, shape: str) -> str:
        """The shape whose units are read, and how."""
        return key_of(shape=shape, units=self.grid.recipe.plan.units, **self._measuring())

    @property
    def _runtimes(self) -> list[Any]:
        measure = self.grid.recipe.measure
        return [*measure.runtimes, measure.processes, measure.seconds]

    def _measuring(self) -> dict[str, Any]:
        """What decides a latency: budgets are held in the first runtime."""
        measure = self.grid.recipe.measure
        return {
            "target": self.beforehand.identities.get("measure.target", measure.target),
            "runtime": measure.runtimes[0],
            "precision": measure.precision,
            "threads": measure.threads,
            "batch": measure.batch,
        }


def decided_by_data(values: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the frames of a table of ``[[data]]``: not its name, and not what a file makes idle."""
    idle = {"name", "file"}
    if values["file"] is not None:
        idle |= {"preset", "frames_per_cell", "snr_step_db"}
    return {name: value for name, value in values.items() if name not in idle}
