"""What the control group around this process lets it have: how much processor time, and how often it was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from deploy.kernel_files import ROOT, read_counters, read_int, read_text

Quota = float | Literal["unlimited"] | None


def cpu_quota_cores(root: Path = ROOT) -> Quota:
    """Return how many cores' worth of time the group may use: 1.5, "unlimited", or None where that is unknown.

    Reads cgroup v2 (``cpu.max``) and v1 (``cpu.cfs_quota_us``). A group's limit binds all groups inside it, so the
    smallest of the group and those around it counts.
    """
    quotas = [quota for folder in _cpu_groups(root) if (quota := _own_quota(folder)) is not None]
    limits = [quota for quota in quotas if not isinstance(quota, str)]
    if limits:
        return min(limits)
    return "unlimited" if quotas or _has_v2(root) else None


def throttled_periods(root: Path = ROOT) -> int | None:
    """Return in how many periods the quota has stopped this group so far; None where the kernel does not say."""
    counts = [read_counters(folder / "cpu.stat").get("nr_throttled") for folder in _cpu_groups(root)]
    known = [count for count in counts if count is not None]
    return max(known) if known else None


def _own_quota(folder: Path) -> Quota:
    if (text := read_text(folder / "cpu.max")) is not None:
        quota, _, period = text.partition(" ")
        if quota == "max":
            return "unlimited"
        return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None
    quota_us, period_us = read_int(folder / "cpu.cfs_quota_us"), read_int(folder / "cpu.cfs_period_us")
    if quota_us is None or not period_us:
        return None
    return "unlimited" if quota_us < 0 else quota_us / period_us


def _cpu_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the groups around this process that steer processor time, the innermost first."""
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        inner = PurePosixPath(group.lstrip("/"))
        if "cpu" in controllers.split(","):
            tops = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"]
        elif not controllers:
            tops = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        else:
            continue
        # In a container the path may be the host's, and nothing of it here but the top: a folder that is not there
        # is read as saying nothing.
        for top in tops:
            yield from (top / part for part in (inner, *inner.parents))


def _has_v2(root: Path) -> bool:
    # The root group of v2 has no cpu.max because it has no limit.
    return (root / "sys/fs/cgroup/cgroup.controllers").exists()
