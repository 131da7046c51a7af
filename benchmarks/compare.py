"""The evidence for the method against channel pruning and other choices of layers: ``thinwave compare``, three times.

    python benchmarks/compare.py [--only NAME] [--rows] [--summarise] [--quick]

The recipes lie in ``benchmarks/compare_recipes``: a 1-D ResNet-56 with every method, five budgets and three seeds; a 1-D
ResNet-110 and a 1-D VGG-16 at one budget. Each runs on both cores by ``--ray local`` into ``runs/compare/NAME``; stop the
program at any time and start it again, also on another day: it goes on with what is missing. Rows go to
``benchmarks/results/compare.json`` after each. ``--rows`` makes them of what is there and runs nothing; ``--summarise`` turns
the results file into the README's tables and its picture, ``compare.png`` beside it.

Some six hours on two cores. Close other programs while latencies are measured: times are those of the machine as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

# This folder, in which a program hides the package of its name: what it hides is imported first.
sys.path.pop(0)

import deploy  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))

from compare_parts.picture import draw

from deploy.interval import resolution, t_interval
from toolchain.compared import OURS, Cell, Compared, Judged, Latency, Original, read_compared
from toolchain.errors import RunError
from toolchain.report.comparison.wording import budget_in_words
from toolchain.report.drawing import save

RECIPES = Path(__file__).parent / "compare_recipes"
RESULTS = Path(__file__).parent / "results" / "compare.json"
WORK = Path(__file__).parents[1] / "runs" / "compare"
NAMES = ("resnet1d56", "resnet1d110", "vgg1d16")
# Rows of one method, by seed.
Seeds = dict[int, dict[str, Any]]
# A heading, a budget, and what is said there of a method beside ours.
Column = tuple[str, str, Callable[[Seeds, Seeds], str]]
# A little of everything.
QUICK = (
    "compare.seeds=[1,2]", 'compare.methods=["layers","l1","scratch"]', "budgets.speedup=[]", "train.steps=20",
    "finetune.steps=10", "measure.processes=2", "measure.seconds=0.05",
)  # fmt: skip


def main() -> None:
    """Run what is missing, make the rows, show the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--rows", action="store_true", help="the results file, of what is in --work; what it has of other models stays"
    )
    parser.add_argument("--summarise", action="store_true", help="the tables and the picture, of the results file")
    parser.add_argument("--quick", action="store_true", help="a little of everything; its results stay in --work")
    parser.add_argument(
        "--work", type=Path, default=WORK, help="models and records, and results where another [default: runs/compare]"
    )
    arguments = parser.parse_args()
    work = arguments.work / "quick" if arguments.quick else arguments.work
    # Of models that lie elsewhere, and of a little of everything, the results lie there too.
    results = RESULTS if work.resolve() == WORK.resolve() else work / RESULTS.name
    if not (arguments.rows or arguments.summarise):
        for name in arguments.only or NAMES:
            run(name, work, QUICK if arguments.quick else ())
            write(results, work)
    if arguments.rows:
        write(results, work)
    if not results.exists():
        sys.exit(f"{results}: there are no results yet; run without --summarise, or name --work")
    found = json.loads(results.read_text())
    print(tables(found))
    if (figure := draw(found["rows"], NAMES[0])) is not None:
        save(figure, results.with_suffix(".png"))


def run(name: str, work: Path, changes: Sequence[str]) -> None:
    """Do what is missing of one comparison; a cell that fails is in the table with its reason."""
    command = [sys.executable, "-m", "toolchain.cli", "compare", RECIPES / f"{name}.toml", "--out", work / name]
    words = [word for change in changes for word in ("--set", change)]
    ended = subprocess.run([*command, "--ray", "local", *words], check=False).returncode
    if ended not in (0, 1):
        sys.exit(f"thinwave compare of {name} ended with {ended}; the same command goes on from there")


def write(results: Path, work: Path) -> None:
    """Put all that is in ``work`` into the results file; what that has of other models stays."""
    there: dict[str, Compared] = {}
    for name in NAMES:
        try:
            there[name] = read_compared(work / name)
        except RunError as error:
            print(f"{name}: {error}", file=sys.stderr)
    kept = json.loads(results.read_text()) if results.exists() else {}
    values = {
        "command": "python benchmarks/compare.py",
        "host": kept.get("host", {}) | {name: one.host for name, one in there.items()},
        "recipes": kept.get("recipes", {}) | {name: one.recipe for name, one in there.items()},
        "missing": kept.get("missing", {}) | {name: len(one.missing) for name, one in there.items()},
    }
    found = [row for row in kept.get("rows", []) if row["model"] not in there]
    found += [row for one in there.values() for row in rows(one)]
    results.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in sorted(found, key=lambda row: NAMES.index(row["model"])))
    head = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in values.items())
    partial = results.with_suffix(".partial")
    partial.write_text("{\n" + head + '"rows": [\n' + lines + "\n]\n}\n")
    partial.replace(results)


def rows(compared: Compared) -> Iterator[dict[str, Any]]:
    """A row a model: originals first, as method "original" and budget "none"."""
    for original in compared.originals:
        yield {"method": "original", "budget": "none", **_row(original, compared.runtimes[0])}
    for cell in compared.cells:
        told = {"asked": cell.asked, "wanted": cell.wanted, "reached": cell.reached, "within": cell.within}
        yield {
            "method": cell.method,
            "budget": cell.budget,
            **_row(cell, compared.runtimes[0]),
            "kind": cell.kind,
            **told,
        }


