"""The process that measures: ``python -m deploy.latency_child``, started by :mod:`deploy.latency`, once a sample.

It reads one line of JSON on stdin, the :class:`Request`; writes lines of JSON on stdout, ``{"stage": …}`` as it goes
and ``{"result": …}`` or ``{"error": …}`` last; and leaves the raw samples beside the frames as ``.npy``. The end of
stdin says that the parent is gone, however it went, and the child goes at once.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from deploy.affinity import cores_for, pin_to
from deploy.batches import in_batches
from deploy.errors import DeployError, MeasurementError
from deploy.names import Precision

# numpy and the runtime are imported in measure_here(), after the pinning: the threads they start inherit it.

PARENT_GONE = 3
What = Literal["times", "footprint", "layers", "frames", "logits"]

# Of timing without transfers, where there are any.
ON_DEVICE_S = 1.0
# Between two looks at a board's power monitor.
POWER_EVERY_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model to be opened: what it is called, its file, the precision that was written in, and the runtime."""

    name: str
    path: str
    precision: Precision | None
    runtime: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one process measures: ``models`` in the order of opening and of the turns.

    ``what``: "times" of all models; or of the one model its "footprint", in ``seconds`` of running, its "layers", in
    ``least_runs`` runs, the "frames" that it takes, or its "logits" for all of ``frames``.
    """

    models: tuple[Opened, ...]
    what: What = "times"
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

    @classmethod
    def from_line(cls, line: bytes) -> Request:
        """Read the line back."""
        values = json.loads(line)
        return cls(**{**values, "models": tuple(Opened(**model) for model in values["models"])})


def main() -> int:
    """Serve one request; return the exit code."""
    protocol = _take_stdout()
    try:
        line = _read_line()
        threading.Thread(target=_end_with_parent, daemon=True).start()
        request = Request.from_line(line)
        result = measure_here(request, protocol) if request.what == "times" else ALONE[request.what](request)
        _say(protocol, {"result": result})
    except DeployError as error:
        _say(protocol, {"error": str(error)})
        return 2
    return 0


def measure_here(request: Request, protocol: int) -> dict[str, Any]:
    """Open, warm up and time the models in this process; return what the record needs beside the samples."""
    cores = cores_for(request.threads)
    pin_to(cores)

    import numpy as np

    from deploy.stopwatch import Subject, take_turns, warm_up

    batches = _batches(request)
    with ExitStack() as opened:
        runtimes = [opened.enter_context(_open(model, request, batch=request.batch)) for model in request.models]
        subjects = [Subject(runtime.run, itertools.cycle(batches)) for runtime in runtimes]
        # Python's collector stops the process at moments that have nothing to do with the model.
        gc.collect()
        gc.disable()
        steady: dict[str, bool] = {}
        for model, subject in zip(request.models, subjects, strict=True):
            _say(protocol, {"stage": f"warming up {model.name}"})
            steady[model.name] = warm_up(subject, least_s=request.warmup_s, limit_s=request.warmup_limit_s)
        _say(protocol, {"stage": "timing"})
        samples = take_turns(
            subjects,
            seconds=request.seconds,
            least_runs=request.least_runs,
            limit_s=request.limit_s,
            tell=lambda elapsed_s: _say(protocol, {"stage": f"timing, {elapsed_s:.0f} of {request.seconds:.0f} s"}),
        )
        _say(protocol, {"stage": "timing on the device"})
        on_device_ms = {
            model.name: _on_device_ms(runtime, batches, request)
            for model, runtime in zip(request.models, runtimes, strict=True)
        }
        gc.enable()
        for path, times_ns in zip(request.samples, samples, strict=True):
            np.save(path, np.array(times_ns, dtype=np.int64), allow_pickle=False)
        return {
            "runtime_version": {model.name: r.version for model, r in zip(request.models, runtimes, strict=True)},
            "precision": {model.name: r.precision for model, r in zip(request.models, runtimes, strict=True)},
            "on_device_ms": on_device_ms,
            "steady": steady,
            "affinity": cores,
        }


def _on_device_ms(runtime: Any, batches: list[Any], request: Request) -> float | None:
    """The median of runs whose frames and logits stay on the device; None where that is the host."""
    from statistics import median

    from deploy.stopwatch import Subject, take_turns

    call = runtime.on_device(batches[0])
    if call is None:
        return None
    subject = Subject(lambda _: call(), itertools.cycle(batches))
    seconds = min(request.seconds, ON_DEVICE_S)
    (times_ns,) = take_turns([subject], seconds=seconds, least_runs=request.least_runs, limit_s=request.limit_s)
    return median(times_ns) / 1e6


def footprint_here(request: Request) -> dict[str, Any]:
    """Open the one model in this process and run it for ``seconds``; return what that took of memory and energy.

    ``memory_bytes`` is the peak of the resident set above what it was before the model was opened, with the runtime imported.
    """
    pin_to(cores_for(request.threads))

    from deploy.footprint import energy_joules, forget_peak, peak_resident_bytes, power_watts, resident_bytes
    from deploy.runtimes import version_here

    (model,), batches = request.models, _batches(request)
    # Imported, it is a part of what was there before.
    version_here(model.runtime)
    before, forgotten = resident_bytes(), forget_peak()
    with _open(model, request, batch=request.batch) as runtime:
        for batch in batches:
            runtime.run(batch)
        joules, started, runs = energy_joules(), time.perf_counter(), 0
        watts = [power_watts()]
        while (elapsed_s := time.perf_counter() - started) < request.seconds:
            runtime.run(batches[runs % len(batches)])
            runs += 1
            if watts[0] is not None and elapsed_s > len(watts) * POWER_EVERY_S:
                watts.append(power_watts())
        after_joules = energy_joules()
        peak = peak_resident_bytes()
    taken = None if joules is None or after_joules is None else after_joules - joules
    known = [each for each in watts if each is not None]
    if known:
        taken = elapsed_s * sum(known) / len(known)
    return {
        "memory_bytes": None if before is None or peak is None or not forgotten else max(0, peak - before),
        # A counter that wrapped around says nothing.
        "energy_joules": None if taken is None or taken <= 0 else taken / runs,
    }


def layers_here(request: Request) -> dict[str, Any]:
    """Open the one model in this process; return what the runtime ran as layers, and what this core can do at best."""
    pin_to(cores_for(request.threads))

    import numpy as np

    from deploy.peaks import measured_peaks

    (model,), batches = request.models, _batches(request)
    with _open(model, request, batch=request.batch) as runtime:
        times = runtime.layer_times(batches[0], request.least_runs)
        runtime.run(batches[0])
        return {
            "runtime_version": runtime.version,
            "precision": runtime.precision,
            "layers": [
                {
                    "name": each.name,
                    "op": each.op,
                    "covers": list(each.covers),
                    "p50_ms": float(np.median(each.times_ms)),
                }
                for each in times
            ],
            "peaks": asdict(measured_peaks()),
        }


def frames_here(request: Request) -> dict[str, Any]:
    """Open the one model in this process, which a file that nobody vouches for may end; return what frames it takes.

    That is their ``length`` and the ``batch`` in which it takes them, None for any; and the ``classes``: how many logits a
    run on zeros gave, None where the length is not known.
    """
    pin_to(cores_for(request.threads))

    import numpy as np

    with _open(request.models[0], request, batch=None) as runtime:
        batch, classes = runtime.batch, None
        if runtime.length is not None:
            classes = int(runtime.run(np.zeros((batch or 1, 2, runtime.length), np.float32)).shape[-1])
        return {"length": runtime.length, "batch": batch, "classes": classes}


def logits_here(request: Request) -> dict[str, Any]:
    """Open the one model in this process and leave its logits for all frames, float32 (n, classes), in the one ``samples``."""
    pin_to(cores_for(request.threads))

    import numpy as np

    (model,), (left_at,) = request.models, request.samples
    frames = np.load(request.frames, allow_pickle=False)
    with _open(model, request, batch=None) as runtime:
        logits = np.concatenate([runtime.run(frames[part]) for part in in_batches(len(frames))])
        np.save(left_at, logits, allow_pickle=False)
        return {"runtime_version": runtime.version, "precision": runtime.precision}


# All but the times, which are told of as they are taken.
ALONE: dict[str, Callable[[Request], dict[str, Any]]] = {
    "footprint": footprint_here,
    "layers": layers_here,
    "frames": frames_here,
    "logits": logits_here,
}


def _batches(request: Request) -> list[Any]:
    import numpy as np

    frames = np.load(request.frames, allow_pickle=False)
    return [frames[first : first + request.batch] for first in range(0, len(frames) - request.batch + 1, request.batch)]


def _open(model: Opened, request: Request, *, batch: int | None) -> Any:
    from deploy.runtimes import open_runtime

    return open_runtime(
        model.runtime, Path(model.path), threads=request.threads, batch=batch, precision=model.precision
    )


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
