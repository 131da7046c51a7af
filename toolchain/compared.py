"""What a comparison found: ``compare.json``, written by :mod:`toolchain.comparison` and read by :mod:`toolchain.report`.

A *row* of a comparison is one model trained on one data set with one seed under one budget: all methods of a row start from
the same original, are fine-tuned alike, and are measured in turns in one run.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, NonNegativeFloat, model_validator

from deploy.regular_file import read_whole
from deploy.strict_reading import Strict, read_strictly
from toolchain.errors import RunError

SCHEMA = 2
FILE = "compare.json"
# A thousand cells have some ten MiB.
MOST_BYTES = 1 << 29
Share = Annotated[float, Field(ge=0, le=1)]
# Beyond any model, device or set, and short of where arithmetic ends.
Count = Annotated[int, Field(ge=1, le=10**15)]
CountOrZero = Annotated[int, Field(ge=0, le=10**15)]
Milliseconds = Annotated[float, Field(ge=1e-9, le=1e12)]
Ratio = Annotated[float, Field(ge=1e-9, le=1e9)]
Decibels = Annotated[float, Field(ge=-1000, le=1000)]
Kind = Literal["layers", "channels", "scratch"]
OURS = "layers"
"""The method that is thinwave's own."""


def budget_name(kind: str, value: float) -> str:
    """A budget as results name it: "macs_cut=0.75", told apart to the last digit."""
    short = f"{value:g}"
    return f"{kind}={short if float(short) == value else repr(value)}"


class Latency(Strict):
    """What a model takes in one ``runtime`` on the machine ``host``, in milliseconds, and how much faster than its original.

    ``times_as_fast`` is the original's median over this one's in the same processes, with its 95 % interval over them;
    ``percentiles_ms`` are those from 0 to 100 of all single runs. ``run`` names the run, in which all models with the same
    name were timed in turns; ``load_average`` is the number of runnable processes in its last minute. Models of the same
    layers are timed once: ``same_as`` says which method's this was.
    """

    runtime: str
    runtime_version: str
    precision: str
    target: str
    host: str
    batch: Count
    threads: Count
    p50_ms: Milliseconds
    p50_interval_ms: tuple[Milliseconds, Milliseconds]
    p99_ms: Milliseconds
    times_as_fast: Ratio
    times_interval: tuple[Ratio, Ratio]
    percentiles_ms: tuple[Milliseconds, ...] = Field(min_length=101, max_length=101)
    processes: Count
    stable: bool
    load_average: float | None = None
    run: str
    same_as: str | None = None


class Judged(Strict):
    """How good a model is on the test split, and what it costs.

    ``accuracy_by_snr`` is by SNR in dB, as text; ``confusion`` counts, rows the true class, and is square; ``sensitivity_db``
    is None where the level is not crossed.
    """

    accuracy: Share
    validation_accuracy: Share
    accuracy_by_snr: dict[str, Share]
    confusion: tuple[tuple[CountOrZero, ...], ...]
    sensitivity_db: Decibels | None
    params: Count
    macs: Count

    @model_validator(mode="after")
    def _by_snr_and_square(self) -> Judged:
        for text in self.accuracy_by_snr:
            if not _is_decibels(text):
                raise ValueError(f"accuracy_by_snr: got {text!r:.40}, expected SNRs in dB from -1000 to 1000, as text")
        widths = {len(row) for row in self.confusion}
        if widths - {len(self.confusion)}:
            raise ValueError(
                f"confusion: got {len(self.confusion)} rows of {', '.join(map(str, sorted(widths)))} counts, expected as many "
                "of one as of the other"
            )
        return self


class Layers(Strict):
    """A plan of layers: the ``units`` by name, the indices of the ``kept`` ones and of the first of each block."""

    units: tuple[str, ...]
    kept: tuple[CountOrZero, ...]
    boundaries: tuple[CountOrZero, ...]
    scored_by: tuple[str, ...]

    @model_validator(mode="after")
    def _of_units(self) -> Layers:
        for name in ("kept", "boundaries"):
            beyond = [index for index in getattr(self, name) if index >= len(self.units)]
            if beyond:
                raise ValueError(f"{name}: got index {beyond[0]}, expected less than the {len(self.units)} units")
        return self