def _row(found: Original | Cell, first: str) -> dict[str, Any]:
    judged, latency = found.judged, {each.runtime: _timed(each) for each in found.latency}
    return {
        "model": found.model,
        "data": found.data,
        "seed": found.seed,
        "accuracy": judged.accuracy if judged else None,
        "test_frames": sum(map(sum, judged.confusion)) if judged else None,
        "macs": judged.macs if judged else None,
        "params": judged.params if judged else None,
        # In the first runtime; all of them are in "latency".
        "latency_ms": latency[first]["p50_ms"] if first in latency else None,
        "accuracy_by_snr": judged.accuracy_by_snr if judged else None,
        "worst_class": _worst(judged) if judged else None,
        "sensitivity_db": judged.sensitivity_db if judged else None,
        "latency": latency,
        "seconds": found.seconds,
        "failed": found.failed,
    }


def _worst(judged: Judged) -> float:
    """The share of the class that is named best least often."""
    return min(row[number] / max(1, sum(row)) for number, row in enumerate(judged.confusion))


def _timed(latency: Latency) -> dict[str, Any]:
    names = ("runtime_version", "precision", "threads", "batch", "p50_ms", "p99_ms", "times_as_fast", "times_interval")
    values = {
        name: getattr(latency, name) for name in (*names, "processes", "run", "same_as", "stable", "load_average")
    }
    return {**values, "times_interval": list(latency.times_interval)}


def tables(found: dict[str, Any]) -> str:
    """For each model tables of accuracies and speeds, a line a method; and what its jobs took.

    A column is a budget; of one budget alone both are in one table.
    """
    parts = []
    for model, data in dict.fromkeys((row["model"], row["data"]) for row in found["rows"]):
        these = [row for row in found["rows"] if (row["model"], row["data"]) == (model, data)]
        originals = {row["seed"]: row for row in these if row["method"] == "original" and row["accuracy"] is not None}
        cells = [row for row in these if row["method"] != "original"]
        if not cells:
            continue
        runtimes = list(dict.fromkeys(runtime for row in these for runtime in row["latency"]))
        speeds = partial(_speed, originals=originals, runtimes=runtimes)
        fast = f"times as fast as the original in {' / '.join(runtimes)} (MACs left)"
        budgets = {budget: budget_in_words(budget) for budget in dict.fromkeys(row["budget"] for row in cells)}
        if len(budgets) > 1:
            accuracies = [(words, budget, _accuracy) for budget, words in budgets.items()]
            parts += _table(f"{model}, accuracy, %", cells, accuracies, originals)
            parts += _table(f"{model}, {fast}", cells, [(words, name, speeds) for name, words in budgets.items()], {})
        else:
            ((budget, words),) = budgets.items()
            both = [("accuracy, %", budget, _accuracy), (fast, budget, speeds)]
            parts += _table(f"{model}, {words}", cells, both, originals)
        hours = math.fsum(row["seconds"] for row in these) / 3600
        parts += [
            f"{model}: {hours:.1f} hours of training, pruning and reading in all its jobs; rows are timed apart",
            "",
        ]
    return "\n".join(parts)


def _table(title: str, cells: Sequence[dict[str, Any]], columns: Sequence[Column], originals: Seeds) -> list[str]:
    lines = [title, "", "| method | " + " | ".join(heading for heading, _, _ in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    if originals:
        lines.append("| original | " + " | ".join(said(originals, {}) for _, _, said in columns) + " |")
    for method in dict.fromkeys(row["method"] for row in cells):
        told = []
        for _, budget, said in columns:
            mine = _of(cells, method, budget)
            told.append(said(mine, _of(cells, OURS, budget)) if mine else _why_none(cells, method, budget))
        lines.append(f"| {method} | " + " | ".join(told) + " |")
    return [*lines, ""]


def _of(cells: Sequence[dict[str, Any]], method: str, budget: str) -> Seeds:
    """What there is of a method and budget, by seed."""
    return {
        row["seed"]: row
        for row in cells
        if (row["method"], row["budget"]) == (method, budget) and row["accuracy"] is not None
    }


def _why_none(cells: Sequence[dict[str, Any]], method: str, budget: str) -> str:
    tried = [row["failed"] for row in cells if (row["method"], row["budget"]) == (method, budget)]
    return "failed" if any(tried) else "not run yet"


def _accuracy(mine: Seeds, layers: Seeds) -> str:
    """The mean over seeds, and whether it is shown, seed by seed, to be less than that of layers (``-``) or more (``+``).

    ``*`` says that the budget is not reached, and then nothing is compared.
    """
    mean = fmean(100 * row["accuracy"] for row in mine.values())
    if not all(row.get("within", True) for row in mine.values()):
        return f"{mean:.1f} *"
    more = [row["accuracy"] - layers[seed]["accuracy"] for seed, row in mine.items() if seed in layers]
    if len(more) < 2:
        return f"{mean:.1f}"
    fewest = min(row["test_frames"] for row in mine.values())
    _, low, high = t_interval(more, floor=resolution(fewest, shares=2))
    return f"{mean:.1f}{' -' if high < 0 else ' +' if low > 0 else ''}"


def _speed(mine: Seeds, layers: Seeds, *, originals: Seeds, runtimes: Sequence[str]) -> str:
    """The geometric mean over seeds in each runtime, and the part of the MACs that is left."""
    times = []
    for runtime in runtimes:
        logs = [
            math.log(row["latency"][runtime]["times_as_fast"]) for row in mine.values() if runtime in row["latency"]
        ]
        times.append(f"{math.exp(fmean(logs)):.2f}" if logs else "?")
    left = [row["macs"] / originals[seed]["macs"] for seed, row in mine.items() if seed in originals]
    return f"{' / '.join(times)} ({100 * fmean(left):.0f} %)"


if __name__ == "__main__":
    main()
