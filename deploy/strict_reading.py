"""Values read from files, strictly: unknown keys refused with a suggestion, all errors told at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.suggestion import did_you_mean


class Strict(BaseModel):
    """A frozen value that refuses unknown keys, text for numbers, and numbers that are not finite."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        populate_by_name=True,
        protected_namespaces=(),
    )


StrictValue = TypeVar("StrictValue", bound=Strict)


def read_strictly(kind: type[StrictValue], data: object, *, where: str, error: type[Exception]) -> StrictValue:
    """Make a ``kind`` of what was parsed from a file.

    ``data`` is what a JSON or TOML parser gave; ``where`` names the file in messages. Raises ``error`` with a line for
    every problem found.
    """
    try:
        # By way of JSON, because that is where strict reading still takes an array for a tuple.
        text = json.dumps(data, default=str)
    except ValueError as refused:
        # A number of thousands of digits.
        raise error(f"{where}: {refused}") from refused
    except RecursionError as refused:
        raise error(f"{where}: is nested too deeply") from refused
    try:
        return kind.model_validate_json(text)
    except ValidationError as refused:
        problems = _problems(kind, data, refused)
    if len(problems) == 1:
        raise error(f"{where}: {problems[0]}")
    raise error(f"{where}: {len(problems)} problems\n" + "\n".join(f"  {problem}" for problem in problems))


def _problems(kind: type[BaseModel], data: object, refused: ValidationError) -> list[str]:
    """One line a place: what was got there, and all that it might have been."""
    by_place: dict[tuple[str, ...], list[Any]] = {}
    for item in refused.errors(include_url=False):
        by_place.setdefault(_place(data, item["loc"], missing=item["type"] == "missing"), []).append(item)
    return [f"{'.'.join(place) or 'the whole'}: {_problem(kind, place, items)}" for place, items in by_place.items()]


def _place(data: object, loc: Sequence[int | str], *, missing: bool) -> tuple[str, ...]:
    """Where the value stands in the file: pydantic adds the member of a union that it tried, which no file has."""
    place: list[str] = []
    for key in loc:
        inside = key in data if isinstance(data, dict) else isinstance(data, list | tuple) and key in range(len(data))
        if not inside and not missing:
            break
        place.append(str(key))
        data = data[key] if inside else None  # type: ignore[index]
    return tuple(place)


def _problem(kind: type[BaseModel], place: tuple[str, ...], items: Sequence[Any]) -> str:
    first = items[0]
    if first["type"] == "extra_forbidden":
        return f"unknown key{did_you_mean(place[-1], _known_keys(kind, list(place[:-1])))}"
    if first["type"] == "missing":
        return "missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    got = _as_text(first["input"])
    expected = dict.fromkeys(item["msg"].removeprefix("Input should be ") for item in items)
    return f"got {got if len(got) <= 60 else got[:57] + '...'}, expected {' or '.join(expected)}"


def _as_text(value: object) -> str:
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        # Short of the limit above, and beyond it here.
        return "what is nested deeply"


def _known_keys(kind: type[BaseModel], place: list[str]) -> list[str]:
    """Return the keys that the value at ``place`` inside ``kind`` may have, as they are written in the file."""
    current = kind
    for key in place:
        for name, field in current.model_fields.items():
            if key in (name, field.alias):
                # A key that is no field (an index of a list, a key of a mapping) leaves ``current`` as it is.
                current = next(_models_in(field.annotation), current)
                break
    return [field.alias or name for name, field in current.model_fields.items()]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
