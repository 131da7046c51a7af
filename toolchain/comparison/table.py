"""The table of a comparison, made of the records of its work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.accuracy import sensitivity_db
from deploy.host import describe_host
from toolchain.compared import FILE, Cell, Compared, Missing, Original
from toolchain.comparison.grid import Cell as Place
from toolchain.comparison.grid import Start
from toolchain.comparison.known import Known, Row
from toolchain.comparison.measuring import ORIGINAL
from toolchain.comparison.methods import KINDS
from toolchain.comparison.pruning import NEAR
from toolchain.comparison.recipe import told
from toolchain.run_folder import write_json

Record = Mapping[str, Any]


def tabulated(known: Known, failed: Mapping[str, str]) -> Compared:
    """Put what is known into the table, and write it to ``compare.json``; ``failed`` gives reasons by names."""
    grid = known.grid
    level = grid.recipe.measure.sensitivity_level
    rows = {row: known.latencies(row) for row in known.rows}
    found = {place: _cell(place, known, rows[place.start, place.asked], failed, level) for place in grid.cells}
    compared = Compared(
        name=known.folder.path.absolute().name,
        recipe=told(grid.recipe),
        host=describe_host(),
        baseline=grid.recipe.compare.against,
        level=level,
        runtimes=grid.recipe.measure.runtimes,
        originals=tuple(_original(start, known, rows, failed, level) for start in grid.starts),
        cells=tuple(cell for cell in found.values() if cell is not None),
        missing=tuple(_missing(place) for place, cell in found.items() if cell is None),
    )
    write_json(known.folder.path / FILE, compared.to_json())
    return compared


def told_failures(compared: Compared) -> list[str]:
    """A line for each original and each cell that failed; of what fails for the same reason, one for all."""
    lines: dict[str, list[str]] = {}
    for original in compared.originals:
        if original.failed is not None:
            lines.setdefault(original.failed, []).append(f"{original.model} on {original.data}, seed {original.seed}")
    for cell in compared.cells:
        place = f"{cell.method}, {cell.budget}, {cell.model} on {cell.data}, seed {cell.seed}"
        if cell.failed is not None:
            lines.setdefault(cell.failed, []).append(place)
        elif cell.unmeasured is not None:
            lines.setdefault(f"its latency cannot be measured: {cell.unmeasured}", []).append(place)
    return [
        f"failed: {places[0]}{f' and {len(places) - 1} more' if len(places) > 1 else ''}: {why}"
        for why, places in lines.items()
    ]


def _original(
    start: Start, known: Known, rows: Mapping[Row, Record | None], failed: Mapping[str, str], level: float
) -> Original:
    values: dict[str, Any] = {"data": start.data, "model": start.model, "seed": start.seed}
    record = known.original(start)
    if record is None:
        return Original.model_validate(values | {"failed": failed.get(start.name)}, strict=False)
    measured = [row for (of, _), row in rows.items() if of == start and row is not None]
    values |= {name: record[name] for name in ("classes", "frames", "worker", "seconds")}
    values["judged"] = _judged(record, level)
    values["latency"] = measured[0][ORIGINAL]["latency"] if measured else ()
    return Original.model_validate(values, strict=False)


def _missing(place: Place) -> Missing:
    start = place.start
    return Missing(method=place.method, data=start.data, model=start.model, budget=str(place.asked), seed=start.seed)


def _cell(place: Place, known: Known, row: Record | None, failed: Mapping[str, str], level: float) -> Cell | None:
    """A cell of the table; None for one that is not done yet."""
    pruned, tuned, why = known.pruned(place), known.finetuned(place), failed.get(place.name)
    if tuned is None and why is None:
        return None
    values: dict[str, Any] = {
        "method": place.method,
        "kind": KINDS[place.method],
        "data": place.start.data,
        "model": place.start.model,
        "budget": str(place.asked),
        "seed": place.start.seed,
        "failed": why,
    }
    if pruned is not None:
        names = ("asked", "wanted", "reached", "within", "layers", "ratio", "inner")
        values |= {name: pruned[name] for name in names if name in pruned}
    if tuned is not None and pruned is not None:
        values |= {name: tuned[name] for name in ("untuned_accuracy", "worker")}
        values["judged"] = _judged(tuned, level)
        values["seconds"] = tuned["seconds"] + pruned["seconds"]
        timed = None if row is None else row.get(place.method)
        if timed is not None:
            values["latency"] = timed["latency"]
            values["unmeasured"] = "; ".join(timed["refused"]) or None
            if place.asked.is_latency and row is not None:
                values |= as_measured(place, known, row)
    return Cell.model_validate(values, strict=False)


def as_measured(place: Place, known: Known, row: Record) -> dict[str, Any]:
    """What a model of a latency budget comes to in the run that timed all methods: the search read it by itself before."""
    runtime, reference = known.grid.recipe.measure.runtimes[0], known.grid.reference_cell(place)
    timed = {name: latency for name, of in row.items() for latency in of["latency"] if latency["runtime"] == runtime}
    if place.method not in timed:
        return {}
    reached = 1.0 / timed[place.method]["times_as_fast"]
    if KINDS[place.method] == "channels":
        if reference is None or reference.method not in timed:
            return {"reached": reached}
        wanted = 1.0 / timed[reference.method]["times_as_fast"]
        return {"wanted": wanted, "reached": reached, "within": abs(reached - wanted) <= NEAR}
    budget = place.asked.value
    wanted = 1.0 / budget if place.asked.kind == "speedup" else budget / timed[ORIGINAL]["p50_ms"]
    return {"wanted": wanted, "reached": reached, "within": reached - wanted <= NEAR}


def _judged(record: Record, level: float) -> dict[str, Any]:
    judged = record["judged"]
    return {**judged, "sensitivity_db": sensitivity_db(judged["accuracy_by_snr"], level)}
