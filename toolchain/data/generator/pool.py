"""Frames made by several processes, in the order asked for.

Workers are started as programs of their own rather than by multiprocessing, which would import the caller's main
script again (a plain script without ``if __name__ == "__main__"`` would start itself over and over) or fork its
threads. Threads do not do either: on frames of 128 samples two of them were 1.35 times as fast as one, two processes
twice as fast.

A worker that is not asked any more, because this process ended, however it ended, finds its pipes closed and ends.
Each is in a session of its own, so that Ctrl-C reaches only this process, which ends them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from queue import SimpleQueue
from typing import IO

import numpy as np
from numpy.typing import NDArray

from toolchain.data.generator.chunks import Piece
from toolchain.errors import DatasetError

# Pieces handed out before the oldest of them is taken: enough that no worker waits. A piece is 1 MiB at most.
AHEAD_OF_EACH_WORKER = 3

# The modules are found where this process finds them, wherever it was started. sys is built in: nothing can shadow it.
START = (
    "import sys; sys.path[:] = sys.argv[2:]; from toolchain.data.generator.worker import serve; serve(int(sys.argv[1]))"
)
WORKER_ENVIRONMENT = {
    # One process a core is the plan; a library that starts threads in each would have them wait for each other.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # glibc (mallopt(3)) keeps the memory of arrays that come and go with each chunk: a twentieth of the time.
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(32 * 2**20)),
}
SHOWN_OF_A_LINE = 300


def made_by_workers(pieces: Iterable[Piece], workers: int) -> Generator[NDArray[np.float32], None, None]:
    """Yield the frames of each piece, in order, made by ``workers`` processes that run ahead by a few pieces each.

    The processes start with the first piece and end with the last, or when the iterator is closed or fails. Raises
    DatasetError where one cannot be started, or ends before its time.
    """
    ahead = iter(pieces)
    # No more workers than can be busy at once.
    first = list(islice(ahead, workers))
    with ExitStack() as cleanup:
        started = [cleanup.enter_context(_started()) for _ in first]
        threads = cleanup.enter_context(ThreadPoolExecutor(len(started), thread_name_prefix="generator"))
        under_way: deque[Future[NDArray[np.float32]]] = deque()
        # From here up, whatever the way out: no more work, an end to the workers, which wakes the threads that wait for
        # them, the threads, and at last the pipes.
        cleanup.callback(_stop, under_way, started)
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in started:
            idle.put(worker)
        for piece in chain(first, ahead):
            under_way.append(threads.submit(_make, piece, idle))
            if len(under_way) >= AHEAD_OF_EACH_WORKER * len(started):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _make(piece: Piece, idle: SimpleQueue[_Worker]) -> NDArray[np.float32]:
    # There are as many workers as threads. One that ended is put back too: a thread must find one, or it would wait.
    worker = idle.get()
    try:
        return worker.make(piece)
    finally:
        idle.put(worker)


def _stop(under_way: Iterable[Future[NDArray[np.float32]]], workers: Iterable[_Worker]) -> None:
    for future in under_way:
        future.cancel()
    for worker in workers:
        worker.child.kill()


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """One child process, the pipe that its frames come by, and what it printed."""

    child: subprocess.Popen[bytes]
    requests: IO[bytes]
    frames: io.FileIO
    said: IO[bytes]

    def make(self, piece: Piece) -> NDArray[np.float32]:
        """Have the child make ``piece``, and wait for it."""
        iq = np.empty(piece.shape, dtype=np.float32)
        missing = iq.data.cast("B")
        try:
            self.requests.write(json.dumps(asdict(piece)).encode() + b"\n")
            while missing:
                got = self.frames.readinto(missing)
                if not got:
                    raise EOFError
                missing = missing[got:]
        except (BrokenPipeError, EOFError):
            raise DatasetError(self._ended(piece)) from None
        return iq

    def _ended(self, piece: Piece) -> str:
        code = self.child.wait()
        self.said.seek(0)
        said = self.said.read().decode(errors="replace").strip().splitlines()
        how = (
            f"was killed by signal {-code} (9 may be a want of memory)" if code < 0 else f"ended with exit code {code}"
        )
        last = f": {said[-1][:SHOWN_OF_A_LINE]}" if said else ""
        return (
            f"generate: a worker {how} while it made {piece.class_name} at {piece.snr_db:g} dB{last}; use fewer workers"
        )


@contextmanager
def _started() -> Iterator[_Worker]:
    """Start a worker; at the end it is killed, and its pipes are closed."""
    if not sys.executable:
        raise DatasetError("generate: this program does not know its own Python, to start workers; use workers=1")
    with ExitStack() as files:
        try:
            worker = _start(files)
        except OSError as error:
            raise DatasetError(f"generate: a worker cannot be started: {error.strerror}; use fewer workers") from error
        try:
            yield worker
        finally:
            worker.child.kill()
            worker.child.wait()


def _start(files: ExitStack) -> _Worker:
    said = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    frames_fd, write_fd = os.pipe()
    frames = files.enter_context(os.fdopen(frames_fd, "rb", buffering=0))
    try:
        # Frames come by a pipe of their own: what a library prints at import must not get among them.
        child = subprocess.Popen(
            [sys.executable, "-c", START, str(write_fd), *sys.path],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            pass_fds=(write_fd,),
            env={**os.environ, **WORKER_ENVIRONMENT},
            start_new_session=True,
        )
    finally:
        os.close(write_fd)
    assert child.stdin is not None
    return _Worker(child=child, requests=files.enter_context(child.stdin), frames=frames, said=said)
