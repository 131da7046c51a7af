"""What a recipe may say: a TOML file of tables, read strictly into frozen values with units in their names.

It only reads: nothing here opens a data set, seeds anything or looks at the machine's devices. Every fault of a recipe is
reported at once, with the key's path and the name that was probably meant.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from deploy.batches import MOST_BATCH
from deploy.cgroup import cpu_quota_cores
from deploy.host import usable_cores
from deploy.names import PRECISIONS, Precision, RuntimeName
from deploy.strict_reading import Strict, read_strictly
from toolchain.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
Decibels = Annotated[int, Field(ge=-100, le=100)]


# Training frames on which units are compared: on two all units are equally alike.
COMPARED_FRAMES = (8, 4096)
# Of these a plan has one.
BUDGETS = ("keep", "macs_cut", "params_cut")
DEFAULT_KEEP = 0.25


class HardwareTable(Strict):
    """What models are trained on: ``devices`` of an ``accelerator``, in ``precision``; "auto" is a GPU where there is one."""

    threads: Annotated[int, Field(ge=0, description="CPU threads for training; 0: all that this process may use")] = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class RunTable(HardwareTable):
    """``[run]``: what holds for all stages, and what models are trained on."""

    seed: Seed = 1


class DataTable(Strict):
    """``[data]``: the frames. With ``file`` they are read, without it they are generated.

    ``length`` cuts a SigMF recording into frames, ``unknown_snr_db`` is the SNR of what it says none of; ``classes``
    keeps those modulations alone; ``split`` names how the set is split, and ``train`` and ``validation`` are shares for
    the ways that leave them open.
    """

    file: str | None = None
    length: Count | None = None
    unknown_snr_db: Annotated[float, Field(ge=-100, le=100)] | None = None
    classes: tuple[str, ...] | None = None
    preset: str = "rml2016a"
    frames_per_cell: Annotated[int, Field(ge=3, le=10_000_000)] = 200
    snr_min_db: Decibels = -6
    snr_max_db: Decibels = 18
    snr_step_db: Annotated[int, Field(ge=1, le=200)] = 2
    split: Literal["stratified", "amr-benchmark", "sequential-80-20", "own"] = "stratified"
    train: Fraction = 0.6
    validation: Fraction = 0.2

    @model_validator(mode="after")
    def _ranges(self) -> DataTable:
        if self.snr_min_db > self.snr_max_db:
            raise ValueError(f"snr_min_db = {self.snr_min_db} is above snr_max_db = {self.snr_max_db}")
        if self.train + self.validation >= 1:
            raise ValueError(f"train + validation = {self.train + self.validation:g} leaves nothing to test on")
        if self.split in ("amr-benchmark", "sequential-80-20") and (self.train, self.validation) != (0.6, 0.2):
            raise ValueError(f'split = "{self.split}" says its shares itself; leave train and validation out')
        if self.file is None and (self.length, self.unknown_snr_db) != (None, None):
            raise ValueError(
                "length and unknown_snr_db are for a recording in file; generated frames have their preset's"
            )
        return self


class ModelTable(Strict):
    """``[model]``: the architecture, and a trained model's file if there is one, which skips training.

    A thinwave file says its architecture and classes itself. For plain weights ``name`` says the architecture
    (resnet1d56 if absent) and ``classes`` the modulations in the order of the logits (the data set's own if absent).
    """

    name: str | None = None
    weights: str | None = None
    classes: tuple[str, ...] | None = None


class TrainTable(Strict):
    """``[train]``: ``steps`` batches of ``batch`` frames; ``learning_rate`` is the peak of its cycle.

    ``rotate`` turns every frame by a random phase each time it is seen; ``ema`` is the decay of an average of the weights that
    is kept in their stead, 0 for none.
    """

    steps: Count = 1500
    batch: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 6e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.02
    rotate: bool = True
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ChoicesTable(Strict):
    """How units are chosen: ``frames`` are compared for similarity, ``units`` are globs of module paths that name them."""

    frames: Annotated[int, Field(ge=COMPARED_FRAMES[0], le=COMPARED_FRAMES[1])] = 512
    similarity: Literal["cka", "cosine", "rsa"] = "cka"
    signature: Literal["row", "sum"] = "row"
    blocks: Literal["auto"] | Count = "auto"
    score: Literal["synflow", "medoid", "l1", "random"] = "synflow"
    direction: Literal["max", "min"] = "max"
    units: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _has_a_direction(self) -> ChoicesTable:
        if self.direction == "min" and self.score not in ("synflow", "l1"):
            raise ValueError(f'direction = "min" is for synflow and l1; score = "{self.score}" has no direction')
        return self


class PlanTable(ChoicesTable):
    """``[plan]``: how much stays, and how it is chosen.

    One budget: ``keep`` is a number of units, or a fraction of them (0.25 if no budget is given); ``macs_cut`` and
    ``params_cut`` are the least fraction that goes.
    """

    keep: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)] | None = None
    macs_cut: Fraction | None = None
    params_cut: Fraction | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> PlanTable:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are budgets, of which there is one; leave the others out")
        return self

    @property
    def budget(self) -> dict[str, Any]:
        """The one budget, by its name."""
        given = {name: value for name in BUDGETS if (value := getattr(self, name)) is not None}
        return given or {"keep": DEFAULT_KEEP}


class FinetuneTable(TrainTable):
    """``[finetune]``: as ``[train]``, with the original model's answers as the teacher."""

    steps: Count = 1200
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 6e-3
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0


class ExportTable(Strict):
    """``[export]``: in which ``precisions`` the models are written; fp32 is one of them.

    On ``parity_frames`` of the validation split the files are compared with torch; the bundles hold them. int8 is calibrated
    on ``calibration_frames`` of the training split. fp16 and int8 may be ``most_drop`` less accurate than fp32 on the
    validation split. Sensitivity is the SNR at which the accuracy on the test split crosses ``sensitivity_level``.
    """

    precisions: tuple[Precision, ...] = PRECISIONS
    parity_frames: Count = 512
    calibration_frames: Count = 512
    most_drop: Annotated[float, Field(ge=0, le=1)] = 0.005
    sensitivity_level: Fraction = 0.6

    @model_validator(mode="after")
    def _with_fp32(self) -> ExportTable:
        if "fp32" not in self.precisions:
            raise ValueError("precisions lack fp32, by which the others are judged; add it")
        return self


class ProfileTable(Strict):
    """``[profile]``: the target profile, and how its latency is measured."""

    target: str = "x86-cpu"
    runtime: RuntimeName = "onnxruntime"
    precision: Precision = "fp32"
    threads: Count = 1
    batch: Annotated[int, Field(ge=1, le=MOST_BATCH)] = 1
    processes: Annotated[int, Field(ge=2, le=1000)] = 10
    seconds: Annotated[float, Field(gt=0, le=120)] = 3.0


class Recipe(Strict):
    """A whole recipe. Every table and every key has a default."""

    run: RunTable = RunTable()
    data: DataTable = DataTable()
    model: ModelTable = ModelTable()
    train: TrainTable = TrainTable()
    plan: PlanTable = PlanTable()
    finetune: FinetuneTable = FinetuneTable()
    export: ExportTable = ExportTable()
    profile: ProfileTable = ProfileTable()

    @model_validator(mode="after")
    def _measures_what_it_exports(self) -> Recipe:
        if self.profile.precision not in self.export.precisions:
            raise ValueError(
                f'profile.precision = "{self.profile.precision}" is none of export.precisions, '
                f"{', '.join(self.export.precisions)}; add it there"
            )
        return self


# Tables and keys that name a file; a target is one where it does not name a profile of the package.
FileKeys = Sequence[tuple[str, str]]
FILE_KEYS: FileKeys = (("data", "file"), ("model", "weights"), ("profile", "target"))


def snrs_db(data: DataTable) -> range:
    """The SNRs that a generated set has."""
    return range(data.snr_min_db, data.snr_max_db + 1, data.snr_step_db)


def read_recipe(path: Path, assignments: Iterable[str] = ()) -> Recipe:
    """The recipe in ``path``, changed by ``assignments`` such as ``plan.keep=0.5``.

    File names in it are relative to the recipe's folder, those in assignments to the working directory.

    Raises RecipeError that lists every fault.
    """
    values, where = values_of(path, assignments, FILE_KEYS)
    return read_strictly(Recipe, values, where=where, error=RecipeError)


def values_of(path: Path, assignments: Iterable[str], file_keys: FileKeys) -> tuple[dict[str, Any], str]:
    """What a TOML file says, changed by ``assignments``, with whole paths at ``file_keys``; and how to name it in messages.

    Raises RecipeError for what is no TOML file, and for assignments that cannot be meant.
    """
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: there is no such recipe") from error
    except IsADirectoryError as error:
        raise RecipeError(f"{path}: this is a folder, expected a recipe, a TOML file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: this is no text, expected a recipe, a TOML file") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    _resolve_paths(values, path.parent, file_keys)
    changes: dict[str, Any] = {}
    for assignment in assignments:
        _assign(changes, assignment)
    _resolve_paths(changes, Path(), file_keys)
    for table, keys in changes.items():
        if isinstance(values.get(table), list):
            raise RecipeError(
                f"{path}: there may be several [[{table}]], which --set does not tell apart; change the file"
            )
        if not isinstance(values.setdefault(table, {}), dict):
            raise RecipeError(f'{path}: "{table}" is a table, expected [{table}] and keys under it')
        if table == "plan" and not keys.keys().isdisjoint(BUDGETS):
            # One budget takes the place of another.
            values[table] = {key: value for key, value in values[table].items() if key not in BUDGETS}
        values[table].update(keys)
    return values, f"{path} with --set" if changes else str(path)


def with_threads(recipe: Recipe) -> Recipe:
    """``recipe`` with ``run.threads = 0`` made the number that this process may use: part of what decides the bits."""
    run = recipe.run.model_copy(update={"threads": threads_here(recipe.run.threads)})
    return recipe.model_copy(update={"run": run})


def threads_here(threads: int) -> int:
    """``threads``, and where that is 0 as many as this process may use."""
    if threads:
        return threads
    quota = cpu_quota_cores()
    limit = max(1, int(quota)) if isinstance(quota, float) else len(usable_cores())
    return min(len(usable_cores()), limit)


def _assign(changes: dict[str, Any], assignment: str) -> None:
    if not assignment.isascii():
        try:
            assignment.encode()
        except UnicodeEncodeError as error:
            raise RecipeError(f"{assignment!a}: this is no UTF-8 text") from error
    key, equals, text = assignment.partition("=")
    table, dot, name = key.strip().partition(".")
    if not (equals and dot and table and name and "." not in name):
        raise RecipeError(f'--set "{assignment}": expected table.key=value, for example --set plan.keep=0.5')
    changes.setdefault(table, {})[name] = _value(text)


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    # A shell eats quotes: what is no TOML value, or more than one, is a string.
    return parsed["value"] if parsed.keys() == {"value"} else text.strip()


def files_in(recipe: Recipe) -> dict[tuple[str, str], str]:
    """The files that ``recipe`` names, by table and key."""
    named = {(table, key): getattr(getattr(recipe, table), key) for table, key in FILE_KEYS}
    return {
        (table, key): text
        for (table, key), text in named.items()
        if text is not None and (key != "target" or is_file_name(text))
    }


def _resolve_paths(values: dict[str, Any], folder: Path, file_keys: FileKeys) -> None:
    for table, key in file_keys:
        for keys in values[table] if isinstance(values.get(table), list) else [values.get(table)]:
            if not isinstance(keys, dict) or not isinstance(text := keys.get(key), str):
                continue
            if key == "target" and not is_file_name(text):
                continue
            try:
                text.encode()
                if "\0" in text:
                    raise ValueError("a zero byte")
                # Not resolved: a link says by its name what its file is.
                keys[key] = os.path.abspath(folder / Path(text).expanduser())  # noqa: PTH100
            except (ValueError, RuntimeError) as error:
                raise RecipeError(f"{table}.{key} = {text!a}: this cannot be the name of a file ({error})") from error


def is_file_name(target: str) -> bool:
    """Whether a recipe's target names a TOML file, not a profile of the package."""
    return "/" in target or target.endswith(".toml")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The keys in which two recipes' values (as ``model_dump`` gives them) differ: ``plan.keep: 0.25 -> 0.5``."""
    lines = []
    for table in dict.fromkeys([*before, *after]):
        old, new = before.get(table, {}), after.get(table, {})
        # A key that stands on one side alone was made idle by a file, which is told by itself.
        for key in [key for key in old if key in new]:
            # As text: 1 unit and 1.0 of the units are equal numbers.
            if json.dumps(old[key]) != json.dumps(new[key]):
                lines.append(f"{table}.{key}: {_shown(old[key])} -> {_shown(new[key])}")
    return lines


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
