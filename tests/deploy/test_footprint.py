import json
import subprocess
import sys

import pytest

from deploy.footprint import energy_joules, forget_peak, peak_resident_bytes, power_watts, resident_bytes

STATUS = "Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t     40 kB\nVmRSS:\t     30 kB\nRssAnon:\t 10 kB\n"


def rapl(**domains):
    """Files of /sys/class/powercap: by folder, the name and the count in microjoules."""
    return {
        f"sys/class/powercap/{folder.replace('__', ':')}/{file}": f"{text}\n"
        for folder, (name, count) in domains.items()
        for file, text in (("name", name), ("energy_uj", count))
    }


def test_resident_set_and_its_peak_are_in_bytes(tree, tmp_path):
    root = tree(tmp_path, {"proc/self/status": STATUS})
    assert (resident_bytes(root), peak_resident_bytes(root)) == (30 * 1024, 40 * 1024)


@pytest.mark.parametrize("files", [{}, {"proc/self/status": "Name:\tpython\nVmHWM:\tmany kB\n"}])
def test_memory_that_the_kernel_does_not_tell_is_unknown(tree, tmp_path, files):
    root = tree(tmp_path, files)
    assert (resident_bytes(root), peak_resident_bytes(root)) == (None, None)


def test_this_process_has_a_peak_above_what_it_has_now():
    # Taken first: between the two looks the process may grow.
    now = resident_bytes()
    assert 1 << 20 < now <= peak_resident_bytes()


# In a process of its own: other tests leave threads that take and give back memory when they like.
PEAKS = """
import json, os
from deploy.footprint import forget_peak, peak_resident_bytes
forgotten, before = forget_peak(), peak_resident_bytes()
block = bytearray(os.urandom(1 << 16) * 1024)
during, taken = peak_resident_bytes(), len(block)
del block
forget_peak()
print(json.dumps({"forgotten": forgotten, "during": during - before, "after": peak_resident_bytes() - before, "taken": taken}))
"""


def test_peak_counts_from_where_it_was_forgotten():
    said = json.loads(subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, check=True).stdout)
    if not said["forgotten"]:
        pytest.skip("this kernel does not let a process forget its peak")
    assert said["during"] >= said["taken"] * 0.9
    # What was given back is no longer counted.
    assert said["after"] < said["taken"] / 2


def test_peak_is_forgotten_by_a_five(tree, tmp_path):
    root = tree(tmp_path, {"proc/self/clear_refs": ""})
    assert forget_peak(root)
    assert (root / "proc/self/clear_refs").read_text() == "5"


def test_kernel_that_forgets_nothing_says_so(tmp_path):
    assert not forget_peak(tmp_path)


def test_energy_is_that_of_the_packages_alone(tree, tmp_path):
    files = rapl(
        intel_rapl__0=("package-0", 1_500_000),
        intel_rapl__0__0=("core", 900_000),
        intel_rapl__0__1=("dram", 100_000),
        intel_rapl__1=("package-1", 500_000),
        intel_rapl__2=("psys", 9_000_000),
    )
    assert energy_joules(tree(tmp_path, files)) == 2.0


def test_energy_of_a_package_that_may_not_be_read_is_left_out(tree, tmp_path):
    root = tree(tmp_path, rapl(intel_rapl__0=("package-0", 1_500_000), intel_rapl__1=("package-1", "")))
    assert energy_joules(root) == 1.5


@pytest.mark.parametrize("files", [{}, rapl(intel_rapl__0=("package-0", "")), rapl(intel_rapl__0=("core", 5))])
def test_energy_that_no_counter_tells_is_unknown(tree, tmp_path, files):
    assert energy_joules(tree(tmp_path, files)) is None


def monitor(number, label, *, volts="5000", amperes="400", chip="hwmon3"):
    """Files of a board's power monitor, in millivolts and milliamperes."""
    folder = f"sys/class/hwmon/{chip}"
    return {
        f"{folder}/in{number}_label": f"{label}\n",
        f"{folder}/in{number}_input": f"{volts}\n",
        f"{folder}/curr{number}_input": f"{amperes}\n",
    }


@pytest.mark.parametrize("label", ["VDD_IN", "POM_5V_IN", "VIN_SYS_5V0"])
def test_power_is_that_of_the_supply(tree, tmp_path, label):
    # 5 V and 0.4 A on the supply; a rail behind it counts in that.
    files = {**monitor(2, label), **monitor(3, "VDD_CPU_GPU_CV", amperes="300")}
    assert power_watts(tree(tmp_path, files)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "files",
    [
        {},
        monitor(1, "VDD_CPU_GPU_CV"),
        monitor(1, "VDD_IN", volts=""),
        {"sys/class/hwmon/hwmon0/in1_label": "VDD_IN\n", "sys/class/hwmon/hwmon0/in1_input": "5000\n"},
    ],
    ids=["none", "another rail", "no volts", "no amperes"],
)
def test_power_that_no_monitor_tells_is_unknown(tree, tmp_path, files):
    assert power_watts(tree(tmp_path, files)) is None
