"""The table of a comparison, made of the records of its work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.host import describe_host
from toolchain.compared import FILE, Cell, Compared, Original
from toolchain.comparison.folder import Folder
from toolchain.comparison.grid import Asked, Grid, Start
from toolchain.comparison.grid import Cell as Place
from toolchain.comparison.measuring import ORIGINAL
from toolchain.comparison.methods import KINDS
from toolchain.comparison.recipe import told
from toolchain.run_folder import write_json

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Records:
    """What is known of each original, each cell as pruned and as fine-tuned, each row's latencies; None where nothing is.

    ``failed`` says why, by the name of a start or a cell.
    """

    originals: Mapping[Start, Record | None]
    cells: Mapping[Place, tuple[Record | None, Record | None]]
    rows: Mapping[tuple[Start, Asked], Record | None]
    failed: Mapping[str, str]


def tabulated(grid: Grid, folder: Folder, records: Records) -> Compared:
    """Put ``records`` into the table, and write it to ``compare.json``."""
    found = [_cell(place, *records.cells[place], records) for place in grid.cells]
    cells = tuple(cell for cell in found if cell is not None)
    compared = Compared(
        name=folder.path.absolute().name,
        recipe=told(grid.recipe),
        host=describe_host(),
        baseline=grid.recipe.compare.against,
        level=grid.recipe.measure.sensitivity_level,
        runtimes=grid.recipe.measure.runtimes,
        originals=tuple(_original(start, record, records) for start, record in records.originals.items()),
        cells=cells,
        missing=len(found) - len(cells),
    )
    write_json(folder.path / FILE, compared.to_json())
    return compared


def told_failures(compared: Compared) -> list[str]:
    """A line for each original and each cell that failed; of what fails for the same reason, one for all."""
    lines: dict[str, list[str]] = {}
    for original in compared.originals:
        if original.failed is not None:
            lines.setdefault(original.failed, []).append(f"{original.model} on {original.data}, seed {original.seed}")
    for cell in compared.cells:
        if cell.failed is not None:
            place = f"{cell.method}, {cell.budget}, {cell.model} on {cell.data}, seed {cell.seed}"
            lines.setdefault(cell.failed, []).append(place)
    return [
        f"failed: {places[0]}{f' and {len(places) - 1} more' if len(places) > 1 else ''}: {why}"
        for why, places in lines.items()
    ]


def _original(start: Start, record: Record | None, records: Records) -> Original:
    values: dict[str, Any] = {"data": start.data, "model": start.model, "seed": start.seed}
    if record is None:
        why = records.failed.get(start.name, "it is not trained yet")
        return Original.model_validate(values | {"failed": why}, strict=False)
    rows = [row for (of, _), row in records.rows.items() if of == start and row is not None]
    latency = rows[0].get(ORIGINAL, ()) if rows else ()
    told = {name: record[name] for name in ("classes", "frames", "judged", "worker", "seconds")}
    return Original.model_validate(values | told | {"latency": latency}, strict=False)


def _cell(place: Place, pruned: Record | None, tuned: Record | None, records: Records) -> Cell | None:
    """A cell of the table; None for one that is not done yet."""
    why = records.failed.get(place.name)
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
    if tuned is not None:
        values |= {name: tuned[name] for name in ("untuned_accuracy", "judged", "worker")}
        values["seconds"] = tuned["seconds"] + (pruned["seconds"] if pruned else 0.0)
        row = records.rows.get((place.start, place.asked))
        latency = None if row is None else row.get(place.method)
        if isinstance(latency, list):
            values["latency"] = latency
    return Cell.model_validate(values, strict=False)
