"""The folder of a run: which stages are finished, whole or not at all, and who is at work in it.

Beside the results that people read, it holds ``.thinwave/``: ``run.json`` (the recipe's values), ``stages/NAME.json``
(the key of a finished stage, the hashes of what it left, its seconds), ``work/`` (what is being made) and ``lock``.

A stage works in ``work/STAGE-KEY/``. When it has ended, its outputs are renamed into place and its record is written last,
by a rename too: a stage without a record was never finished, whenever the process was killed. The key is a hash of all
that decides the outputs, so a record under another key is of another run and its outputs go.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.bundle import sha256_of
from toolchain.errors import RunError
from toolchain.recipe import differences

SCHEMA = 1
STATE = ".thinwave"
# In it, by what recipe: a run's, or a comparison's (toolchain.comparison.folder).
RUN, COMPARISON = "run.json", "comparison.json"

# Beyond this a file is known by samples of it.
HASHED_WHOLE_BYTES = 64 << 20
SAMPLE_BYTES = 1 << 20
SAMPLES = 64


@dataclass(frozen=True)
class RunFolder:
    """An output folder that this process alone works in; :func:`opened` gives it."""

    path: Path
    described: Mapping[str, Any]

    def finished(self, stage: str, key: str) -> bool:
        """Whether ``stage`` was finished under ``key`` and all that it left is still as it left it."""
        record = self._record(stage)
        if record is None or record.get("key") != key or record.get("outputs") != self._hashes(record):
            return False
        # A kill right after the record was written leaves these behind.
        shutil.rmtree(self._work_path(stage, key), ignore_errors=True)
        self._intent(stage).unlink(missing_ok=True)
        return True

    def seconds(self, stage: str) -> float:
        """How long a finished stage took when it was made."""
        record = self._record(stage)
        return float(record["seconds"]) if record else 0.0

    def work(self, stage: str, key: str) -> Path:
        """The folder in which ``stage`` works; what an interrupted process left there under the same key is still there."""
        folder = self._work_path(stage, key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def making(self, stage: str, key: str, outputs: Sequence[str]) -> Iterator[StageOutput]:
        """Make ``outputs`` (names at the top of the run folder) in the block; after it they are there, or none is."""
        work = self.work(stage, key)
        making = work / "out"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        output = StageOutput(making, work)
        try:
            yield output
            self._commit(stage, key, making, outputs, output.seconds)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)

    def take_over(self, keys: Mapping[str, str], outputs: Mapping[str, Sequence[str]]) -> None:
        """Make the folder this run's: what stages left under other keys than ``keys`` belongs to another recipe and goes.

        To be called when the first stage that differs has been made, so that a run which fails before leaves the other.
        """
        for stage, key in keys.items():
            record = self._record(stage)
            if record is not None and record.get("key") != key:
                self._discard(stage, outputs[stage])
                self._intent(stage).unlink()
        write_json(self.path / STATE / RUN, self.described)
        current = {self._work_path(stage, key) for stage, key in keys.items()}
        for folder in (self.path / STATE / "work").glob("*"):
            if folder not in current:
                shutil.rmtree(folder, ignore_errors=True)

    def _work_path(self, stage: str, key: str) -> Path:
        return self.path / STATE / "work" / f"{stage}-{key[:16]}"

    def _record_file(self, stage: str) -> Path:
        return self.path / STATE / "stages" / f"{stage}.json"

    def _record(self, stage: str) -> dict[str, Any] | None:
        return read_json(self._record_file(stage))

    def _intent(self, stage: str) -> Path:
        """Present while a stage's outputs change: what bears their names then is ours, however far the change came."""
        return self.path / STATE / "stages" / f"{stage}.intent"

    def _discard(self, stage: str, outputs: Sequence[str]) -> None:
        self._intent(stage).touch()
        # The record goes first: without it the outputs do not count.
        self._record_file(stage).unlink(missing_ok=True)
        for name in outputs:
            target = self.path / name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def _commit(self, stage: str, key: str, making: Path, outputs: Sequence[str], seconds: float) -> None:
        if not self._record_file(stage).exists() and not self._intent(stage).exists():
            in_the_way = [name for name in outputs if (self.path / name).exists()]
            if in_the_way:
                raise RunError(
                    f"{self.path}: {', '.join(in_the_way)} would be written by the stage {stage}, but lies there already and "
                    "is not of this run; move it away"
                )
        self._discard(stage, outputs)
        for name in outputs:
            (making / name).rename(self.path / name)
        names = [file for name in outputs for file in _files(self.path, name)]
        hashes = {name: sha256_of(self.path / name) for name in names}
        record = {"stage": stage, "key": key, "seconds": seconds, "outputs": hashes}
        write_json(self._record_file(stage), record)
        self._intent(stage).unlink()

    def _hashes(self, record: Mapping[str, Any]) -> dict[str, str | None]:
        outputs = record.get("outputs", {})
        return {name: sha256_of(self.path / name) if (self.path / name).is_file() else None for name in outputs}


