"""Jobs done on a Ray cluster, of as many machines as it has; thinwave has to be installed on each.

A job carries the models that it needs, and a generated set is generated where the job is done: no folder is shared. A set in
a file has to lie at the same place on every machine.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from deploy.errors import first_line
from deploy.progress import Progress
from toolchain.comparison.doing import done as done_here
from toolchain.comparison.jobs import Done, Job, Packed, Runner
from toolchain.errors import RunError

LOCAL = "local"
# How often a job is begun again whose machine was lost.
RETRIES = 5
# Beside those at work, jobs that wait on the machines for the next free core.
AHEAD = 2
ANSWERS_IN_S = 10.0
# Between two messages of a job's progress.
TOLD_EVERY_S = 1.0


@contextmanager
def ray_cluster(address: str, *, threads: int, gpus: int) -> Iterator[Runner]:
    """A runner on the cluster at ``address``, or on this machine's cores for "local"; each job has ``threads`` and ``gpus``.

    Raises RunError where Ray is not installed, or no cluster answers there.
    """
    # Nothing is told to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise RunError("--ray needs Ray, which is not installed; pip install 'thinwave[ray]'") from error
    if address != LOCAL:
        _check_answers(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == LOCAL:
            # By its name: without one Ray takes the cluster that was last heard of.
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # what does not answer is told in many ways
        raise RunError(
            f"--ray {address}: no Ray cluster can be used there: {first_line(error)}; start one with `ray start --head`, or "
            "take --ray local"
        ) from error
    try:
        has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if has.get("CPU", 0) < threads or has.get("GPU", 0) < gpus:
            raise RunError(
                f"--ray {address}: the cluster has {has.get('CPU', 0):g} cores and {has.get('GPU', 0):g} GPUs, and each job "
                f"takes {threads} and {gpus}; set run.threads and run.devices by what there is"
            )
        yield partial(_run, ray, threads=threads, gpus=gpus)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise RunError where nothing listens at ``address``, HOST:PORT: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 1 << 16):
        raise RunError(f"--ray {address}: expected HOST:PORT of a cluster's head, as 10.0.0.5:6379, or local")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWERS_IN_S).close()
    except OSError as error:
        raise RunError(
            f"--ray {address}: no Ray cluster answers there: {error.strerror or error}; start one with `ray start --head`, or "
            "take --ray local"
        ) from error


def _run(
    ray: Any,
    jobs: Sequence[Job],
    finished: Callable[[Job, Done], None],
    progress: Progress,
    *,
    threads: int,
    gpus: int,
) -> None:
    """Do all ``jobs``, as :class:`toolchain.comparison.jobs.Runner`."""
    remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(_done_there)
    board = _board(ray)
    waiting: deque[Job] = deque(jobs)
    flying: dict[Any, tuple[Job, float]] = {}
    total, before, ended = sum(job.steps for job in jobs), 0, 0
    try:
        while waiting or flying:
            at_once = AHEAD + int(ray.cluster_resources().get("CPU", 1)) // threads
            while waiting and len(flying) < at_once:
                job = waiting.popleft()
                flying[remote.remote(job.packed(), threads, board)] = (job, time.monotonic())
            ready, _ = ray.wait(list(flying), num_returns=1, timeout=1.0)
            for reference in ready:
                job, started = flying.pop(reference)
                try:
                    result: Done = ray.get(reference)
                except Exception as error:  # of Ray: a machine that was lost, again and again, or lacks thinwave
                    why = f"{type(error).__name__}: {first_line(error)}"
                    result = Done(failed=why, seconds=time.monotonic() - started)
                finished(job, result)
                before, ended = before + job.steps, ended + 1
            parts = ray.get(board.read.remote())
            part = sum(int(parts.get(job.name, 0.0) * job.steps) for job, _ in flying.values())
            oldest = next(iter(flying.values()), None)
            progress(before + part, total, f"{ended} of {len(jobs)} done" + (f"; {oldest[0].told}" if oldest else ""))
    finally:
        for reference in flying:
            ray.cancel(reference, force=True)
        ray.kill(board)


class _Board:
    """Where jobs say how far they are: a part from 0 to 1, by the job's name."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}

    def tell(self, name: str, part: float) -> None:
        self._parts[name] = part

    def read(self) -> dict[str, float]:
        return self._parts


def _board(ray: Any) -> Any:
    """A board on the machine where this runs: others may be lost."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()


def _done_there(packed: Packed, threads: int, board: Any) -> Done:
    """Do a job where Ray has put it."""
    last = 0.0

    def tell(done: int, total: int, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_EVERY_S:
            last = time.monotonic()
            board.tell.remote(packed.name, done / max(1, total))

    return done_here(packed, threads=threads, progress=tell)
