"""A comparison: what is left of it is done, phase by phase, and put into one table.

Originals are trained; each method prunes them, the reference first; all are fine-tuned alike; and what came out is measured,
row by row, on the machine where this runs. What a phase needs lies on disk, so a comparison that another process takes up
goes the same way, and one that asks for more does only what is new.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.errors import DeployError
from deploy.progress import Progress
from toolchain.compared import Compared
from toolchain.comparison.beforehand import Beforehand
from toolchain.comparison.doing import done
from toolchain.comparison.folder import Folder, Kind
from toolchain.comparison.grid import Asked, Cell, Grid, Start
from toolchain.comparison.jobs import Done, Job, Runner
from toolchain.comparison.keys import Keys
from toolchain.comparison.measuring import ORIGINAL, measured_row
from toolchain.comparison.methods import KINDS, SOFT
from toolchain.comparison.pruning import PruneAsked, prune
from toolchain.comparison.recipe import ComparisonRecipe
from toolchain.comparison.shapes import shape_of
from toolchain.comparison.table import Records, tabulated
from toolchain.comparison.training import FinetuneAsked, Fitting, OriginalAsked, finetune, train_original
from toolchain.comparison.within import Stand, prune_within, stand_here
from toolchain.latency_budget import UnitLatencies
from toolchain.models import load_card
from toolchain.recipe import FinetuneTable, TrainTable
from toolchain.training import FitSettings

log = logging.getLogger(__name__)

# A start and a budget: what is measured together.
Row = tuple[Start, Asked]

# What work takes that is no training, in steps of training, for the time that is left.
PRUNE_STEPS, READ_STEPS, MEASURE_STEPS = 20, 600, 100


@dataclass
class Comparison:
    """A recipe at work in a folder.

    ``failed`` says, by the name of a start or a cell, why there is none: of this process alone, for the next one tries again.
    ``ahead`` and ``behind`` are steps to do and done, for the time that is left.
    """

    grid: Grid
    folder: Folder
    beforehand: Beforehand
    runner: Runner
    progress: Progress
    failed: dict[str, str] = field(default_factory=dict)
    ahead: int = 0
    behind: int = 0

    def __post_init__(self) -> None:
        self.keys = Keys(self.grid, self.beforehand)

    @property
    def recipe(self) -> ComparisonRecipe:
        """What is asked for."""
        return self.grid.recipe

    def run(self) -> Compared:
        """Do what is left, and put what there is into the table, also where this is interrupted."""
        try:
            for phase in (self._train, self._prune, self._finetune, self._measure):
                self.ahead = self.behind + self._steps_left()
                phase()
        finally:
            compared = self.table()
        return compared

    def table(self) -> Compared:
        """What there is by now, also written to compare.json."""
        return tabulated(self.grid, self.folder, self._records())

    def _records(self) -> Records:
        starts = {start: self._known("original", start.name, self.keys.original(start)) for start in self.grid.starts}
        cells = {
            cell: (self._known("pruned", cell.name, self.keys.pruned(cell)), self._tuned(cell))
            for cell in self.grid.cells
        }
        rows = {row: self._row_record(row) for row in self._rows()}
        return Records(originals=starts, cells=cells, rows=rows, failed=dict(self.failed))

    def _known(self, kind: Kind, name: str, key: str) -> dict[str, Any] | None:
        return self.folder.record(kind, name, key)

    def _tuned(self, cell: Cell) -> dict[str, Any] | None:
        return self._known("finetuned", cell.name, self.keys.finetuned(cell))

    def _train(self) -> None:
        jobs = [
            Job(
                name=start.name,
                key=self.keys.original(start),
                told=f"training {start}",
                do=train_original,
                values=OriginalAsked(
                    fitting=self._fitting(start, self.recipe.train),
                    architecture=self.grid.model(start).name,
                    classes=self.beforehand.frames[start].classes,
                ),
                models={} if (weights := self.grid.model(start).weights) is None else {"weights": Path(weights)},
                steps=self.recipe.train.steps,
            )
            for start in self.grid.starts
            if self._known("original", start.name, self.keys.original(start)) is None
        ]
        self._do("original", jobs)

    def _prune(self) -> None:
        counted = [cell for cell in self._unpruned() if not cell.asked.is_latency]
        # The reference first: the others are brought to its figure.
        for first in (True, False):
            these = [cell for cell in counted if (cell.method == self.grid.reference) == first]
            jobs = [self._pruning(cell) for cell in these if self._can_start(cell)]
            self._do("pruned", jobs)
        self._prune_within([cell for cell in self._unpruned() if cell.asked.is_latency and self._can_start(cell)])

    def _unpruned(self) -> list[Cell]:
        return [cell for cell in self.grid.cells if self._known("pruned", cell.name, self.keys.pruned(cell)) is None]

    def _can_start(self, cell: Cell) -> bool:
        """Whether there is what a cell starts from; where there is not the cell has failed too."""
        why = self.failed.get(cell.start.name)
        reference = self.grid.reference_cell(cell)
        if why is not None:
            self.failed[cell.name] = f"there is no original: {why}"
        elif KINDS[cell.method] == "scratch" and reference is not None and reference.name in self.failed:
            self.failed[cell.name] = f"there is no plan of {reference.method}: {self.failed[reference.name]}"
        return cell.name not in self.failed

    def _pruning(self, cell: Cell) -> Job:
        return Job(
            name=cell.name,
            key=self.keys.pruned(cell),
            told=f"pruning: {cell}",
            do=prune,
            values=self._prune_asked(cell),
            models=self._starting(cell),
            steps=PRUNE_STEPS,
        )

    def _prune_asked(self, cell: Cell) -> PruneAsked:
        reference = self.grid.reference_cell(cell)
        record = None
        if reference is not None and KINDS[cell.method] == "channels":
            record = self._known("pruned", reference.name, self.keys.pruned(reference))
        return PruneAsked(
            method=cell.method,
            asked=cell.asked,
            frames=self.beforehand.frames[cell.start],
            architecture=self._architecture(cell.start),
            choices=self.recipe.plan,
            wanted=None if record is None else record["reached"],
        )

    def _starting(self, cell: Cell) -> dict[str, Path]:
        """The models' files that pruning a cell needs."""
        files = {"original": self.folder.model("original", cell.start.name)}
        reference = self.grid.reference_cell(cell)
        if KINDS[cell.method] == "scratch" and reference is not None:
            files["shape"] = self.folder.model("pruned", reference.name)
        return files

    def _prune_within(self, cells: Sequence[Cell]) -> None:
        if not cells:
            return
        with stand_here(self.recipe.measure) as stand:
            for cell in cells:
                # A reference that failed just now says so to what is trained from its shape.
                if self._can_start(cell):
                    ended = self._pruned_within(cell, stand)
                    self._keep("pruned", cell.name, self.keys.pruned(cell), ended)
                    self._pass(READ_STEPS)

    def _pruned_within(self, cell: Cell, stand: Stand) -> Done:
        """A cell whose budget is a latency, done in this process, which measures."""
        told, models = f"reading latencies: {cell}", self._starting(cell)
        card = load_card(models["original"])
        assert card is not None  # the original's file is thinwave's own
        shape = shape_of(card)
        key = self.keys.unit_latencies(shape)
        known = self._known("unit-latencies", shape[:16], key)
        taken = None if known is None else UnitLatencies.model_validate_json(known["text"])

        def work(asked: Any, models: Any, folder: Path, progress: Progress) -> tuple[dict[str, Any], Path | None]:
            record, path, read = prune_within(asked, models, folder, stand, taken, progress)
            if taken is None and read is not None:
                self.folder.keep("unit-latencies", shape[:16], key, {"text": read.model_dump_json()})
            return record, path

        def tell(done: int, total: int, note: str = "") -> None:
            part = READ_STEPS * done // max(1, total)
            self.progress(self.behind + part, self.ahead, f"{told}, {note}" if note else told)

        job = Job(
            name=cell.name,
            key=self.keys.pruned(cell),
            told=told,
            do=work,
            values=self._prune_asked(cell),
            models=models,
        )
        return done(job.packed(), threads=self.recipe.run.threads, progress=tell)

    def _finetune(self) -> None:
        jobs = []
        for cell in self.grid.cells:
            record = self._known("pruned", cell.name, self.keys.pruned(cell))
            if record is None or self._tuned(cell) is not None:
                continue
            jobs.append(
                Job(
                    name=cell.name,
                    key=self.keys.finetuned(cell),
                    told=f"fine-tuning: {cell}",
                    do=finetune,
                    values=FinetuneAsked(
                        fitting=self._fitting(cell.start, self.recipe.finetune),
                        architecture=self._architecture(cell.start),
                        softly=record["ratio"] if cell.method == SOFT else None,
                    ),
                    models={
                        "original": self.folder.model("original", cell.start.name),
                        "pruned": self.folder.model("pruned", cell.name),
                    },
                    steps=self.recipe.finetune.steps,
                )
            )
        self._do("finetuned", jobs)

    def _measure(self) -> None:
        for row in self._rows():
            files = self._row_files(row)
            if len(files) > 1 and self._row_record(row) is None:
                self._measure_row(row, files)

    def _measure_row(self, row: Row, files: dict[str, Path]) -> None:
        start, asked = row

        def tell(done: int, total: int, note: str = "") -> None:
            part = MEASURE_STEPS * len(files) * done // max(1, total)
            self.progress(self.behind + part, self.ahead, f"measuring: {note}")

        try:
            found = measured_row(
                files,
                self.recipe.measure,
                f"{start}, {asked}",
                trusted=self._architecture(start),
                progress=tell,
            )
        except DeployError as error:
            # What one runtime refuses, of all of them: the others' rows go on.
            found = dict.fromkeys(files, str(error))
        if not all(isinstance(each, str) for each in found.values()):
            shapes = self._shapes(files)
            self.folder.keep("latency", _row_name(row), self.keys.latency(shapes), found)
        for method, why in found.items():
            if isinstance(why, str) and method != ORIGINAL:
                self.failed[Cell(start, asked, method).name] = f"its latency cannot be measured: {why}"
        self._pass(MEASURE_STEPS * len(files))

    def _rows(self) -> list[Row]:
        return list(dict.fromkeys((cell.start, cell.asked) for cell in self.grid.cells))

    def _row_files(self, row: Row) -> dict[str, Path]:
        """The models of a row that are finished, by method, the original first."""
        files = {ORIGINAL: self.folder.model("original", row[0].name)}
        for cell in self.grid.cells:
            if (cell.start, cell.asked) == row and self._tuned(cell) is not None:
                files[cell.method] = self.folder.model("finetuned", cell.name)
        return files

    def _row_record(self, row: Row) -> dict[str, Any] | None:
        files = self._row_files(row)
        if len(files) < 2:
            return None
        return self._known("latency", _row_name(row), self.keys.latency(self._shapes(files)))

    def _shapes(self, files: dict[str, Path]) -> dict[str, str]:
        cards = {name: load_card(path) for name, path in files.items()}
        return {name: shape_of(card) for name, card in cards.items() if card is not None}

    def _fitting(self, start: Start, table: TrainTable | FinetuneTable) -> Fitting:
        rate = self.grid.model(start).learning_rate
        values = table.model_dump() | ({} if rate is None else {"learning_rate": rate})
        return Fitting(
            frames=self.beforehand.frames[start],
            settings=FitSettings(**values),
            hardware=self.beforehand.hardware,
            level=self.recipe.measure.sensitivity_level,
        )

    def _architecture(self, start: Start) -> str:
        """What the model files of a start are trusted to be built by."""
        model = self.grid.model(start)
        card = self.beforehand.cards.get(model.called)
        return card.architecture if card is not None else str(model.name)

    def _do(self, kind: Kind, jobs: Sequence[Job]) -> None:
        """Have ``jobs`` done and keep what comes of them as it comes."""
        if not jobs:
            return
        before = self.behind

        def finished(job: Job, ended: Done) -> None:
            self._keep(kind, job.name, job.key, ended)

        def tell(done: int, total: int, note: str = "") -> None:
            self.progress(before + done, max(self.ahead, before + total), note)

        self.runner(jobs, finished, tell)
        self.behind = before + sum(job.steps for job in jobs)

    def _pass(self, steps: int) -> None:
        self.behind += steps
        self.progress(self.behind, max(self.ahead, self.behind))

    def _steps_left(self) -> int:
        """What is not done and has not failed, in steps of training."""
        recipe, failed = self.recipe, self.failed
        lost = {start for start in self.grid.starts if start.name in failed}
        cells = [cell for cell in self.grid.cells if cell.start not in lost and cell.name not in failed]
        unpruned = [cell for cell in cells if self._known("pruned", cell.name, self.keys.pruned(cell)) is None]
        steps = sum(READ_STEPS if cell.asked.is_latency else PRUNE_STEPS for cell in unpruned)
        steps += recipe.finetune.steps * sum(self._tuned(cell) is None for cell in cells)
        starts = [start for start in self.grid.starts if start not in lost]
        steps += recipe.train.steps * sum(
            self._known("original", start.name, self.keys.original(start)) is None for start in starts
        )
        rows = [row for row in self._rows() if row[0] not in lost and self._row_record(row) is None]
        return steps + MEASURE_STEPS * len(recipe.compare.methods) * len(rows)

    def _keep(self, kind: Kind, name: str, key: str, ended: Done) -> None:
        if ended.failed is not None:
            self.failed[name] = ended.failed
            log.warning("%s: failed: %s", name, ended.failed)
            if ended.trace:
                log.warning("where in the program: %s", self.folder.traced(name, ended.trace))
            return
        record = {**ended.record, "worker": ended.worker, "seconds": round(ended.seconds, 3)}
        self.folder.keep(kind, name, key, record, ended.model)


def _row_name(row: Row) -> str:
    return Cell(*row, "row").name
