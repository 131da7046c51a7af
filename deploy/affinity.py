"""Which cores a measurement is pinned to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from deploy.errors import MeasurementError
from deploy.host import usable_cores
from deploy.kernel_files import ROOT, read_int, read_text
from deploy.machine_state import CPUS

# What the libraries under numpy and the runtimes read when they start. They must agree with the pinning: a library
# that starts one thread a core makes them queue for the few cores that it is pinned to.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def cores_for(threads: int, *, usable: Sequence[int] | None = None, root: Path = ROOT) -> list[int]:
    """Return the ``threads`` cores to pin to, out of ``usable`` (by default those that this process may use).

    The fastest kind of core first (a big.LITTLE processor has two), no two threads on one physical core while another
    is free, and from the highest number down, because the lowest cores take most interrupts. Raises MeasurementError
    for fewer than one thread or more than there are cores.
    """
    cores = usable_cores() if usable is None else sorted(usable)
    if not 1 <= threads <= len(cores):
        raise MeasurementError(
            f"{threads} threads were asked for; this process may use {len(cores)} cores, so give 1 to {len(cores)}"
        )
    taken: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for core in reversed(cores):
        folder = root / CPUS / f"cpu{core}"
        fastest_khz = read_int(folder / "cpufreq/cpuinfo_max_freq") or 0
        physical = read_text(folder / "topology/thread_siblings_list") or str(core)
        sharing = taken[physical] = taken.get(physical, -1) + 1
        ranked.append((sharing, -fastest_khz, -core))
    return sorted(-negative for _, _, negative in sorted(ranked)[:threads])


def pin_to(cores: Sequence[int]) -> None:
    """Keep this thread and those it starts from now on on ``cores``; raises MeasurementError where that is refused."""
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise MeasurementError(f"cannot pin to cores {list(cores)}: {error.strerror}") from error


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment variables that hold the libraries of a new process to ``threads``."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))
