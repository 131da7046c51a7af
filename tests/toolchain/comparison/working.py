"""Work for jobs of tests, in a module: it has to be found by other processes."""

from __future__ import annotations

import os
import signal
import time

import torch

from toolchain.errors import PlanError


def doubled(values, models, folder, progress):
    progress(1, 2, "half way")
    made = folder / "made"
    made.write_bytes(models["model"].read_bytes() * 2)
    return {"doubled": 2 * values, "threads": torch.get_num_threads()}, made


def refusing(values, models, folder, progress):
    raise PlanError(f"{values} cannot be pruned")


def broken(values, models, folder, progress):
    raise ZeroDivisionError("of a bug")


def dying(values, models, folder, progress):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return {}, None
