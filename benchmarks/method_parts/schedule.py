"""Which piece of work is next, who does it, and how long the rest takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from method_parts.grid import TRAINING_FRAMES, WHOLE, Base, Cell
from method_parts.records import Record, Records, base_key, model_file, plan_key, text_of, tune_key

# Multiply-accumulates a second of a core that trains, before any were timed; layers of few channels are slower.
MACS_PER_S = {"vgg1d16": 42e9}
SLOW_MACS_PER_S = 19e9
# Going forward alone, the same layers are this much faster; and what every frame costs besides its layers.
FORWARD_FASTER = 1.6
FRAME_S = 1.4e-4
MACS = {"resnet1d20": 4.2e6, "resnet1d56": 12.2e6, "resnet1d110": 24.5e6, "vgg1d16": 55e6}
PLAN_S = 4.0


def needed(cell: Cell, records: Records) -> dict[str, Any] | None:
    """The next piece of work of a cell, base model aside: "plan" or "tune"; None where the cell is done."""
    plan = records.get(plan_key(cell.base, cell.choice))
    if plan is None:
        return {"what": "plan"}
    if "refused" in plan or records.get(tune_key(cell.base, tuple(plan["kept"]), cell.tuning)):
        return None
    return {"what": "tune", "kept": plan["kept"], "tuning": asdict(cell.tuning)}


class Estimate:
    """Seconds that a piece of work takes on one core, by the records of what was timed."""

    def __init__(self, records: Records) -> None:
        self.rates = dict(MACS_PER_S)
        spent: dict[str, tuple[float, float]] = {}
        for record in records.all("base"):
            key = record["key"]
            work, seconds = spent.get(key["architecture"], (0.0, 0.0))
            done = 3 * record["macs"] * record["frames"]["train"] * key["training"]["epochs"]
            spent[key["architecture"]] = (work + done, seconds + record["seconds"])
        self.rates |= {name: work / seconds for name, (work, seconds) in spent.items()}

    def base(self, base: Base) -> float:
        """Training: forward and twice that backward."""
        frames = TRAINING_FRAMES[base.frames] * base.training.epochs
        return frames * 3 * MACS[base.architecture] / self._rate(base)

    def tune(self, cell: Cell, records: Records) -> float:
        """Fine-tuning: the pruned model as above, the teacher forward alone."""
        plan = records.get(plan_key(cell.base, cell.choice)) or {}
        removed = plan.get("macs_removed", 0.0 if cell.choice == WHOLE else cell.choice.macs_cut or 0.95)
        passes = 3 * (1 - removed) + (1 / FORWARD_FASTER if cell.tuning.distillation else 0)
        frame_s = FRAME_S + passes * MACS[cell.base.architecture] / self._rate(cell.base)
        return frame_s * TRAINING_FRAMES[cell.base.frames] * cell.tuning.epochs

    def _rate(self, base: Base) -> float:
        return self.rates.get(base.architecture, SLOW_MACS_PER_S)

    def remaining(self, cells: Sequence[Cell], records: Records) -> float:
        """For all that is left, on one core. Plans that turn out equal will share a fine-tuning, so this is an upper bound."""
        seconds, counted = 0.0, set()

        def once(key: dict[str, Any], cost: float) -> float:
            text = text_of(key)
            if text in counted:
                return 0.0
            counted.add(text)
            return cost

        for cell in cells:
            left = needed(cell, records)
            if left is None:
                continue
            if records.get(base_key(cell.base)) is None:
                seconds += once(base_key(cell.base), self.base(cell.base))
            if left["what"] == "plan":
                seconds += once(plan_key(cell.base, cell.choice), PLAN_S)
                key = {**plan_key(cell.base, cell.choice), "tuning": vars(cell.tuning)}
            else:
                key = tune_key(cell.base, tuple(left["kept"]), cell.tuning)
            seconds += once(key, self.tune(cell, records))
        return seconds


class Schedule:
    """Workers that take the first piece of work that can be done, until none is left."""

    def __init__(self, cells: Sequence[Cell], records: Records, work: Path, program: Path) -> None:
        self.cells, self.records, self.work, self.program = cells, records, work, program
        self.failed: dict[str, str] = {}
        self.running: set[str] = set()
        self.changed = threading.Condition()
        self.processes: list[subprocess.Popen[str]] = []
        self.stopping = False
        self.broken: list[BaseException] = []
        self.workers = 1

    def run(self, workers: int) -> None:
        """Do all that is left; an interrupt stops the workers and leaves what is finished."""
        self.work.mkdir(parents=True, exist_ok=True)
        self.workers = workers
        threads = [threading.Thread(target=self._guarded, daemon=True) for _ in range(workers)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                # In slices: a plain join would keep an interrupt waiting.
                while thread.is_alive():
                    thread.join(1.0)
        finally:
            self.stopping = True
            for process in self.processes:
                process.terminate()
        if self.broken:
            raise self.broken[0]

    def _guarded(self) -> None:
        """A thread that fails, as on a full disk, stops all: the others would wait for it."""
        try:
            self._worker()
        except BaseException as error:
            self.broken.append(error)
            self.stopping = True

    def _worker(self) -> None:
        process = None
        while (job := self._next()) is not None:
            if process is None or process.poll() is not None:
                process = self._started()
            started = time.monotonic()
            records, error = _asked(process, job)
            if self.stopping:
                return
            with self.changed:
                self.running.discard(_identity(job))
                if error:
                    self.failed[_identity(job)] = error
                    print(f"FAILED {_told(job)}\n{error}", flush=True)
                for record in records:
                    self.records.add(record)
                if not error:
                    self._tell(job, records, time.monotonic() - started)
                self.changed.notify_all()
        if process is not None and process.stdin is not None:
            process.stdin.close()

    def _next(self) -> dict[str, Any] | None:
        with self.changed:
            while not self.stopping:
                job = self._ready()
                if job is not None:
                    self.running.add(_identity(job))
                    return job
                if not self.running:
                    return None
                self.changed.wait(1.0)
        return None

    def _ready(self) -> dict[str, Any] | None:
        """The first piece of work that nobody does and that waits for nothing."""
        for cell in self.cells:
            left = needed(cell, self.records)
            if left is None:
                continue
            job = {"work": str(self.work), "base": asdict(cell.base), **left}
            if not (self.records.get(base_key(cell.base)) and model_file(self.work, cell.base).is_file()):
                job = {"work": str(self.work), "base": asdict(cell.base), "what": "base"}
            elif left["what"] == "plan":
                job["choices"] = self._unplanned(cell.base)
            if _identity(job) not in self.running and _identity(job) not in self.failed:
                return job
        return None

    def _unplanned(self, base: Base) -> list[dict[str, Any]]:
        """Every choice on a base model that has no plan yet: together they share the comparing of its units."""
        choices = {cell.choice: None for cell in self.cells if cell.base == base}
        return [asdict(choice) for choice in choices if self.records.get(plan_key(base, choice)) is None]

    def _started(self) -> subprocess.Popen[str]:
        # numpy's and torch's own threads: layers this small make them wait for each other.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, str(self.program), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            # An interrupt from the terminal goes to the program alone, which stops its workers.
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def _tell(self, job: dict[str, Any], records: Sequence[Record], seconds: float) -> None:
        done = sum(needed(cell, self.records) is None for cell in self.cells)
        left_s = Estimate(self.records).remaining(self.cells, self.records) / self.workers
        found = f", test {100 * records[0]['test']:.2f} %" if "test" in records[0] else f", {len(records)} plans"
        print(
            f"{done}/{len(self.cells)} cells  {_told(job)}{found}, {seconds:.0f} s  (at most {duration(left_s)} left)",
            flush=True,
        )


def duration(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _asked(process: subprocess.Popen[str], job: dict[str, Any]) -> tuple[list[Record], str]:
    """Give a worker a job and wait; the records, or what went wrong."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
    except (OSError, ValueError):
        process.kill()
        return [], f"the worker ended, status {process.wait()}"
    return said.get("records", []), said.get("error", "")


def _identity(job: dict[str, Any]) -> str:
    """The same for jobs that must not be done side by side."""
    if job["what"] == "tune":
        return text_of(job)
    return text_of({"what": job["what"], "base": job["base"]})


def _told(job: dict[str, Any]) -> str:
    base = job["base"]
    told = f"{base['frames']} {base['architecture']} seed {base['seed']} {job['what']}"
    return f"{told}, {len(job['kept'])} units kept" if "kept" in job else told
