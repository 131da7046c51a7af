"""How much memory is left: of the machine, and of what the control groups around this process let it have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from deploy.errors import DatasetError
from deploy.kernel_files import ROOT, read_counters, read_int, read_text

# The limit and what is in use, as cgroup v2 and v1 name them.
_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def available_memory_bytes(root: Path = ROOT) -> int | None:
    """Return how much memory can be had without swapping; None where the kernel does not say.

    A group's limit binds all groups inside it, so the least of what the machine and each of them has left counts.
    """
    meminfo = re.search(r"^MemAvailable:\s*(\d+) kB$", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    found = [int(meminfo[1]) << 10] if meminfo else []
    for folder in _memory_groups(root):
        for limit, used in _FILES:
            most, now = read_int(folder / limit), read_int(folder / used)
            if most is not None and now is not None:
                found.append(max(0, most - now + _cached_bytes(folder)))
    return min(found) if found else None


def check_memory(what: str, needed_bytes: int, way_out: str) -> None:
    """Refuse a set that would fill the memory, before any of it is taken.

    ``what`` opens the message: "set.npz: its 30 frames". Raises :class:`DatasetError` with ``way_out`` as its end.
    """
    available = available_memory_bytes()
    if available is not None and needed_bytes > available:
        raise DatasetError(
            f"{what} need {needed_bytes / 2**30:.1f} GiB of memory, {available / 2**30:.1f} are free. {way_out}"
        )


def _memory_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the groups around this process that limit memory, and the top of v2 and v1."""
    v2, v1 = root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"
    yield from (v2, v1)
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers or "memory" in controllers.split(","):
            inner = PurePosixPath(group.lstrip("/"))
            # In a container the path may be the host's: a folder that is not there is read as saying nothing.
            yield from ((v1 if controllers else v2) / part for part in (inner, *inner.parents))


def _cached_bytes(folder: Path) -> int:
    """What the group caches of files, which makes way; v1 counts the groups inside it under ``total_``."""
    told = read_counters(folder / "memory.stat")
    return sum(told.get(f"total_{name}", told.get(name, 0)) for name in ("inactive_file", "active_file"))
