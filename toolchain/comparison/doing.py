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
    started = time.monotonic()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
            models = {}
            for name, content in packed.models.items():
                models[name] = Path(scratch, f"{name}.safetensors")
                models[name].write_bytes(content)
            work = folder or Path(scratch, "work")
            work.mkdir(parents=True, exist_ok=True)
            record, made = packed.do(packed.values, models, work, progress)
            found = Done(record=record, model=None if made is None else made.read_bytes())
    except (ToolchainError, DeployError) as error:
        found = Done(failed=str(error))
    except Exception as error:  # one cell's fault must not take the others with it
        found = Done(failed=f"{type(error).__name__}: {first_line(error)}", trace=traceback.format_exc())
    return Done(**{**vars(found), "worker": platform.node(), "seconds": time.monotonic() - started})
