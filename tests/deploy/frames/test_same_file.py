from __future__ import annotations

import os
import time

import pytest

from deploy.errors import DatasetError
from deploy.frames.same_file import read_into, same_file


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "set.bin"
    path.write_bytes(b"0123456789")
    return path


def read(file, size=4, offset=0):
    buffer = bytearray(size)
    with file.opened() as descriptor:
        read_into(descriptor, memoryview(buffer), offset, file.path.name)
    return bytes(buffer)


def test_bytes_are_read_from_their_place(path):
    file = same_file(path)
    assert file.size_bytes == 10
    assert read(file) == b"0123"
    assert read(file, 3, 7) == b"789"
    assert read(file, 0, 10) == b""


def test_file_is_found_again_from_another_working_directory(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = same_file(path.relative_to(tmp_path))
    monkeypatch.chdir("/")
    assert read(file) == b"0123"


def test_every_reading_closes_the_file(path):
    file = same_file(path)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        read(file)
        with pytest.raises(DatasetError):
            read(file, 20)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def replace(path):
    other = path.with_name("other")
    other.write_bytes(b"0123456789")
    other.replace(path)


def touch(path):
    os.utime(path, ns=(0, time.time_ns() + 1))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "change", [replace, touch, lambda path: path.write_bytes(b"x"), lambda path: path.open("ab").close() or touch(path)]
)
def test_file_that_is_another_by_now_is_refused(change, path):
    file = same_file(path)
    change(path)
    with pytest.raises(DatasetError, match=r"^set\.bin: the file was replaced while in use; open it again$"):
        read(file)


# A pipe that nobody writes to would be waited for.
@pytest.mark.parametrize("change", [pipe, folder])
def test_what_is_no_file_any_more_is_refused(change, path):
    file = same_file(path)
    change(path)
    with pytest.raises(DatasetError, match=r"^set\.bin: not a regular file"):
        read(file)
    with pytest.raises(DatasetError, match=r"^set\.bin: not a regular file; expected .*\. Copy it into one"):
        same_file(path)


def test_file_that_is_gone_is_one_error(path):
    file = same_file(path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"^set\.bin: cannot be read: No such file"):
        read(file)
    with pytest.raises(DatasetError, match=r"set\.bin: cannot be read: No such file"):
        same_file(path)
    with pytest.raises(DatasetError, match="cannot be read: embedded null"):
        same_file(path.with_name("nul\0l"))


def test_reading_past_the_end_names_the_byte(path):
    with pytest.raises(DatasetError, match=r"^set\.bin: the file ends at byte 10, inside its numbers\. Fetch it again"):
        read(same_file(path), 4, 8)


def test_fault_of_the_disk_is_one_error(path, monkeypatch):
    file = same_file(path)

    def fail(*_given):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DatasetError, match=r"^set\.bin: cannot be read: Input/output error"):
        read(file)


def test_reading_goes_on_where_the_system_gives_less_than_was_asked_for(path, monkeypatch):
    one_by_one = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: one_by_one(fd, [buffers[0][:1]], offset))
    assert read(same_file(path), 10) == b"0123456789"
