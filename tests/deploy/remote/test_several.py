from threading import Barrier

import pytest

from deploy.errors import DeviceError
from deploy.remote.address import parse_device
from deploy.remote.connection import Connection
from deploy.remote.several import on_each


@pytest.fixture
def connections():
    return [Connection(parse_device(f"ssh://board{number}")) for number in range(3)]


def test_all_devices_are_at_work_at_once(connections):
    together = Barrier(3)

    def work(number, connection):
        # It is passed when all three are there, and raises where they come one after another.
        together.wait(timeout=10)
        return number, connection.device.host

    assert on_each(connections, work) == [(0, "board0"), (1, "board1"), (2, "board2")]


def test_an_error_of_one_is_its_answer(connections):
    def work(number, connection):
        if number == 1:
            raise DeviceError("board1: is not there")
        if number == 2:
            raise OSError(28, "No space left on device")
        return number

    first, second, third = on_each(connections, work)
    assert first == 0
    assert str(second) == "board1: is not there"
    assert str(third).startswith("ssh://board2: ")
    assert "No space left on device" in str(third)
