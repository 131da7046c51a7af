"""Lightning Fabric on one device in this process, or on several, in a process each.

Several devices are processes that are spawned, never forked: CUDA and threads do not survive a fork. Each imports what it
runs by name, so this works from a program and from a notebook alike; the models and frames are pickled and sent. (Fabric's own
launchers run the user's program again from its start, or refuse to spawn in a notebook.)

Imported when a training begins: Fabric takes as long to import as torch.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning_fabric.strategies.ddp import DDPStrategy

from deploy.progress import Progress, silent
from toolchain.errors import TrainingError
from toolchain.training.hardware import Hardware

# For a process that was told to end, before it is killed.
GRACE_S = 5.0


class _Mixed(MixedPrecision):
    """Mixed precision that hands the frames over as they are.

    A model scales frames of any size first, and the squares of a radio's integers overflow float16.
    """

    def convert_input(self, data: Any) -> Any:
        return data


def on_devices(hardware: Hardware, work: Callable[..., Any], *arguments: Any, progress: Progress, **named: Any) -> Any:
    """Call ``work(fabric, *arguments, progress=progress, **named)`` on every device of a resolved ``hardware``.

    The first device's answer is returned, and ``progress`` is told by it alone. With several devices ``work`` is a function of
    a module, it and its arguments can be pickled, and what goes wrong on one of them is raised here.

    Raises TrainingError where a device's process ends before its work, or cannot be given it.
    """
    if hardware.devices == 1:
        with _as_deterministic_as(hardware):
            return work(_fabric(hardware), *arguments, progress=progress, **named)
    try:
        # By plain pickle: multiprocessing's own would pass tensors in shared memory, which containers have little of.
        content = pickle.dumps((work, arguments, named))
    except Exception as error:  # pickle raises whatever it meets
        raise _not_sent(error) from error
    return _Group(hardware, content).result(progress)


def _fabric(hardware: Hardware) -> Fabric:
    mixed = hardware.precision != "32-true"
    device = "cuda" if hardware.accelerator == "gpu" else "cpu"
    with _quiet():
        fabric = Fabric(
            accelerator=device,
            devices=hardware.devices,
            strategy="auto" if hardware.devices == 1 else DDPStrategy(),
            # Said here, or Fabric looks for a cluster's job around it and complains of how that was started.
            plugins=[LightningEnvironment(), *([_Mixed(hardware.precision, device)] if mixed else [])],  # type: ignore[arg-type]
        )
        fabric.launch()
    return fabric


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Fabric from telling on stderr what it was asked for."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _as_deterministic_as(hardware: Hardware) -> Iterator[None]:
    """Let a GPU use what has no deterministic form; torch would raise where the caller asked for it, as for a CPU."""
    asked = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(asked and hardware.accelerator == "cpu", warn_only=warn_only)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=warn_only)


@dataclass(frozen=True)
class _Place:
    """One device's place among the others, and torch's settings that hold in the caller's process."""

    rank: int
    port: int
    hardware: Hardware
    threads: int
    deterministic: bool


class _Group:
    """The processes of the devices; all of them end with :meth:`result`, however it ends."""

    def __init__(self, hardware: Hardware, content: bytes) -> None:
        self._hardware, self._content = hardware, content
        self._processes: dict[Connection, BaseProcess] = {}

    def result(self, progress: Progress) -> Any:
        """Start the processes, pass on their progress, and give what the first one answers."""
        try:
            self._start()
            return self._listen(progress)
        finally:
            self._end()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        port = find_free_network_port()
        deterministic = torch.are_deterministic_algorithms_enabled()
        for rank in range(self._hardware.devices):
            place = _Place(rank, port, self._hardware, torch.get_num_threads(), deterministic)
            ours, theirs = context.Pipe(duplex=False)
            # A daemon ends with this process at the latest.
            process = context.Process(target=_in_process, args=(place, self._content, theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes[ours] = process

    def _listen(self, progress: Progress) -> Any:
        answers: dict[Connection, Any] = {}
        begun: set[Connection] = set()
        while len(answers) < len(self._processes):
            for connection in wait([each for each in self._processes if each not in answers]):
                assert isinstance(connection, Connection)
                try:
                    kind, value = pickle.loads(connection.recv_bytes())
                except EOFError:
                    raise self._died(connection, begun=connection in begun) from None
                if kind == "begun":
                    begun.add(connection)
                elif kind == "progress":
                    progress(*value)
                elif kind == "answer":
                    answers[connection] = value
                else:
                    error, trace = value
                    raise error from RuntimeError(f"on device {self._rank(connection)}:\n{trace}")
        return next(answers[connection] for connection in self._processes)

    def _rank(self, connection: Connection) -> int:
        return list(self._processes).index(connection)

    def _died(self, connection: Connection, *, begun: bool) -> TrainingError:
        process = self._processes[connection]
        process.join(GRACE_S)
        code = process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        # A spawned process imports the caller's program before its own work.
        guard = (
            ' A program that trains on several devices is a file, and does its work under if __name__ == "__main__".'
        )
        return TrainingError(
            f"the process of device {self._rank(connection)} {how} before its work was done; what it wrote to stderr "
            f"says why, and the same call goes on from the last finished epoch.{'' if begun else guard}"
        )

    def _end(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for connection, process in self._processes.items():
            process.join(GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()


def _in_process(place: _Place, content: bytes, connection: Connection) -> None:
    """What the process of one device does; it tells the caller's process in pairs of a word and a value."""
    # Ctrl+C reaches the whole group; the caller's process decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_caller, daemon=True).start()

    def tell(kind: str, value: Any) -> None:
        connection.send_bytes(pickle.dumps((kind, value)))

    tell("begun", None)
    try:
        tell("answer", _work(place, content, lambda done, total, note="": tell("progress", (done, total, note))))
    except Exception as error:
        tell("error", (_picklable(error), traceback.format_exc()))


def _work(place: _Place, content: bytes, progress: Progress) -> Any:
    os.environ.update(LOCAL_RANK=str(place.rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(place.port))
    # A container's own name need not lead anywhere.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        work, arguments, named = pickle.loads(content)
    except Exception as error:  # pickle raises whatever it meets
        raise _not_sent(error) from error
    if place.rank:
        # Said once, by the first device.
        logging.getLogger("toolchain").setLevel(logging.ERROR)
        progress = silent
    torch.use_deterministic_algorithms(place.deterministic)
    with _as_deterministic_as(place.hardware):
        fabric = _fabric(place.hardware)
        # After Fabric, which shares the cores out.
        torch.set_num_threads(place.threads)
        answer = work(fabric, *arguments, progress=progress, **named)
    torch.distributed.destroy_process_group()
    return answer if place.rank == 0 else None


def _end_with_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    # Also when it was killed: or the devices would wait for each other.
    wait([caller.sentinel])
    os._exit(1)


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickle raises whatever it meets
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _not_sent(error: Exception) -> TrainingError:
    return TrainingError(
        f"the model or the frames cannot be handed to another process: {error}; define them in a module that can be "
        "imported, or train on one device"
    )
