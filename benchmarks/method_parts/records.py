"""What is known already: one JSON record a finished piece of work, kept the moment it is finished."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from method_parts.grid import Base, Choice, Training

Record = dict[str, Any]

# Raised when the same choices come to other plans than before: those that are on record are made anew then.
PLANNER = 5


def base_key(base: Base) -> dict[str, Any]:
    """The key of a base model's record; the keys of what is made of it hold its :func:`name_of`."""
    return {"kind": "base", **base.key}


def plan_key(base: Base, choice: Choice) -> dict[str, Any]:
    """The key of a plan: the base model, how its units are chosen, and by which edition of the planner."""
    said = {name: value for name, value in vars(choice).items() if value is not None}
    return {"kind": "plan", "base": name_of(base_key(base)), "choice": said, "planner": PLANNER}


def tune_key(base: Base, kept: tuple[int, ...], tuning: Training) -> dict[str, Any]:
    """The key of a fine-tuning: by the units that stay, not by what chose them, so that equal plans share one."""
    return {"kind": "tune", "base": name_of(base_key(base)), "kept": list(kept), "tuning": vars(tuning)}


def text_of(key: Mapping[str, Any]) -> str:
    """A key as text that is equal for equal keys."""
    return json.dumps(key, sort_keys=True)


def name_of(key: Mapping[str, Any]) -> str:
    """A key as the name of a file."""
    return hashlib.sha256(text_of(key).encode()).hexdigest()[:16]


def model_file(work: Path, base: Base) -> Path:
    """Where a base model is kept between runs of the program."""
    return work / f"base-{name_of(base_key(base))}.safetensors"


class Records:
    """The results file: a record a line, sorted; what is added is on disk before :meth:`add` comes back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: Record = {}
        self._by_key: dict[str, Record] = {}
        if path.is_file():
            stored = json.loads(path.read_text())
            self.about = {name: value for name, value in stored.items() if name != "records"}
            current = [record for record in stored["records"] if record["key"].get("planner") in (None, PLANNER)]
            self._by_key = {text_of(record["key"]): record for record in current}

    def get(self, key: Mapping[str, Any]) -> Record | None:
        """The record of a key, None where that work is not done."""
        return self._by_key.get(text_of(key))

    def all(self, kind: str) -> list[Record]:
        """All records of a kind."""
        return [record for record in self._by_key.values() if record["key"]["kind"] == kind]

    def add(self, record: Record) -> None:
        """Keep a record, in the place of an older one of its key."""
        self._by_key[text_of(record["key"])] = record
        self.write()

    def write(self) -> None:
        """Write all of it, or nothing: an interrupt leaves the file as it was."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(self._by_key[key], sort_keys=True) for key in sorted(self._by_key)]
        about = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in sorted(self.about.items()))
        partial = self.path.with_suffix(".partial")
        partial.write_text("{\n" + about + '"records": [\n' + ",\n".join(lines) + "\n]\n}\n")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self.path)
