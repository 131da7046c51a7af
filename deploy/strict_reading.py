"""Values read from files, strictly: unknown keys refused with a suggestion, all errors told at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError


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
        return kind.model_validate_json(json.dumps(data, default=str))
    except ValidationError as refused:
        problems = [_problem(kind, item) for item in refused.errors(include_url=False)]
    if len(problems) == 1:
        raise error(f"{where}: {problems[0]}")
    raise error(f"{where}: {len(problems)} problems\n" + "\n".join(f"  {problem}" for problem in problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``', did you mean "…"?'`` where one of ``known`` is near ``word``, else an empty text."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"?' if near else ""


def _problem(kind: type[BaseModel], item: Any) -> str:
    place = [str(key) for key in item["loc"]]
    path = ".".join(place) or "the whole"
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key{did_you_mean(place[-1], _known_keys(kind, place[:-1]))}"
    if item["type"] == "missing":
        return f"{path}: missing"
    if item["type"] == "literal_error":
        return f"{path}: {json.dumps(item['input'], default=str)} is not {item['ctx']['expected']}"
    got = json.dumps(item["input"], default=str)
    return f"{path}: {item['msg']}, got {got if len(got) <= 60 else got[:57] + '...'}"


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
