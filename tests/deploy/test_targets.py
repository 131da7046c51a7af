import os

import pytest

from deploy import targets
from deploy.errors import TargetError
from deploy.targets import check_is_here, figures_here, how_known, is_here, list_targets, load_target, this_machine

PROFILE = """
name = "board"
description = "A board"
runtimes = ["onnxruntime"]

[identity]
machine = "aarch64"

[processor]
cores = { value = 4, source = "vendor" }
vector_bits = { value = 128, source = "vendor" }
last_level_cache_bytes = { source = "read from the machine" }

[memory]
size_bytes = { source = "read from the machine" }

[measuring]
runtime = "onnxruntime"
threads = 1
batch = 1
precision = "fp32"

[budget]
speedup = 2.0
"""
GPU = """
[accelerator]
name = "Ampere"
compute_capability = "8.7"
cores = { value = 1024, source = "vendor", note = "data sheet" }
clock_mhz = { value = 918, source = "vendor" }

[accelerator.peaks]
fp32_gflops = { value = 1880, source = "computed", note = "cores x clock x 2" }

[[power_modes]]
name = "MAXN"
source = "vendor"

[[power_modes]]
name = "10W"
gpu_mhz = 612
source = "vendor"

[[jetpacks]]
version = "6.2"
tensorrt = "10.3.0"
cuda = "12.6"
python = "3.10"
runtimes = ["onnxruntime"]
"""


@pytest.fixture
def profile(tmp_path):
    def write(old="", new=""):
        assert old in PROFILE
        path = tmp_path / "board.toml"
        path.write_text(PROFILE.replace(old, new) if old else PROFILE)
        return path

    return write


def test_profile_is_read_by_its_path(profile):
    target = load_target(profile())
    assert target.name == "board"
    assert target.processor.cores.value == 4
    assert target.measuring.threads == 1
    assert load_target(str(profile())) == target


def test_profile_is_read_by_its_name():
    assert load_target("x86-cpu").identity.machine == "x86_64"


def test_unknown_name_lists_the_known_ones_and_suggests_one():
    with pytest.raises(
        TargetError, match=r'no target profile is named "x86-cpi", did you mean "x86-cpu"\?; there are:.*x86'
    ):
        load_target("x86-cpi")


def test_file_that_is_not_there_is_named():
    with pytest.raises(TargetError, match=r"nowhere\.toml: the target profile cannot be read: No such file"):
        load_target("nowhere.toml")


def test_pipe_or_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    with pytest.raises(TargetError, match=r"pipe\.toml: the target profile cannot be read: is a pipe, expected a file"):
        load_target(tmp_path / "pipe.toml")
    with pytest.raises(TargetError, match="is a device, expected a file"):
        load_target(tmp_path / "zero.toml")


def test_file_beyond_any_size_is_refused_unread(tmp_path):
    (tmp_path / "big.toml").touch()
    os.truncate(tmp_path / "big.toml", 2 << 20)
    with pytest.raises(TargetError, match="has 2097152 bytes, expected at most 1048576"):
        load_target(tmp_path / "big.toml")


@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_profile_that_is_nested_deeply_gives_no_traceback(tmp_path, depth):
    (tmp_path / "deep.toml").write_text("name = " + "[" * depth + "]" * depth)
    with pytest.raises(TargetError, match=r"deep\.toml"):
        load_target(tmp_path / "deep.toml")


def test_text_that_is_no_toml_is_refused_with_its_line(profile):
    with pytest.raises(TargetError, match=r"board\.toml: this is not TOML: .*line"):
        load_target(profile("[identity]", "[identity"))


def test_a_number_of_thousands_of_digits_is_refused(tmp_path):
    (tmp_path / "long.toml").write_text(f"cores = {'1' * 5000}")
    with pytest.raises(TargetError, match=r"long\.toml: this is not TOML"):
        load_target(tmp_path / "long.toml")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TargetError, match="no UTF-8 text"):
        load_target(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threads = 1", "thread = 1", r'measuring\.thread: unknown key, did you mean "threads"\?'),
        ("threads = 1", "threads = 0", r"measuring\.threads: got 0, expected greater than or equal to 1"),
        ("threads = 1", "threads = 64", r"measuring\.threads = 64, and the processor has 4 cores"),
        (
            "threads = 1",
            f"threads = 1{'0' * 400}",
            r"measuring\.threads: got 1000.*expected less than or equal to 1000000",
        ),
        ("speedup = 2.0", "speedup = 1e300", r"budget\.speedup: got 1e\+300, expected less than or equal to 1000000"),
        ("value = 4, ", "value = 1.5, ", r"cores = 1\.5: expected a whole number"),
        ("value = 4, ", "value = 1e300, ", r"processor\.cores: got 1e\+300, expected 1e-06 to 1e\+15; mind the unit"),
        ("value = 4, ", "value = 1e-310, ", r"processor\.cores: got 1e-310, expected 1e-06 to 1e\+15; mind the unit"),
        ("batch = 1", "batch = 65537", r"measuring\.batch: got 65537, expected less than or equal to 65536"),
        (
            'precision = "fp32"',
            'precision = "fp8"',
            r"measuring\.precision: got \"fp8\", expected 'fp32', 'fp16' or 'int8'",
        ),
        ('["onnxruntime"]', "[]", "runtimes: .*at least 1"),
        ('machine = "aarch64"', 'machine = "arm"', 'identity.machine: got "arm", expected'),
        ("value = 4, ", "", 'a figure has a value, or the source "read from the machine"'),
        ('source = "vendor" }\nv', 'source = "read from the machine" }\nv', "and never both"),
        (', source = "vendor" }\nv', " }\nv", r"processor\.cores\.source: missing"),
    ],
)
def test_mistake_is_told_where_it_is(profile, old, new, message):
    with pytest.raises(TargetError, match=message):
        load_target(profile(old, new))


