"""What is done of a comparison. A record counts where its key is that of now: a hash of all that decides it.

Keys hang on what a piece of work was really made from, by the hashes of the models: what is made anew takes all with it that
was made from its predecessor, also where the same settings do not give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from toolchain.compared import OURS
from toolchain.comparison.beforehand import Beforehand
from toolchain.comparison.folder import Folder
from toolchain.comparison.grid import Asked, Cell, Grid, Start
from toolchain.comparison.measuring import ORIGINAL
from toolchain.comparison.methods import KINDS
from toolchain.run_folder import key_of

Record = dict[str, Any]
# A start and a budget: what is measured together.
Row = tuple[Start, Asked]


@dataclass(frozen=True, eq=False)
class Known:
    """The records of a grid's work in a folder, by what they are of; None where that work is not done."""

    grid: Grid
    folder: Folder
    beforehand: Beforehand

    def original(self, start: Start) -> Record | None:
        """The model that all methods of a start begin with."""
        return self.folder.record("original", start.name, self.original_key(start))

    def pruned(self, cell: Cell) -> Record | None:
        """A cell's model before fine-tuning."""
        key = self.pruned_key(cell)
        return None if key is None else self.folder.record("pruned", cell.name, key)

    def finetuned(self, cell: Cell) -> Record | None:
        """A cell's model."""
        key = self.finetuned_key(cell)
        return None if key is None else self.folder.record("finetuned", cell.name, key)

    def latencies(self, row: Row) -> Record | None:
        """What was measured of a row, by method, whether or not all of it could be."""
        shapes = self.shapes(row)
        return self.folder.record("latency", row_name(row), self.latency_key(shapes)) if len(shapes) > 1 else None

    def original_key(self, start: Start) -> str:
        """The frames, the model, and how it is trained if it is."""
        recipe, data, model = self.grid.recipe, self.grid.data(start), self.grid.model(start)
        files, use = self.beforehand.identities, self.beforehand.frames[start].use
        told = model.model_dump(mode="json") | {"weights": files.get(f"models.{model.called}.weights"), "label": None}
        if (code := files.get(f"models.{model.called}.code")) is not None:
            told["code"] = code
        return key_of(
            data=decided_by_data(data.model_dump(mode="json")) | {"file": files.get(f"data.{data.name}.file")},
            use=asdict(use),
            seed=start.seed,
            model=told,
            train=None if model.weights else recipe.train.model_dump(mode="json"),
            run=recipe.run.model_dump(mode="json"),
        )

    def pruned_key(self, cell: Cell) -> str | None:
        """The original, the method and its choices, the budget, and what channel methods are brought to."""
        original = self.original(cell.start)
        if original is None:
            return None
        chosen = self.grid.recipe.plan.model_dump(mode="json")
        if cell.method != OURS:
            # What is ours alone decides nothing of others.
            chosen = {name: chosen[name] for name in ("frames", "units")}
        reference, brought_to = self.grid.reference_cell(cell), None
        if reference is not None and KINDS[cell.method] != "layers" and (made := self.pruned(reference)) is not None:
            brought_to = [reference.method, made["reached"], made["model_sha256"]]
        return key_of(
            # Of which frames it is too: those that a method looks at are of them.
            start=self.original_key(cell.start),
            original=original["model_sha256"],
            method=cell.method,
            asked=str(cell.asked),
            seed=cell.start.seed,
            choices=chosen,
            brought_to=brought_to,
            measured=self._measuring if cell.asked.is_latency else None,
        )

    def finetuned_key(self, cell: Cell) -> str | None:
        """The pruned model, and how it is fine-tuned."""
        pruned, original = self.pruned(cell), self.original(cell.start)
        if pruned is None or original is None:
            return None
        return key_of(
            pruned=pruned["model_sha256"],
            original=self.original_key(cell.start),
            teacher=original["model_sha256"],
            share=pruned.get("ratio"),
            method=cell.method,
            finetune=self.grid.recipe.finetune.model_dump(mode="json"),
        )

    def latency_key(self, shapes: Mapping[str, str]) -> str:
        """The shapes that are timed together, how, and by what."""
        measure = self.grid.recipe.measure
        return key_of(
            shapes=dict(sorted(shapes.items())),
            measured=self._measuring,
            runtimes=[[name, self.beforehand.runtimes[name]] for name in measure.runtimes],
            effort=[measure.processes, measure.seconds],
        )

    def unit_latencies_key(self, shape: str) -> str:
        """The shape whose units are read, and how."""
        return key_of(shape=shape, units=self.grid.recipe.plan.units, measured=self._measuring)

    @property
    def rows(self) -> list[Row]:
        """What is measured together, in the order of the cells."""
        return list(dict.fromkeys((cell.start, cell.asked) for cell in self.grid.cells))

    def row_cells(self, row: Row) -> list[Cell]:
        """The cells of a row that are fine-tuned."""
        return [
            cell for cell in self.grid.cells if (cell.start, cell.asked) == row and self.finetuned(cell) is not None
        ]

    def row_files(self, row: Row) -> dict[str, Path]:
        """The models of a row by method, the original first; none where there is no original."""
        if self.original(row[0]) is None:
            return {}
        files = {ORIGINAL: self.folder.model("original", row[0].name)}
        return files | {cell.method: self.folder.model("finetuned", cell.name) for cell in self.row_cells(row)}

    def shapes(self, row: Row) -> dict[str, str]:
        """The shapes of a row's models, as :func:`toolchain.comparison.shapes.shape_of` gives them."""
        original = self.original(row[0])
        if original is None:
            return {}
        found = {cell.method: self.finetuned(cell) for cell in self.row_cells(row)}
        return {ORIGINAL: original["shape"], **{method: record["shape"] for method, record in found.items() if record}}

    @cached_property
    def _measuring(self) -> dict[str, Any]:
        """What decides a latency: budgets are held in the first runtime."""
        measure = self.grid.recipe.measure
        return {
            "target": self.beforehand.identities.get("measure.target", measure.target),
            "runtime": [measure.runtimes[0], self.beforehand.runtimes[measure.runtimes[0]]],
            "precision": measure.precision,
            "threads": measure.threads,
            "batch": measure.batch,
            "processor": self.beforehand.processor,
        }


def row_name(row: Row) -> str:
    """What a row's record is called."""
    return Cell(*row, "row").name


def decided_by_data(values: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the frames of a table of ``[[data]]``: not its name, and not what a file makes idle."""
    idle = {"name", "file"}
    if values["file"] is not None:
        idle |= {"preset", "frames_per_cell", "snr_step_db"}
    return {name: value for name, value in values.items() if name not in idle}
