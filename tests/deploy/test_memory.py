import pytest

from deploy.errors import DatasetError
from deploy.memory import available_memory_bytes, check_memory

MEMINFO = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    4000 kB\nSwapFree: 1 kB\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MEMINFO, 4_096_000),
        ({"proc/meminfo": "garbage"}, None),
        # v2 in a container that sees its own group as the top; what it caches of files makes way.
        ({**MEMINFO, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "900000\n"}, 4_096_000),
        (
            {
                **MEMINFO,
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "1000000\n",
                "sys/fs/cgroup/memory.current": "900000\n",
                "sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 3000\nactive_file 200\n",
            },
            103_200,
        ),
        # v2: of the group and those around it, the one that leaves least binds.
        (
            {
                **MEMINFO,
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "1000000\n",
                "sys/fs/cgroup/a/memory.current": "400000\n",
                "sys/fs/cgroup/a/b/memory.max": "700000\n",
                "sys/fs/cgroup/a/b/memory.current": "5000\n",
            },
            600_000,
        ),
        # v1, where the group's path may be the host's.
        (
            {
                **MEMINFO,
                "proc/self/cgroup": "5:cpu:/y\n4:memory:/docker/1234\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "800000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "200000\n",
                "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 7\ntotal_active_file 3\n",
            },
            600_010,
        ),
        # A limit that was lowered below what is in use.
        (
            {**MEMINFO, "sys/fs/cgroup/memory.max": "10\n", "sys/fs/cgroup/memory.current": "900\n"},
            0,
        ),
    ],
)
def test_what_is_left_is_the_least_that_the_kernel_names(tree, files, expected, tmp_path):
    assert available_memory_bytes(tree(tmp_path, files)) == expected


def test_this_machine_is_read():
    assert (available_memory_bytes() or 0) > 1 << 20


def test_more_than_is_left_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr("deploy.memory.available_memory_bytes", lambda: 3 << 29)
    check_memory("set.npz: its 8 frames", 3 << 29, "Save fewer")
    with pytest.raises(DatasetError, match=r"^set: its 8 frames need 2\.0 GiB of memory, 1\.5 are free\. Save fewer$"):
        check_memory("set: its 8 frames", 2 << 30, "Save fewer")


def test_where_the_kernel_does_not_say_nothing_is_refused(monkeypatch):
    monkeypatch.setattr("deploy.memory.available_memory_bytes", lambda: None)
    check_memory("set.npz: its 8 frames", 1 << 60, "Save fewer")
