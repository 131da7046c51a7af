"""The folder of a comparison: a record a piece of work, kept the moment it is done, and the models.

    originals/, models/   what was trained, a model file each
    compare.json          all of it as one table (:mod:`toolchain.compared`), made anew from the records
    .thinwave/            records/KIND/NAME.json, pruned models before fine-tuning, half-trained ones, the recipe, the lock

A record holds a key, the hash of all that decides it: one under another key is of another recipe and counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deploy.bundle import sha256_of
from toolchain.errors import RunError
from toolchain.recipe import differences
from toolchain.run_folder import COMPARISON, RUN, STATE, locked, read_json, write_json

SCHEMA = 1
Kind = Literal["original", "pruned", "finetuned", "latency", "unit-latencies"]
PLACES: dict[Kind, str] = {"original": "originals", "pruned": f"{STATE}/pruned", "finetuned": "models"}


@dataclass(frozen=True)
class Folder:
    """An output folder that this process alone works in; :func:`opened` gives it."""

    path: Path
    # Of models that were hashed in this process: when they were changed, their sizes, their hashes.
    _hashed: dict[Path, tuple[int, int, str]] = field(default_factory=dict)

    def record(self, kind: Kind, name: str, key: str) -> dict[str, Any] | None:
        """What was found before, of a model with its ``model_sha256``.

        None where that is not done, or its model is not as it was left.
        """
        stored = read_json(self._record_file(kind, name))
        if stored is None or stored.get("key") != key:
            return None
        digest = stored.get("model_sha256")
        if digest is not None and self._hash(self.model(kind, name)) != digest:
            return None
        return stored["record"] if digest is None else {**stored["record"], "model_sha256": digest}

    def _hash(self, path: Path) -> str | None:
        try:
            about = path.stat()
            known = self._hashed.get(path)
            if known is None or known[:2] != (about.st_mtime_ns, about.st_size):
                known = (about.st_mtime_ns, about.st_size, sha256_of(path))
                self._hashed[path] = known
        except OSError:
            return None
        return known[2]

    def keep(self, kind: Kind, name: str, key: str, record: Mapping[str, Any], model: bytes | None = None) -> None:
        """Keep what was found, the model first: a record without its model was never finished."""
        if model is not None:
            path = self.model(kind, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.partial")
            partial.write_bytes(model)
            partial.replace(path)
        file = self._record_file(kind, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        digest = None if model is None else hashlib.sha256(model).hexdigest()
        write_json(file, {"key": key, "model_sha256": digest, "record": record})
        shutil.rmtree(self.work(name, key), ignore_errors=True)

    def model(self, kind: Kind, name: str) -> Path:
        """Where the model of a piece of work lies."""
        return self.path / PLACES[kind] / f"{name}.safetensors"

    def work(self, name: str, key: str) -> Path:
        """A folder in which an interrupted piece of work is taken up under the same key."""
        return self.path / STATE / "work" / f"{name}-{key[:12]}"

    def forget(self, kind: Kind) -> None:
        """Take away all records of a kind."""
        shutil.rmtree(self.path / STATE / "records" / kind, ignore_errors=True)

    def clear(self) -> None:
        """Take away what interrupted work of any recipe has left."""
        shutil.rmtree(self.path / STATE / "work", ignore_errors=True)

    def traced(self, name: str, trace: str) -> Path:
        """Keep where in the program something failed, for who mends it."""
        path = self.path / STATE / "failures" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(trace)
        return path

    def _record_file(self, kind: Kind, name: str) -> Path:
        return self.path / STATE / "records" / kind / f"{name}.json"


@contextmanager
def opened(
    path: Path, settings: Mapping[str, Any], identities: Mapping[str, str], *, replace: bool
) -> Iterator[Folder]:
    """Take ``path`` for a comparison of these ``settings``, by tables, and ``identities`` of its files.

    Another recipe is one that says another thing of a table that both have: one with more methods, budgets, seeds, models or
    data sets goes on with what is there.

    Raises RunError where the folder holds something else, another recipe's comparison (with the differences) unless
    ``replace``, or where another process is at work in it.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: this is a file; --out expects a folder for the comparison")
    if path.is_dir() and any(path.iterdir()) and not (path / STATE).is_dir():
        raise RunError(f"{path}: the folder holds files that are no comparison; name an empty one with --out")
    if (path / STATE / RUN).exists():
        raise RunError(f"{path}: holds a run, which is no comparison; name another folder with --out")
    try:
        (path / STATE).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be made: {error.strerror}; name another folder with --out") from error
    with locked(path / STATE):
        file = path / STATE / COMPARISON
        # As JSON, where tuples are lists.
        now = json.loads(json.dumps({"settings": settings, "inputs": identities}))
        before = read_json(file) if file.exists() else {"schema": SCHEMA, "settings": {}, "inputs": {}}
        if not replace:
            _refuse_other(path, before, now)
        known: dict[str, Any] = before if before is not None and before.get("schema") == SCHEMA else {}
        kept = {
            where: identity
            for where, identity in known.get("inputs", {}).items()
            if _table(where) not in now["settings"]
        }
        merged = {
            "settings": {**known.get("settings", {}), **now["settings"]},
            "inputs": {**kept, **now["inputs"]},
        }
        write_json(file, {"schema": SCHEMA, **merged})
        yield Folder(path)


def _refuse_other(path: Path, before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    if before is None or before.get("schema") != SCHEMA:
        raise RunError(
            f"{path}: holds a comparison of which it cannot be read by what recipe ({STATE}/{COMPARISON} is damaged, or of "
            "another version of thinwave); name another folder with --out, or reuse what still fits with --replace"
        )
    # Of tables that both have, so that a file that was not there, or is there no more, shows.
    both = before["settings"].keys() & now["settings"].keys()
    lines = [
        f"{where}: {_file_change(before['inputs'].get(where), now['inputs'].get(where))}"
        for where in sorted({*before["inputs"], *now["inputs"]})
        if _table(where) in both and before["inputs"].get(where) != now["inputs"].get(where)
    ]
    lines += differences(before["settings"], now["settings"])
    if lines:
        shown = "\n".join(f"  {line}" for line in lines)
        raise RunError(
            f"{path}: holds the comparison of another recipe, which differs in\n{shown}\n"
            "name another folder with --out, or reuse what still fits with --replace"
        )


def _table(where: str) -> str:
    """The table of the recipe that names a file: "data.mine" of "data.mine.file"."""
    return where.rpartition(".")[0]


def _file_change(before: str | None, now: str | None) -> str:
    if before is None or now is None:
        return "no file -> a file" if before is None else "a file -> no file"
    return "a file of another content"