@dataclass
class StageOutput:
    """Where a stage writes: ``path`` for what it leaves, ``work`` for what an interrupted one takes up again.

    ``earlier_s`` is what interrupted processes spent on it before; a stage that takes their work up says so.
    """

    path: Path
    work: Path
    earlier_s: float = 0.0
    started_s: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """What the stage took so far, in all processes."""
        return self.earlier_s + time.monotonic() - self.started_s


@contextmanager
def opened(
    path: Path, settings: Mapping[str, Any], identities: Mapping[str, str], *, replace: bool
) -> Iterator[RunFolder]:
    """Take ``path`` for the run that ``settings`` (the recipe's values) and ``identities`` (of its input files) describe.

    Raises RunError where the folder holds something else, another recipe's run (with the differences) unless ``replace``,
    or where another process is at work in it.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: this is a file; --out expects a folder for the run")
    described = {"schema": SCHEMA, "settings": settings, "inputs": identities}
    if path.is_dir() and any(path.iterdir()) and not (path / STATE).is_dir():
        raise RunError(f"{path}: the folder holds files that are no run of thinwave; name an empty one with --out")
    if (path / STATE / COMPARISON).exists():
        raise RunError(f"{path}: holds a comparison, which is no run; name another folder with --out")
    (path / STATE / "stages").mkdir(parents=True, exist_ok=True)
    with locked(path / STATE):
        before = read_json(path / STATE / RUN)
        # As JSON, where tuples are lists.
        after = json.loads(json.dumps(described))
        finished = any((path / STATE / "stages").glob("*.json"))
        # As text: 1 unit and 1.0 of the units are equal numbers and other recipes.
        if finished and json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True):
            _refuse_other(path, before, after, replace=replace)
        yield RunFolder(path, described)


def _refuse_other(path: Path, before: dict[str, Any] | None, after: dict[str, Any], *, replace: bool) -> None:
    if replace:
        return
    if before is None or before.get("schema") != SCHEMA:
        raise RunError(
            f"{path}: holds a run of which it cannot be read by what recipe ({STATE}/{RUN} is damaged, or of another "
            "version of thinwave); name another folder with --out, or reuse what still fits with --replace"
        )
    lines = [
        f"{name}: {_file_change(before['inputs'].get(name), after['inputs'].get(name))}"
        for name in sorted({*before["inputs"], *after["inputs"]})
        if before["inputs"].get(name) != after["inputs"].get(name)
    ]
    lines += differences(before["settings"], after["settings"])
    shown = "\n".join(f"  {line}" for line in lines)
    raise RunError(
        f"{path}: holds the run of another recipe, which differs in\n{shown}\n"
        "name another folder with --out, or reuse what still fits with --replace"
    )


def _file_change(before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return "no file -> a file" if before is None else "a file -> no file"
    return "a file of another content"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the system drops it with the process, so a stale file never blocks.

    Raises RunError where another process holds it.
    """
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            named = folder.parent if folder.name == STATE else folder
            raise RunError(
                f"{named}: another thinwave (process {holder}) is at work in this folder; wait for it, or name another --out"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def key_of(**parts: Any) -> str:
    """A hash of everything that decides what a stage leaves."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_identity(path: Path) -> str:
    """A hash that tells this file from another; of one over 64 MiB, of its size and 64 samples spread over it.

    Of a folder: of the names in it and what is under them.
    """
    if path.is_dir():
        inside = {
            entry.name: file_identity(entry) for entry in sorted(path.iterdir()) if entry.is_file() or entry.is_dir()
        }
        return key_of(folder=inside)
    size = path.stat().st_size
    if size <= HASHED_WHOLE_BYTES:
        return sha256_of(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for sample in range(SAMPLES):
            file.seek((size - SAMPLE_BYTES) * sample // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``; None where there is none."""
    try:
        values = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _files(root: Path, name: str) -> list[str]:
    path = root / name
    if path.is_dir():
        return sorted(str(file.relative_to(root)) for file in path.rglob("*") if file.is_file())
    return [name]
