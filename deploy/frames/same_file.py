"""A file that is read again and again, and must stay the same one."""

from __future__ import annotations

import os
import stat
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
            # Where a pipe took the file's place, it would be waited for.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise DatasetError(f"{self.path.name}: cannot be read: {error.strerror or error}") from error
        try:
            if same_file(self.path, os.fstat(descriptor)) != self:
                raise DatasetError(f"{self.path.name}: the file was replaced while in use; open it again")
            yield descriptor
        except OSError as error:
            raise DatasetError(f"{self.path.name}: cannot be read: {error.strerror or error}") from error
        finally:
            os.close(descriptor)


def same_file(path: Path, found: os.stat_result | None = None) -> SameFile:
    """Remember what ``path`` is now; DatasetError where it cannot be looked at, or is no regular file."""
    try:
        found = found or path.stat()
        # Absolute: the working directory may change between two readings.
        absolute = path.absolute()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DatasetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    # A pipe or a device would be waited for, or would never end.
    if not stat.S_ISREG(found.st_mode):
        raise DatasetError(f"{path.name}: not a regular file; expected a file of frames. Copy it into one")
    return SameFile(absolute, found.st_size, (found.st_dev, found.st_ino, found.st_mtime_ns))


def read_into(descriptor: int, buffer: memoryview, offset: int, source: str) -> None:
    """Fill ``buffer`` (bytes) from ``offset`` on; DatasetError where the file ends before it is full."""
    done = 0
    while done < len(buffer):
        # The system reads 2 GiB at most in one call.
        taken = os.preadv(descriptor, [buffer[done : done + (1 << 30)]], offset + done)
        if taken == 0:
            raise DatasetError(f"{source}: the file ends at byte {offset + done}, inside its numbers. Fetch it again")
        done += taken
