"""Jobs done on this machine, one by one, in a process of its own: one that dies takes no other job with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from deploy.progress import Progress, part
from toolchain.comparison.jobs import Done, Job, Packed, Runner

# Messages of progress are this far apart.
TOLD_EVERY_S = 0.2


@contextmanager
def runner_here(*, threads: int, work: Callable[[Job], Path]) -> Iterator[Runner]:
    """A runner that does jobs in order, each in its ``work`` folder; the process that does them lasts as long as it can."""
    worker: _Worker | None = None

    def run(jobs: Sequence[Job], finished: Callable[[Job, Done], None], progress: Progress) -> None:
        nonlocal worker
        total, before = sum(job.steps for job in jobs), 0
        for number, job in enumerate(jobs):
            told = f"{number + 1} of {len(jobs)}: {job.told}"
            progress(before, total, told)
            if worker is None or not worker.alive:
                worker = _Worker(threads)
            finished(job, _ended(worker, job, work(job), part(progress, before, job.steps, total, told)))
            before += job.steps
            progress(before, total, told)

    try:
        yield run
    finally:
        if worker is not None:
            worker.end()


def _ended(worker: _Worker, job: Job, folder: Path, progress: Progress) -> Done:
    try:
        packed = job.packed()
    except OSError as error:
        return Done(failed=f"{error.filename}: cannot be read: {error.strerror}")
    return worker.do(packed, folder, progress)


class _Worker:
    """The process, for as long as there is work for it."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads, os.getpid()), daemon=False)
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it can do another job."""
        return self._process.is_alive()

    def do(self, packed: Packed, folder: Path, progress: Progress) -> Done:
        """Have a job done; where the process dies over it that is the reason why there is nothing."""
        started = time.monotonic()
        try:
            self._ours.send((packed, folder))
            while True:
                message = self._ours.recv()
                if isinstance(message, Done):
                    return message
                progress(*message)
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
            memory = "; it may have wanted more memory than there is" if code == -signal.SIGKILL else ""
            return Done(failed=f"the process that did it ended {how}{memory}", seconds=time.monotonic() - started)

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self._ours.close()


def _serve(connection: Connection, threads: int, parent: int) -> None:
    # A Ctrl-C is for the program that asked, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library or a user's model prints is no result.
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Here, because it takes torch.
    from toolchain.comparison import doing

    last = 0.0

    def tell(done: int, total: int, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_EVERY_S:
            last = time.monotonic()
            connection.send((done, total, note))

    while True:
        try:
            packed, folder = connection.recv()
        except EOFError:
            return
        connection.send(doing.done(packed, threads=threads, folder=folder, progress=tell))


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
