"""Files that can be read to their end: a folder has none, and a pipe or a device would be waited for."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

FILE, FOLDER = "a file", "a folder"
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, FILE),
    (stat.S_ISDIR, FOLDER),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def kind_of(path: Path) -> str | None:
    """Say what is at ``path``, behind its links: "a file", "a folder", "a pipe", …; None where nothing is.

    Raises OSError where nobody may look.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    return next((kind for is_one, kind in _KINDS if is_one(mode)), "a device")


def read_whole(path: Path, most_bytes: int) -> str:
    """Return the text in a file of a sane size, with its ends of lines as they are.

    Raises OSError where it cannot be read, and ValueError, with what it is, where it is no file, of more than
    ``most_bytes``, or no UTF-8 text.
    """
    kind = kind_of(path)
    if kind not in (None, FILE):
        raise ValueError(f"is {kind}, expected a file")
    if (size_bytes := path.stat().st_size) > most_bytes:
        raise ValueError(f"has {size_bytes} bytes, expected at most {most_bytes}")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("is no UTF-8 text") from error
