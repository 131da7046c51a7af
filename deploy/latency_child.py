"""The process that measures: ``python -m deploy.latency_child``, started by :mod:`deploy.latency`, once a sample.

It reads one line of JSON on stdin, the :class:`Request`; writes lines of JSON on stdout, ``{"stage": …}`` as it goes
and ``{"result": …}`` last; and leaves the raw samples beside the frames as ``.npy``. The end of stdin says that the
parent is gone, however it went, and the child goes at once.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.affinity import cores_for, pin_to
from deploy.errors import DeployError, MeasurementError

# numpy and the runtime are imported in measure_here(), after the pinning: the threads they start inherit it.

PARENT_GONE = 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one process measures: ``models`` are (name, path) in the order of opening and of the turns."""

    models: tuple[tuple[str, str], ...]
    runtime: str
    threads: int
    batch: int
    frames: str
    samples: tuple[str, ...]
    seconds: float
    least_runs: int
    limit_s: float
    warmup_s: float
    warmup_limit_s: float

    def to_line(self) -> bytes:
        """Return the request as the line that goes to the child's stdin."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> int:
    """Serve one request; return the exit code. The last line on stderr says what went wrong."""
    protocol = _take_stdout()
    try:
        line = _read_line()
        threading.Thread(target=_end_with_parent, daemon=True).start()
        result = measure_here(Request(**json.loads(line)), protocol)
        _say(protocol, {"result": result})
    except DeployError as error:
        # One line: the parent shows the last one.
        sys.stderr.write(f"{error}".replace("\n", " ") + "\n")
        return 2
    return 0


def measure_here(request: Request, protocol: int) -> dict[str, Any]:
    """Open, warm up and time the models in this process; return what the record needs beside the samples."""
    cores = cores_for(request.threads)
    pin_to(cores)

    import numpy as np

    from deploy.runtimes import open_runtime
    from deploy.stopwatch import Subject, take_turns, warm_up

    frames = np.load(request.frames, allow_pickle=False)
    batches = [
        frames[first : first + request.batch] for first in range(0, len(frames) - request.batch + 1, request.batch)
    ]
    with ExitStack() as opened:
        runtimes = [
            opened.enter_context(open_runtime(request.runtime, Path(path), threads=request.threads))
            for _, path in request.models
        ]
        subjects = [Subject(runtime.run, itertools.cycle(batches)) for runtime in runtimes]
        # Python's collector stops the process at moments that have nothing to do with the model.
        gc.collect()
        gc.disable()
        steady: dict[str, bool] = {}
        for (name, _), subject in zip(request.models, subjects, strict=True):
            _say(protocol, {"stage": f"warming up {name}"})
            steady[name] = warm_up(subject, least_s=request.warmup_s, limit_s=request.warmup_limit_s)
        _say(protocol, {"stage": "timing"})
        samples = take_turns(
            subjects,
            seconds=request.seconds,
            least_runs=request.least_runs,
            limit_s=request.limit_s,
            tell=lambda elapsed_s: _say(protocol, {"stage": f"timing, {elapsed_s:.0f} of {request.seconds:.0f} s"}),
        )
        gc.enable()
        for path, times_ns in zip(request.samples, samples, strict=True):
            np.save(path, np.array(times_ns, dtype=np.int64), allow_pickle=False)
        return {
            "runtime_version": runtimes[0].version,
            "precision": {name: r.precision for (name, _), r in zip(request.models, runtimes, strict=True)},
            "steady": steady,
            "affinity": cores,
        }


def _take_stdout() -> int:
    """Keep stdout for the protocol: what a library prints there from now on goes to stderr."""
    protocol = os.dup(1)
    os.dup2(2, 1)
    return protocol


def _say(protocol: int, message: dict[str, Any]) -> None:
    try:
        os.write(protocol, json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        os._exit(PARENT_GONE)


def _stdin_blocks() -> Iterator[bytes]:
    # os.read and not sys.stdin: a daemon thread that waits inside sys.stdin's lock makes Python abort on exit.
    while block := os.read(0, 65536):
        yield block


def _read_line() -> bytes:
    line = b""
    for block in _stdin_blocks():
        line += block
        if line.endswith(b"\n"):
            return line
    raise MeasurementError("the request ended before its line did: deploy.latency_child is started by deploy.latency")


def _end_with_parent() -> None:
    for _ in _stdin_blocks():
        pass
    # No clean-up: the main thread may be inside a run, and there is nobody left to hear of it.
    os._exit(PARENT_GONE)


if __name__ == "__main__":
    sys.exit(main())
