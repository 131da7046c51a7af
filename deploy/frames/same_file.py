"""A file that is read again and again, and must stay the same one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import DatasetError


@dataclass(frozen=True)
class SameFile:
    """A regular file as it was when it was first looked at."""

    path: Path
    size_bytes: int
    identity: tuple[int, int, int]

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file and give its descriptor; DatasetError where it is gone, or another one by now."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DatasetError(f"{self.path.name}: cannot be read: {error.strerror}") from error
        try:
            if same_file(self.path, os.fstat(descriptor)) != self:
                raise DatasetError(f"{self.path.name}: the file was replaced while in use; open it again")
            yield descriptor
        except OSError as error:
            raise DatasetError(f"{self.path.name}: cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)


def same_file(path: Path, found: os.stat_result | None = None) -> SameFile:
    """Remember what ``path`` is now; DatasetError where it cannot be looked at."""
    try:
        found = found or path.stat()
        # Absolute: the working directory may change between two readings.
        return SameFile(path.absolute(), found.st_size, (found.st_dev, found.st_ino, found.st_mtime_ns))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error


def read_into(descriptor: int, buffer: memoryview, offset: int, source: str) -> None:
    """Fill ``buffer`` (bytes) from ``offset`` on; DatasetError where the file ends before it is full."""
    done = 0
    while done < len(buffer):
        # The system reads 2 GiB at most in one call.
        taken = os.preadv(descriptor, [buffer[done : done + (1 << 30)]], offset + done)
        if taken == 0:
            raise DatasetError(f"{source}: the file ends at byte {offset + done}, inside its numbers. Fetch it again")
        done += taken