def test_all_mistakes_are_told_at_once(profile):
    with pytest.raises(TargetError, match=r"(?s)board\.toml: 2 problems\n.*threads: missing\n.*thread: unknown"):
        load_target(profile("threads = 1", "thread = 1"))


def test_profile_of_a_board_with_a_gpu_is_read(profile, tmp_path):
    path = tmp_path / "jetson.toml"
    path.write_text(PROFILE + GPU)
    target = load_target(path)
    assert target.accelerator.peaks.fp32_gflops.value == 1880
    assert target.accelerator.cores.note == "data sheet"
    assert [mode.name for mode in target.power_modes] == ["MAXN", "10W"]
    assert target.jetpacks[0].python == "3.10"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "10W"', 'name = "MAXN"', "power_modes: a name is there twice: MAXN, MAXN"),
        ('compute_capability = "8.7"', 'compute_capability = "87"', r"accelerator\.compute_capability: got \"87\""),
        ("value = 918", "value = 0", "accelerator.clock_mhz: got 0, expected more than 0"),
        ('name = "10W"', f'gpu_cores = 1{"0" * 400}\nname = "10W"', r"power_modes\.1\.gpu_cores: got 1000"),
    ],
)
def test_mistake_about_a_gpu_is_told(old, new, message, tmp_path):
    assert old in GPU
    (tmp_path / "jetson.toml").write_text(PROFILE + GPU.replace(old, new))
    with pytest.raises(TargetError, match=message):
        load_target(tmp_path / "jetson.toml")


def test_jetpack_with_a_runtime_that_the_profile_lacks_is_told(tmp_path):
    (tmp_path / "jetson.toml").write_text(PROFILE + GPU.replace('["onnxruntime"]', '["tensorrt"]'))
    with pytest.raises(TargetError, match=r"jetpack 6\.2: tensorrt is not among runtimes \['onnxruntime'\]"):
        load_target(tmp_path / "jetson.toml")


def test_board_is_known_by_its_device_tree(monkeypatch, tmp_path):
    monkeypatch.setattr(targets, "machine", lambda: "aarch64")
    (tmp_path / "board.toml").write_text(
        PROFILE.replace('"aarch64"', '"aarch64"\ndevice_tree = ["p3767-0000", "p3767-0002"]')
    )
    board = load_target(tmp_path / "board.toml")
    assert how_known(board, tmp_path) is None
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0000-super\0nvidia,tegra234\0")
    assert how_known(board, tmp_path) == "its device tree says that it is p3767-0000"
    (tree / "compatible").write_bytes(b"nvidia,p3767-00001\0")
    assert how_known(board, tmp_path) is None


def test_board_comes_before_its_architecture(monkeypatch, tmp_path):
    monkeypatch.setattr(targets, "machine", lambda: "aarch64")
    assert this_machine(tmp_path).name == "arm64-cpu"
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert this_machine(tmp_path).name == "raspberry-pi-5"


def test_machine_of_another_architecture_is_not_the_target(monkeypatch, profile):
    monkeypatch.setattr(targets, "machine", lambda: "x86_64")
    board = load_target(profile())
    assert not is_here(board)
    with pytest.raises(TargetError, match="target board is of architecture aarch64, and this machine is x86_64"):
        check_is_here(board)
    check_is_here(load_target("x86-cpu"))
    assert is_here(this_machine())


def test_machine_that_no_profile_describes_is_told(monkeypatch):
    monkeypatch.setattr(targets, "machine", lambda: "riscv64")
    with pytest.raises(TargetError, match="no target profile is for architecture riscv64"):
        this_machine()


def test_figures_that_the_file_leaves_open_are_read_from_the_machine(monkeypatch, profile):
    monkeypatch.setattr(
        targets, "processor_facts", lambda: {"cores": 99, "last_level_cache_bytes": 2048, "memory_bytes": None}
    )
    assert figures_here(load_target(profile())) == {
        "cores": 4.0,
        "vector_bits": 128.0,
        "last_level_cache_bytes": 2048,
        "memory_bytes": None,
    }


def test_profiles_are_listed_by_name():
    names = [target.name for target in list_targets()]
    assert names == sorted(names)
    assert "x86-cpu" in names
