import pytest

from deploy.machine_state import change_of_state, machine_state


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_reads_what_the_kernel_says(tmp_path):
    for core, governor in ((0, "performance"), (1, "performance"), (10, "powersave")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}"
        write(folder / "cpufreq/scaling_governor", f"{governor}\n")
        write(folder / "cpufreq/scaling_cur_freq", "1500000\n")
        write(folder / "thermal_throttle/core_throttle_count", "2\n")
    write(tmp_path / "sys/devices/system/cpu/cpufreq/nothing", "")
    write(tmp_path / "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "41500\n")
    write(tmp_path / "sys/class/hwmon/hwmon0/name", "k10temp\n")
    write(tmp_path / "sys/class/hwmon/hwmon0/temp1_input", "50000\n")
    write(tmp_path / "sys/class/hwmon/hwmon0/temp1_label", "Tctl\n")
    write(tmp_path / "proc/loadavg", "1.25 0.80 0.50 1/85 7333\n")
    assert machine_state(tmp_path) == {
        "governor": "performance, powersave",
        "clocks_mhz": {"0": 1500.0, "1": 1500.0, "10": 1500.0},
        "temperature_c": {"cpu-thermal": 41.5, "k10temp Tctl": 50.0},
        "load_average": 1.25,
        "thermal_throttle_events": 6,
        "quota_throttled_periods": None,
        "power_mode": None,
    }


CONF = """
# < POWER_MODEL ID=2 NAME=COMMENT >
< PM_CONFIG DEFAULT=1 >
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=12 NAME=7W >
"""


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        ("pmode:0000", "15W"),
        ("pmode:0002\n", "MAXN_SUPER"),
        ("pmode:0012 fmode:quiet", "7W"),
        # A mode that nobody named, by its number.
        ("pmode:0001", "1"),
        ("something else", None),
    ],
)
def test_power_mode_of_a_jetson_goes_by_its_name(tmp_path, status, mode):
    write(tmp_path / "var/lib/nvpmodel/status", status)
    write(tmp_path / "etc/nvpmodel.conf", CONF)
    assert machine_state(tmp_path)["power_mode"] == mode


def test_power_mode_without_its_names_is_a_number(tmp_path):
    write(tmp_path / "var/lib/nvpmodel/status", "pmode:0003")
    assert machine_state(tmp_path)["power_mode"] == "3"


def test_two_sensors_of_one_name_are_both_kept(tmp_path):
    for zone, temperature in ((0, 40000), (1, 41000)):
        write(tmp_path / f"sys/class/thermal/thermal_zone{zone}/type", "acpitz\n")
        write(tmp_path / f"sys/class/thermal/thermal_zone{zone}/temp", f"{temperature}\n")
    assert machine_state(tmp_path)["temperature_c"] == {"acpitz": 40.0, "acpitz #2": 41.0}


def test_clocks_come_from_cpuinfo_where_there_is_no_cpufreq(tmp_path):
    write(tmp_path / "proc/cpuinfo", "processor : 0\ncpu MHz\t\t: 2596.122\n\nprocessor : 1\ncpu MHz\t\t: 800.5\n")
    assert machine_state(tmp_path)["clocks_mhz"] == {"0": 2596.122, "1": 800.5}


def test_all_is_unknown_where_nothing_can_be_read(tmp_path):
    assert set(machine_state(tmp_path).values()) == {None}


def test_change_has_gauges_at_both_ends_and_counters_as_differences():
    before = {
        "power_mode": "15W",
        "governor": "performance",
        "clocks_mhz": {"0": 1.0},
        "temperature_c": None,
        "thermal_throttle_events": 3,
        "quota_throttled_periods": None,
    }
    after = {
        **before,
        "governor": "powersave",
        "power_mode": None,
        "clocks_mhz": {"0": 2.0},
        "thermal_throttle_events": 5,
    }
    assert change_of_state(before, after) == {
        "power_mode": "15W, then None",
        "governor": "performance, then powersave",
        "clocks_mhz": {"before": {"0": 1.0}, "after": {"0": 2.0}},
        "temperature_c": {"before": None, "after": None},
        "thermal_throttle_events": 2,
        "quota_throttled_periods": None,
    }