class Original(Strict):
    """A model before it is pruned, trained on ``worker``; ``failed`` says why there is none, where it was tried."""

    data: str
    model: str
    seed: CountOrZero
    classes: tuple[str, ...] = ()
    frames: dict[str, CountOrZero] = Field(default_factory=dict)
    judged: Judged | None = None
    latency: tuple[Latency, ...] = ()
    seconds: NonNegativeFloat = 0.0
    worker: str = ""
    failed: str | None = None


class Cell(Strict):
    """A model pruned by a ``method`` to a ``budget`` ("macs_cut=0.75") and fine-tuned; ``failed`` says why there is none.

    ``wanted`` is the part of the original's figure (MACs, parameters, latency) that was to be left, ``reached`` what was
    found when it was pruned; where the two do not agree the cell is not ``within`` and is compared with none. ``asked`` is
    what the budget leaves. ``untuned_accuracy`` is on the validation split, before fine-tuning. ``inner`` says that only
    channels inside of blocks could go, ``ratio`` what share of the channels was asked to go. ``unmeasured`` says why a latency
    is missing.
    """

    method: str
    kind: Kind
    data: str
    model: str
    budget: str
    seed: CountOrZero
    asked: Ratio | None = None
    wanted: Ratio | None = None
    reached: Ratio | None = None
    within: bool = True
    untuned_accuracy: Share | None = None
    judged: Judged | None = None
    layers: Layers | None = None
    ratio: Share | None = None
    inner: bool = False
    latency: tuple[Latency, ...] = ()
    seconds: NonNegativeFloat = 0.0
    worker: str = ""
    failed: str | None = None
    unmeasured: str | None = None

    @model_validator(mode="after")
    def _a_model_or_why_not(self) -> Cell:
        if self.judged is None and self.failed is None:
            raise ValueError("holds neither what was judged nor why it failed, expected one of them")
        return self


class Missing(Strict):
    """A cell of the recipe that is not done yet."""

    method: str
    data: str
    model: str
    budget: str
    seed: CountOrZero


class Compared(Strict):
    """All of it: the recipe's values (of files only the names), on which host latencies were measured, originals, cells.

    ``baseline`` is the method that the others are held against, ``level`` the accuracy that sensitivity is the SNR of, and
    ``missing`` are the cells of the recipe that are not done yet; of originals all are there, and those not done have neither
    a judgement nor a reason.
    """

    schema_: Literal[2] = Field(default=2, alias="schema")
    name: str
    recipe: dict[str, JsonValue]
    host: dict[str, JsonValue]
    baseline: str
    level: Share
    runtimes: tuple[str, ...] = Field(min_length=1)
    originals: tuple[Original, ...]
    cells: tuple[Cell, ...]
    missing: tuple[Missing, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Compared:
        originals = Counter((one.model, one.data, f"seed {one.seed}") for one in self.originals)
        cells = Counter((one.method, one.model, one.data, one.budget, f"seed {one.seed}") for one in self.cells)
        for what, places in (("originals", originals), ("cells", cells)):
            twice = [place for place, times in places.items() if times > 1]
            if twice:
                raise ValueError(f"{what}: {', '.join(twice[0])} is there more than once, expected once")
        return self

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return self.model_dump(mode="json", by_alias=True)


def read_compared(folder: Path) -> Compared:
    """What the comparison in ``folder`` found; a file is taken for a ``compare.json`` itself.

    Raises RunError for what is none.
    """
    path = folder / FILE if folder.is_dir() else folder
    if not path.exists():
        raise RunError(f"{folder}: holds no {FILE}; expected a folder that `thinwave compare` wrote")
    try:
        values = json.loads(read_whole(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{path}: cannot be read: {reason}; expected what `thinwave compare` wrote") from error
    if isinstance(values, dict) and values.get("schema") != SCHEMA:
        raise RunError(f"{path}: its schema is {values.get('schema')}, this version reads {SCHEMA}; compare again")
    return read_strictly(Compared, values, where=str(path), error=RunError)


def _is_decibels(text: str) -> bool:
    try:
        # Of "nan" no comparison is true.
        return math.fabs(float(text)) <= 1000
    except ValueError:
        return False
