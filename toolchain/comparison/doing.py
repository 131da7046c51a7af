"""A job done in this process: what fails becomes a reason, whatever it was, so that the other jobs go on."""

from __future__ import annotations

import platform
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from deploy.errors import DeployError, first_line
from deploy.progress import Progress, silent
from toolchain.comparison.jobs import Done, Packed
from toolchain.errors import ToolchainError


def done(packed: Packed, *, threads: int, folder: Path | None = None, progress: Progress = silent) -> Done:
    """Do a job with so many torch ``threads``; what an interrupted process left in ``folder`` is taken up."""
    started, named = time.monotonic(), dict[str, str]()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        # In the folder, which somebody clears, where there is one: a process that is killed clears nothing.
        with _torch(threads), tempfile.TemporaryDirectory(prefix="thinwave-", dir=folder) as scratch:
            models = {}
            for name, (path, content) in packed.models.items():
                # What kind of file it is shows by its ending.
                models[name] = Path(scratch, name).with_suffix(Path(path).suffix)
                models[name].write_bytes(content)
                named[str(models[name])] = path
            work = folder or Path(scratch, "work")
            work.mkdir(exist_ok=True)
            record, made = packed.do(packed.values, models, work, progress)
            found = Done(record=record, model=None if made is None else made.read_bytes())
    except (ToolchainError, DeployError) as error:
        found = Done(failed=_with_names(str(error), named))
    except Exception as error:  # one cell's fault must not take the others with it
        found = Done(failed=f"{type(error).__name__}: {first_line(error)}", trace=traceback.format_exc())
    return Done(**{**vars(found), "worker": platform.node(), "seconds": time.monotonic() - started})


@contextmanager
def _torch(threads: int) -> Iterator[None]:
    """So many threads, and the same bits again, for as long as a job takes."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _with_names(message: str, named: dict[str, str]) -> str:
    """``message`` by the names under which the user has the files that were copied for the job."""
    for copied, path in named.items():
        message = message.replace(copied, path)
    return message
