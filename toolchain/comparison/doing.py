"""A job done in this process: what fails becomes a reason, whatever it was, so that the other jobs go on."""

from __future__ import annotations

import platform
import tempfile
import time
import traceback
from pathlib import Path

import torch

from deploy.errors import DeployError, first_line
from deploy.progress import Progress, silent
from toolchain.comparison.jobs import Done, Packed
from toolchain.errors import ToolchainError


def done(packed: Packed, *, threads: int, folder: Path | None = None, progress: Progress = silent) -> Done:
    """Do a job with so many torch ``threads``; what an interrupted process left in ``folder`` is taken up."""
    started, named = time.monotonic(), dict[str, str]()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
            models = {}
            for name, (path, content) in packed.models.items():
                # What kind of file it is shows by its ending.
                models[name] = Path(scratch, name).with_suffix(Path(path).suffix)
                models[name].write_bytes(content)
                named[str(models[name])] = path
            work = folder or Path(scratch, "work")
            work.mkdir(parents=True, exist_ok=True)
            record, made = packed.do(packed.values, models, work, progress)
            found = Done(record=record, model=None if made is None else made.read_bytes())
    except (ToolchainError, DeployError) as error:
        found = Done(failed=_with_names(str(error), named))
    except Exception as error:  # one cell's fault must not take the others with it
        found = Done(failed=f"{type(error).__name__}: {first_line(error)}", trace=traceback.format_exc())
    return Done(**{**vars(found), "worker": platform.node(), "seconds": time.monotonic() - started})


def _with_names(message: str, named: dict[str, str]) -> str:
    """``message`` by the names under which the user has the files that were copied for the job."""
    for copied, path in named.items():
        message = message.replace(copied, path)
    return message
