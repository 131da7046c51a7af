"""Jobs done on a Ray cluster, of as many machines as it has; thinwave has to be installed on each.

A job carries the models that it needs, and a generated set is generated where the job is done: no folder is shared. A set in
a file has to lie at the same place on every machine. What is half done is lost with its job, but on this machine's own cores.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deploy.command_line import end_on_sigterm
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


@dataclass(frozen=True)
class _Needs:
    """What each job takes of the machine that does it: ``cores``, and ``gpus`` where it trains; torch gets ``threads``."""

    threads: int
    cores: int
    gpus: int


@contextmanager
def ray_cluster(
    address: str, *, threads: int, devices: int, accelerator: str, work: Callable[[Job], Path]
) -> Iterator[Runner]:
    """A runner on the cluster at ``address``, of which this machine is a node, or on this machine's cores for "local".

    There each job has its ``work`` folder, where one that was interrupted is taken up.

    A job has ``threads`` cores, of the CPU's ``devices`` times as many, or as many GPUs; "auto" is what the cluster has.

    Raises RunError where Ray is not installed, no cluster answers there, or none of its machines has what a job takes.
    """
    # Nothing is told to anybody. A job that takes all memory is begun again three times, and not for ever.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", "3")
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
            f"--ray {address}: no Ray cluster can be used there: {first_line(error)}; start one with `ray start --head`, and "
            f"on this machine `ray start --address={address}`, or take --ray local"
        ) from error
    # Ray takes the signal for itself, and ends with a crash. Signals are the main thread's.
    if threading.current_thread() is threading.main_thread():
        end_on_sigterm()
    try:
        needs = _needs(ray, address, threads, devices, accelerator)
        yield partial(_run, ray, needs=needs, work=work if address == LOCAL else None)
    finally:
        ray.shutdown()


def _needs(ray: Any, address: str, threads: int, devices: int, accelerator: str) -> _Needs:
    """What a job takes; raises RunError where no machine of the cluster has that."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most_gpus = int(max((node.get("GPU", 0) for node in nodes), default=0))
    gpus = devices if accelerator == "gpu" or (accelerator == "auto" and most_gpus) else 0
    needs = _Needs(threads=threads, cores=threads if gpus else threads * devices, gpus=gpus)
    if not any(node.get("CPU", 0) >= needs.cores and node.get("GPU", 0) >= gpus for node in nodes):
        has = "; ".join(sorted({f"{node.get('CPU', 0):g} cores, {node.get('GPU', 0):g} GPUs" for node in nodes}))
        raise RunError(
            f"--ray {address}: a job takes {needs.cores} cores and {gpus} GPUs, and no machine of the cluster has that (they "
            f"have {has}); set run.threads, run.devices and run.accelerator by what there is"
        )
    return needs


def _check_answers(address: str) -> None:
    """Raise RunError where nothing listens at ``address``, HOST:PORT: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise RunError(f"--ray {address}: expected HOST:PORT of a cluster's head, as 10.0.0.5:6379, or local")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWERS_IN_S).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(
            f"--ray {address}: no Ray cluster answers there: {reason}; start one with `ray start --head`, or take --ray local"
        ) from error


def _run(
    ray: Any,
    jobs: Sequence[Job],
    finished: Callable[[Job, Done], None],
    progress: Progress,
    *,
    needs: _Needs,
    work: Callable[[Job], Path] | None,
) -> None:
    """Do all ``jobs``, as :class:`toolchain.comparison.jobs.Runner`."""
    task, board = ray.remote(max_retries=RETRIES)(_done_there), _board(ray)
    waiting: deque[Job] = deque(jobs)
    flying: dict[Any, tuple[Job, float]] = {}
    total, before, ended = sum(job.steps for job in jobs), 0, 0
    try:
        while waiting or flying:
            places = _places(ray, needs)
            while waiting and len(flying) < places + AHEAD:
                job = waiting.popleft()
                takes = task.options(num_cpus=needs.cores, num_gpus=needs.gpus if job.trains else 0)
                try:
                    folder = None if work is None else work(job).absolute()
                    flying[takes.remote(job.packed(), needs.threads, board, folder)] = (job, time.monotonic())
                except OSError as error:
                    finished(job, Done(failed=f"{error.filename}: cannot be read: {error.strerror}"))
            ready, _ = ray.wait(list(flying), num_returns=1, timeout=1.0) if flying else ([], [])
            for reference in ready:
                job, started = flying.pop(reference)
                finished(job, _got(ray, reference, started))
                before, ended = before + job.steps, ended + 1
            oldest = next(iter(flying.values()), None)
            told = f"{ended} of {len(jobs)} done" + (f"; {oldest[0].told}" if oldest else "")
            if places == 0:
                told += "; WAITING: no machine of the cluster has the cores or GPUs of a job now; start one"
            progress(before + _parts(ray, board, [job for job, _ in flying.values()]), total, told)
    finally:
        for reference in flying:
            ray.cancel(reference, force=True)
        ray.kill(board)


def _places(ray: Any, needs: _Needs) -> int:
    """How many jobs that train the cluster has room for now."""
    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            by_cores = int(has.get("CPU", 0) // needs.cores)
            room += min(by_cores, int(has.get("GPU", 0) // needs.gpus)) if needs.gpus else by_cores
    return room


def _got(ray: Any, reference: Any, started: float) -> Done:
    """What came of a job, also where Ray lost it."""
    try:
        result: Done = ray.get(reference)
    except Exception as error:  # of Ray: a machine that was lost again and again, or that lacks thinwave
        # What happened lies at the bottom, under Ray's account of where.
        cause = getattr(error, "cause", None) or error
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        why = f"{type(cause).__name__}: {lines[-1] if lines else 'without a word'}"
        return Done(failed=why, seconds=time.monotonic() - started)
    return result


def _parts(ray: Any, board: Any, jobs: Sequence[Job]) -> int:
    """The steps that are done of ``jobs`` at work, as far as is known."""
    try:
        parts = ray.get(board.read.remote(), timeout=5.0)
    except Exception:  # progress is not worth a comparison
        return 0
    return sum(int(parts.get(job.name, 0.0) * job.steps) for job in jobs)


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


def _done_there(packed: Packed, threads: int, board: Any, folder: Path | None) -> Done:
    """Do a job where Ray has put it."""
    last = 0.0

    def tell(done: int, total: int, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_EVERY_S:
            last = time.monotonic()
            board.tell.remote(packed.name, done / max(1, total))

    return done_here(packed, threads=threads, folder=folder, progress=tell)
