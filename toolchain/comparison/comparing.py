"""A comparison: what is left of it is done, phase by phase, and put into one table.

Originals are trained; each method prunes them, the reference first; all are fine-tuned alike; and what came out is measured,
row by row, on the machine where this runs. What a phase needs lies on disk, so a comparison that another process takes up
goes the same way, and one that asks for more does only what is new.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploy.progress import Progress, part
from toolchain.compared import Compared
from toolchain.comparison.beforehand import Beforehand
from toolchain.comparison.doing import done
from toolchain.comparison.folder import Folder, Kind
from toolchain.comparison.grid import Cell, Grid, Start
from toolchain.comparison.jobs import Done, Job, Runner
from toolchain.comparison.known import Known, Row, row_name
from toolchain.comparison.measuring import measured_row
from toolchain.comparison.methods import KINDS, SOFT
from toolchain.comparison.pruning import PruneAsked, prune
from toolchain.comparison.recipe import ComparisonRecipe
from toolchain.comparison.table import tabulated
from toolchain.comparison.training import FinetuneAsked, Fitting, OriginalAsked, finetune, train_original
from toolchain.comparison.within import Stand, prune_within, stand_here
from toolchain.latency_budget import UnitLatencies
from toolchain.recipe import FinetuneTable, TrainTable
from toolchain.training import FitSettings

log = logging.getLogger(__name__)

# What work takes that is no training, in steps of training, for the time that is left.
PRUNE_STEPS, READ_STEPS, MEASURE_STEPS = 20, 600, 100
# Who looks at the table while hours pass sees what there is.
TABULATED_EVERY_S = 60.0


@dataclass
class Comparison:
    """A recipe at work in a folder.

    ``runner`` gives something to do its jobs with, for as long as there are some: latencies are read without it beside them.
    ``failed`` says, by the name of a start or a cell, why there is none: of this process alone, for the next one tries again.
    ``ahead`` and ``behind`` are steps in all and done, for the time that is left; ``shown`` is how far progress was told.
    """

    grid: Grid
    folder: Folder
    beforehand: Beforehand
    runner: Callable[[], AbstractContextManager[Runner]]
    progress: Progress
    failed: dict[str, str] = field(default_factory=dict)
    ahead: int = 0
    behind: int = 0
    shown: int = 0
    tabulated_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.known = Known(self.grid, self.folder, self.beforehand)

    @property
    def recipe(self) -> ComparisonRecipe:
        """What is asked for."""
        return self.grid.recipe

    def run(self) -> Compared:
        """Do what is left, and put what there is into the table, also where this is interrupted."""
        try:
            with self.runner() as runner:
                for phase in (self._train, self._prune, self._finetune):
                    self._look_ahead()
                    phase(runner)
            if self._unpruned(latency=True):
                self._look_ahead()
                self._prune_within()
                with self.runner() as runner:
                    self._look_ahead()
                    self._finetune(runner)
            self._look_ahead()
            self._measure()
        finally:
            compared = tabulated(self.known, self.failed)
        if not (compared.missing or self.failed):
            self.folder.clear()
        return compared

    def _look_ahead(self) -> None:
        self.ahead = self.behind + self._steps_left()

    def _train(self, runner: Runner) -> None:
        self._do(
            runner,
            "original",
            [
                Job(
                    name=start.name,
                    key=self.known.original_key(start),
                    told=f"training {start}",
                    do=train_original,
                    values=OriginalAsked(
                        fitting=self._fitting(start, self.recipe.train),
                        architecture=self.grid.model(start).name,
                    ),
                    models={} if (weights := self.grid.model(start).weights) is None else {"weights": Path(weights)},
                    steps=self.recipe.train.steps,
                    trains=True,
                )
                for start in self.grid.starts
                if self.known.original(start) is None
            ],
        )

    def _prune(self, runner: Runner) -> None:
        # The reference first: the others are brought to its figure.
        for first in (True, False):
            cells = [cell for cell in self._unpruned(latency=False) if (cell.method == self.grid.reference) == first]
            self._do(runner, "pruned", [self._pruning(cell) for cell in self._able(cells)])

    def _prune_within(self) -> None:
        with stand_here(self.recipe.measure) as stand:
            for cell in self._unpruned(latency=True):
                # Asked for each anew: what a reference comes to decides whether those after it can start.
                if self._able([cell]):
                    self._keep("pruned", cell.name, self._pruned_key(cell), self._pruned_within(cell, stand))
                    self._pass(READ_STEPS)

    def _unpruned(self, *, latency: bool) -> list[Cell]:
        return [
            cell for cell in self.grid.cells if cell.asked.is_latency == latency and self.known.pruned(cell) is None
        ]

    def _able(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those for which there is what they start from; the others have failed too."""
        why = {cell.name: self._why_not(cell) for cell in cells}
        self.failed |= {name: said for name, said in why.items() if said is not None}
        return [cell for cell in cells if why[cell.name] is None]

    def _why_not(self, cell: Cell) -> str | None:
        why, reference = self.failed.get(cell.start.name), self.grid.reference_cell(cell)
        if why is not None or self.known.original(cell.start) is None:
            return f"there is no original: {why or 'its model was changed or taken away'}"
        if KINDS[cell.method] == "scratch" and reference is not None and reference.name in self.failed:
            return f"there is no plan of {reference.method}: {self.failed[reference.name]}"
        return None

    def _pruning(self, cell: Cell) -> Job:
        return Job(
            name=cell.name,
            key=self._pruned_key(cell),
            told=f"pruning: {cell}",
            do=prune,
            values=self._prune_asked(cell),
            models=self._starting(cell),
            steps=PRUNE_STEPS,
        )

    def _prune_asked(self, cell: Cell) -> PruneAsked:
        """What a cell asks for; a channel method whose reference failed is brought to the budget itself."""
        reference = self.grid.reference_cell(cell)
        brought_to = None
        if reference is not None and KINDS[cell.method] == "channels":
            brought_to = self.known.pruned(reference)
        return PruneAsked(
            method=cell.method,
            asked=cell.asked,
            frames=self.beforehand.frames[cell.start],
            architecture=self._architecture(cell.start),
            choices=self.recipe.plan,
            wanted=None if brought_to is None else brought_to["reached"],
        )

    def _starting(self, cell: Cell) -> dict[str, Path]:
        """The models' files that pruning a cell needs."""
        files = {"original": self.folder.model("original", cell.start.name)}
        reference = self.grid.reference_cell(cell)
        if KINDS[cell.method] == "scratch" and reference is not None:
            files["shape"] = self.folder.model("pruned", reference.name)
        return files

    def _pruned_key(self, cell: Cell) -> str:
        key = self.known.pruned_key(cell)
        assert key is not None  # it can start: there is its original
        return key

    def _pruned_within(self, cell: Cell, stand: Stand) -> Done:
        """A cell whose budget is a latency, done in this process, which measures."""
        told, original = f"reading latencies: {cell}", self.known.original(cell.start)
        assert original is not None  # as above
        name, key = original["shape"][:16], self.known.unit_latencies_key(original["shape"])
        kept = self.folder.record("unit-latencies", name, key)
        taken = None if kept is None else UnitLatencies.model_validate_json(kept["text"])

        def keep(read: UnitLatencies) -> None:
            self.folder.keep("unit-latencies", name, key, {"text": read.model_dump_json()})

        def work(asked: Any, models: Any, folder: Path, progress: Progress) -> tuple[dict[str, Any], Path | None]:
            return prune_within(asked, models, folder, stand, taken, keep, progress)

        job = Job(
            name=cell.name,
            key=self._pruned_key(cell),
            told=told,
            do=work,
            values=self._prune_asked(cell),
            models=self._starting(cell),
        )
        return done(
            job.packed(),
            threads=self.recipe.run.threads,
            folder=self.folder.work(job.name, job.key),
            progress=self._part(READ_STEPS, told),
        )

    def _finetune(self, runner: Runner) -> None:
        jobs = []
        for cell in self.grid.cells:
            record, key = self.known.pruned(cell), self.known.finetuned_key(cell)
            if record is None or key is None or self.known.finetuned(cell) is not None or cell.name in self.failed:
                continue
            jobs.append(
                Job(
                    name=cell.name,
                    key=key,
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
                    trains=True,
                )
            )
        self._do(runner, "finetuned", jobs)

    def _measure(self) -> None:
        for row in self._unmeasured():
            files = self.known.row_files(row)
            found = measured_row(
                files,
                self.recipe.measure,
                f"{row[0]}, {row[1]}",
                trusted=self._architecture(row[0]),
                progress=self._part(MEASURE_STEPS * len(files), "measuring"),
            )
            key = self.known.latency_key(self.known.shapes(row))
            self.folder.keep("latency", row_name(row), key, {name: asdict(timed) for name, timed in found.items()})
            self._pass(MEASURE_STEPS * len(files))

    def _unmeasured(self) -> list[Row]:
        """Rows that have models which were not all measured together; what was refused is tried again."""
        rows = []
        for row in self.known.rows:
            files, found = self.known.row_files(row), self.known.latencies(row)
            if len(files) > 1 and (found is None or any(found[name]["refused"] for name in files)):
                rows.append(row)
        return rows

    def _fitting(self, start: Start, table: TrainTable | FinetuneTable) -> Fitting:
        rate = self.grid.model(start).learning_rate
        values = table.model_dump() | ({} if rate is None else {"learning_rate": rate})
        return Fitting(
            frames=self.beforehand.frames[start],
            settings=FitSettings(**values),
            hardware=self.beforehand.hardware,
        )

    def _architecture(self, start: Start) -> str:
        """What the model files of a start are trusted to be built by."""
        model = self.grid.model(start)
        card = self.beforehand.cards.get(model.called)
        return card.architecture if card is not None else str(model.name)

    def _do(self, runner: Runner, kind: Kind, jobs: Sequence[Job]) -> None:
        """Have ``jobs`` done and keep what comes of them as it comes."""
        if not jobs:
            return

        def finished(job: Job, ended: Done) -> None:
            self._keep(kind, job.name, job.key, ended)

        steps = sum(job.steps for job in jobs)
        runner(jobs, finished, self._part(steps))
        self._pass(steps)

    def _keep(self, kind: Kind, name: str, key: str, ended: Done) -> None:
        if ended.failed is not None:
            self.failed[name] = ended.failed
            log.warning("%s: failed: %s", name, ended.failed)
            if ended.trace:
                log.warning("where in the program: %s", self.folder.traced(name, ended.trace))
            return
        record = {**ended.record, "worker": ended.worker, "seconds": round(ended.seconds, 3)}
        self.folder.keep(kind, name, key, record, ended.model)
        if time.monotonic() - self.tabulated_at > TABULATED_EVERY_S:
            tabulated(self.known, self.failed)
            self.tabulated_at = time.monotonic()

    def _part(self, steps: int, told: str = "") -> Progress:
        """The progress of the next piece, of so many steps."""
        return part(self._tell, self.behind, steps, self.ahead, told)

    def _tell(self, done: int, total: int, note: str = "") -> None:
        """Progress that never goes back, where a piece of work was taken for less than it is."""
        self.shown = max(self.shown, min(done, total))
        self.progress(self.shown, total, note)

    def _pass(self, steps: int) -> None:
        self.behind += steps
        self._tell(self.behind, self.ahead)

    def _steps_left(self) -> int:
        """What is not done and has not failed, in steps of training."""
        recipe, failed, known = self.recipe, self.failed, self.known
        starts = [start for start in self.grid.starts if start.name not in failed]
        steps = recipe.train.steps * sum(known.original(start) is None for start in starts)
        for cell in self.grid.cells:
            if cell.start in starts and cell.name not in failed:
                if known.pruned(cell) is None:
                    steps += READ_STEPS if cell.asked.is_latency else PRUNE_STEPS
                if known.finetuned(cell) is None:
                    steps += recipe.finetune.steps
        rows = [row for row in known.rows if row[0] in starts and known.latencies(row) is None]
        return steps + MEASURE_STEPS * (1 + len(recipe.compare.methods)) * len(rows)
