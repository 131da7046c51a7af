"""A piece of work that any machine can do: values in, values out, and the bytes of models; no shared folder is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from deploy.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done: ``do`` is a function of a module, which gets the ``values``, the models' files and a work folder.

    ``name`` tells it from others, ``key`` is a hash of all that decides it, and ``told`` says it to people; ``models`` are
    files by what they are to the work; ``steps`` is how long it takes, in steps of training, for the time that is left. What
    ``trains`` is for a GPU where there is one.
    """

    name: str
    key: str
    told: str
    do: Work
    values: Any
    models: Mapping[str, Path] = field(default_factory=dict)
    steps: int = 1
    trains: bool = False

    def packed(self) -> Packed:
        """With the models' bytes, to be sent; raises OSError for a file that is not there."""
        models = {name: (str(path), path.read_bytes()) for name, path in self.models.items()}
        return Packed(name=self.name, do=self.do, values=self.values, models=models)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A job on its way to who does it; of each model the file's name here, and its bytes."""

    name: str
    do: Work
    values: Any
    models: Mapping[str, tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a job: a ``record`` of JSON values and perhaps a ``model``, the bytes of its file; or why it ``failed``.

    ``worker`` is the machine that did it, ``trace`` where in the program it failed.
    """

    record: Mapping[str, Any] = field(default_factory=dict)
    model: bytes | None = None
    failed: str | None = None
    trace: str = ""
    worker: str = ""
    seconds: float = 0.0


class Work(Protocol):
    """A function that does a job: the values, the models' files by name, a folder to work in, progress.

    It gives a record and perhaps the file of a model.
    """

    def __call__(
        self, values: Any, models: Mapping[str, Path], folder: Path, progress: Progress, /
    ) -> tuple[dict[str, Any], Path | None]:
        """Do it."""


class Runner(Protocol):
    """Something that does jobs: here, or on other machines."""

    def __call__(self, jobs: Sequence[Job], finished: Callable[[Job, Done], None], progress: Progress) -> None:
        """Do all ``jobs``; ``finished`` is called with each as it ends, in any order. Progress counts their steps."""
