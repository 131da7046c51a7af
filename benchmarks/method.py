"""The evidence for the method: what cuts cost in accuracy, against other ways to choose, and what each choice is worth.

    python benchmarks/method.py [--list] [--only PART] [--larger] [--workers 2] [--summarise] [--quick]

A grid of small cells (train a base model; plan, prune, fine-tune), each done by a worker with one thread and kept in
``benchmarks/results/method.json`` the moment it is finished: stop the program at any time and start it again, also on
another day; it goes on with what is missing. Base models and half-trained ones lie in ``runs/method`` and are trained
again if they are gone. ``--summarise`` turns the results into the tables of the README and trains nothing.

Epochs and the choices of the ablation are judged on the validation split. The test split is read once a finished model.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

# This folder, in which a program hides the package of its name: what it hides is imported first.
sys.path.pop(0)

import deploy  # noqa: F401
import targets  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))

from method_parts.grid import LARGER, PARTS, Cell, cells_of, quick_grid
from method_parts.records import Records, base_key
from method_parts.schedule import Estimate, Schedule, duration, needed
from method_parts.summary import summary

RESULTS = Path(__file__).parent / "results" / "method.json"
WORK = Path(__file__).parents[1] / "runs" / "method"


def main() -> None:
    """List, run or summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--larger", action="store_true", help=f"also {', '.join(LARGER)}")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each [default: 2]")
    parser.add_argument("--work", type=Path, default=WORK, help="base models and checkpoints [default: runs/method]")
    parser.add_argument("--quick", action="store_true", help="a tiny grid, for trying; its results stay in --work")
    parser.add_argument("--list", action="store_true", help="the cells, done or not, and the time left")
    parser.add_argument("--summarise", action="store_true", help="tables from the results that are there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        # Here, because listing and summarising need no torch.
        from method_parts.work import serve

        serve()
        return
    wanted = arguments.only or [part for part in PARTS if arguments.larger or part not in LARGER]
    cells = [cell for cell in quick_grid() if cell.part in wanted] if arguments.quick else cells_of(wanted)
    records = Records(arguments.work / "quick" / "method.json" if arguments.quick else RESULTS)
    if arguments.list:
        show(cells, records, arguments.workers)
    elif arguments.summarise:
        # What was run beyond the grid counts too.
        print(summary(cells if arguments.quick or arguments.only else cells_of(list(PARTS)), records))
    else:
        run(cells, records, arguments.work, arguments.workers)


def run(cells: Sequence[Cell], records: Records, work: Path, workers: int) -> None:
    """Do what is left."""
    from deploy.host import describe_host

    shown = [item for item in sys.argv[1:] if not Path(item).is_absolute()]
    records.about = {"host": describe_host(), "command": shlex.join(["python", "benchmarks/method.py", *shown])}
    # Ended by a system that shuts down as by hand: the workers are stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    left_s = Estimate(records).remaining(cells, records) / workers
    print(f"{len(cells)} cells, at most {duration(left_s)} left with {workers} workers", flush=True)
    schedule = Schedule(cells, records, work, Path(__file__))
    try:
        schedule.run(workers)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    if schedule.failed:
        sys.exit(f"{len(schedule.failed)} pieces of work failed; the same command tries them again")
    print(summary(cells, records))


def show(cells: Sequence[Cell], records: Records, workers: int) -> None:
    """A line a cell, then a line a part, and the time."""
    for cell in cells:
        base, choice = cell.base, {name: value for name, value in vars(cell.choice).items() if value is not None}
        done = records.get(base_key(base)) is not None and needed(cell, records) is None
        said = " ".join(f"{name}={value}" for name, value in choice.items())
        tuning = f"{cell.tuning.epochs} epochs, distillation {cell.tuning.distillation:g}, {cell.tuning.start}"
        print(
            f"{'done' if done else '    '} {cell.part:11} {base.frames} {base.architecture} {base.seed}: {said}; {tuning}"
        )
    estimate, sizes = Estimate(records), Counter(cell.part for cell in cells)
    print()
    for part, size in sizes.items():
        these = [cell for cell in cells if cell.part == part]
        done = sum(needed(cell, records) is None for cell in these)
        hours = duration(estimate.remaining(these, records) / workers)
        print(f"{part:11} {done:3}/{size:3} cells, at most {hours} left alone: {PARTS[part]}")
    bases = {cell.base for cell in cells}
    trained = sum(records.get(base_key(base)) is not None for base in bases)
    left = duration(estimate.remaining(cells, records) / workers)
    print(f"{len(cells)} cells on {len(bases)} base models ({trained} trained); at most {left} left, {workers} workers")


if __name__ == "__main__":
    main()
