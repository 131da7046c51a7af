"""The small files in which the Linux kernel tells of itself, under /proc and /sys.

Every reader of them takes ``root``, the folder that holds ``proc`` and ``sys``: ``/``, or a made-up tree in tests.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")


def read_text(path: Path) -> str | None:
    """Return what the file says, without white space and zero bytes around it; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return the whole number in the file; None where there is none."""
    text = read_text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def read_counters(path: Path) -> dict[str, int]:
    """Return the ``name number`` lines of the file (``cpu.stat`` is one); empty where it cannot be read."""
    rows = [line.split() for line in (read_text(path) or "").splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
