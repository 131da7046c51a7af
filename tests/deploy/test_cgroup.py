import pytest

from deploy.cgroup import cpu_quota_cores, throttled_periods


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # v2: of the group and those around it, the smallest binds.
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/cgroup.controllers": "cpu\n",
                "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
            },
            1.5,
        ),
        # v2 in a container that sees its own group as the top.
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, "unlimited"),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.controllers": "cpu memory\n"}, "unlimited"),
        # v1, the two controllers in one folder, and the group's path that of the host.
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/docker/1234\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            "unlimited",
        ),
        # Unknown is None.
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "garbage\n"}, None),
        ({}, None),
    ],
)
def test_quota(tree, files, expected, tmp_path):
    assert cpu_quota_cores(tree(tmp_path, files)) == expected


def test_throttled_periods_are_those_of_the_group(tree, tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a\n",
            "sys/fs/cgroup/a/cpu.stat": "usage_usec 100\nnr_periods 9\nnr_throttled 7\nthrottled_usec 12\n",
            "sys/fs/cgroup/cpu.stat": "usage_usec 100\n",
        },
    )
    assert throttled_periods(root) == 7


def test_throttled_periods_are_unknown_where_the_kernel_does_not_say(tmp_path):
    assert throttled_periods(tmp_path) is None
