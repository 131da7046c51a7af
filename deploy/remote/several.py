"""Devices side by side: each is measured by a thread of its own, and one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from deploy.errors import DeployError, DeviceError, first_line
from deploy.remote.connection import Connection

Found = TypeVar("Found")


def on_each(connections: Sequence[Connection], work: Callable[[int, Connection], Found]) -> list[Found | DeployError]:
    """Do ``work(number, connection)`` on all at once; return what each gave, or the error that it ended in.

    Where this is interrupted, every connection is closed, and what runs over there ends.
    """

    def one(number: int) -> Found | DeployError:
        try:
            return work(number, connections[number])
        except DeployError as error:
            return error
        except OSError as error:
            # A full disk here, or a wheel that may not be read.
            return DeviceError(f"{connections[number].device.address}: {first_line(error)}")

    with ThreadPoolExecutor(max_workers=len(connections)) as threads:
        try:
            return list(threads.map(one, range(len(connections))))
        finally:
            # After an interrupt the threads are waited for: each ends as soon as its connection does.
            for connection in connections:
                connection.close()
