import os
import threading

import pytest

from deploy.affinity import cores_for, pin_to, thread_environment
from deploy.errors import MeasurementError


def machine(root, siblings, fastest_khz):
    for core, (shared, khz) in enumerate(zip(siblings, fastest_khz, strict=True)):
        folder = root / f"sys/devices/system/cpu/cpu{core}"
        (folder / "topology").mkdir(parents=True)
        (folder / "cpufreq").mkdir()
        (folder / "topology/thread_siblings_list").write_text(f"{shared}\n")
        (folder / "cpufreq/cpuinfo_max_freq").write_text(f"{khz}\n")
    return root


def test_highest_cores_are_taken_where_all_are_alike(tmp_path):
    assert cores_for(2, usable=[0, 1, 2, 3], root=tmp_path) == [2, 3]


def test_no_two_threads_share_a_physical_core_while_one_is_free(tmp_path):
    root = machine(tmp_path, ["0,2", "1,3", "0,2", "1,3"], [3000] * 4)
    assert cores_for(2, usable=[0, 1, 2, 3], root=root) == [2, 3]
    root = machine(tmp_path / "neighbours", ["0-1", "0-1", "2-3", "2-3"], [3000] * 4)
    assert cores_for(2, usable=[0, 1, 2, 3], root=root) == [1, 3]
    assert cores_for(3, usable=[0, 1, 2, 3], root=root) == [1, 2, 3]


def test_big_cores_come_before_little_ones(tmp_path):
    root = machine(tmp_path, ["0", "1", "2", "3"], [2400, 2400, 1800, 1800])
    assert cores_for(2, usable=[0, 1, 2, 3], root=root) == [0, 1]


def test_only_usable_cores_are_taken(tmp_path):
    assert cores_for(1, usable=[0, 5], root=tmp_path) == [5]
    assert set(cores_for(1)) <= os.sched_getaffinity(0)


@pytest.mark.parametrize("threads", [-1, 0, 3])
def test_threads_that_do_not_fit_the_cores_are_refused(threads):
    with pytest.raises(MeasurementError, match=f"{threads} threads were asked for; this process may use 2 cores"):
        cores_for(threads, usable=[0, 1])


def test_pinning_holds_for_the_thread_that_asks():
    (core,) = cores_for(1)
    seen = []
    # A thread of its own, so that the tests after this one may use all cores.
    pinned = threading.Thread(target=lambda: (pin_to([core]), seen.append(os.sched_getaffinity(0))))
    pinned.start()
    pinned.join()
    assert seen == [{core}]


def test_core_that_is_not_there_is_refused():
    with pytest.raises(MeasurementError, match=r"cannot pin to cores \[1023\]"):
        pin_to([1023])


def test_libraries_are_held_to_the_threads():
    assert thread_environment(2)["OMP_NUM_THREADS"] == "2"
    assert set(thread_environment(2).values()) == {"2"}
