"""What is installed on a device is decided by what the target and the device say."""

from pathlib import Path

import pytest

from deploy.errors import DeviceError
from deploy.remote.brought import brought_extras, download_command, wheels_in
from deploy.remote.setting_up import Python, Survey, choose_python, environment_script, extras_for
from deploy.targets import load_target, target_of

OLD = Python(path="/usr/bin/python3", version=(3, 10, 12), tensorrt="8.6.2")
NEW = Python(path="/usr/bin/python3", version=(3, 10, 12), tensorrt="10.3.0")
PLAIN = Python(path="/usr/local/bin/python3", version=(3, 12, 1), tensorrt=None)


def test_a_jetson_is_known_by_what_its_kernel_says():
    tree = "nvidia,p3768-0000+p3767-0003-super\0nvidia,p3767-0003\0nvidia,tegra234"
    assert target_of("aarch64", tree).name == "jetson-orin-nano-8gb"
    assert target_of("aarch64", "").name == "arm64-cpu"


@pytest.mark.parametrize(
    ("runtime", "target", "extras"),
    [
        ("tensorrt", "jetson-orin-nano-8gb", ("tensorrt",)),
        ("onnxruntime", "jetson-orin-nano-8gb", ()),
        ("openvino-bf16", "x86-cpu", ("openvino",)),
        # All that can be had, once each.
        ("best", "jetson-orin-nano-8gb", ("tensorrt",)),
        ("best", "x86-cpu", ("openvino",)),
    ],
)
def test_what_a_runtime_needs_beside_the_base(runtime, target, extras):
    assert extras_for("ssh://it", runtime, load_target(target)) == extras


@pytest.mark.parametrize("runtime", ["onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt-rtx", "trtexec"])
def test_what_is_not_installed_over_ssh_is_refused(runtime):
    with pytest.raises(DeviceError):
        extras_for("ssh://it", runtime, load_target("jetson-orin-nano-8gb"))


def test_the_python_that_finds_tensorrt_is_taken_where_that_is_wanted():
    wanted = ("tensorrt",)
    assert choose_python("ssh://it", [PLAIN, NEW], wanted) == (NEW, wanted)
    assert choose_python("ssh://it", [PLAIN, NEW], ("openvino",)) == (PLAIN, ("openvino",))
    assert choose_python("ssh://it", [OLD, NEW], wanted) == (NEW, wanted)
    # One that has none may be given one.
    assert choose_python("ssh://it", [PLAIN], wanted) == (PLAIN, wanted)


def test_a_tensorrt_that_is_too_old_is_told(caplog):
    with pytest.raises(DeviceError, match=r"needs TensorRT 10\.3 or newer there, .* JetPack 6\.1, and found 8\.6\.2"):
        choose_python("ssh://it", [OLD, PLAIN], ("tensorrt",))
    # Where any runtime will do the others are tried.
    assert choose_python("ssh://it", [OLD], ("tensorrt", "openvino"), needed=False) == (OLD, ("openvino",))
    assert "its TensorRT 8.6.2 is not tried" in caplog.text


def script(python, extras, **wheels):
    there = Survey(
        folder="/home/me/.cache/thinwave", machine="aarch64", device_tree="", free_bytes=None, pythons=(python,),
        files=frozenset(),
    )  # fmt: skip
    return environment_script(there, python, wheel=("thinwave.whl", f"/f/{'ab' * 32}"), extras=extras, wheels=wheels)


def test_jetpacks_own_tensorrt_is_seen_by_an_environment_that_needs_it_alone():
    _, with_tensorrt = script(NEW, ("tensorrt",))
    assert "--system-site-packages" in with_tensorrt
    assert "thinwave.whl[tensorrt]" in with_tensorrt
    _, without = script(NEW, ())
    assert "--system-site-packages" not in without


def test_environments_of_the_same_thinwave_stay_and_the_wheel_is_the_one_just_packed():
    first, one = script(NEW, ())
    second, two = script(NEW, ("openvino",))
    assert first != second
    kept = f"case $each in /home/me/.cache/thinwave/environments/{('ab' * 32)[:16]}-*) ;;"
    assert kept in one
    assert kept in two
    _, brought = script(NEW, (), **{"thinwave.whl": "/f/old", "numpy.whl": "/f/numpy"})
    assert f"ln -f /f/{'ab' * 32} " in brought
    assert "/f/old" not in brought
    assert "--no-index" in brought


def test_the_command_that_fetches_wheels_names_what_the_base_needs(tmp_path):
    command = download_command(tmp_path, (), PLAIN, "aarch64")
    assert command.startswith("pip download --only-binary=:all: --python-version 3.12")
    assert "onnxruntime" in command
    assert "torch" not in command
    assert "openvino" not in command
    assert command.count("--platform manylinux") == command.count("_aarch64") == 4
    # What JetPack brings is not fetched.
    assert "polygraphy" in (command := download_command(tmp_path, ("tensorrt",), NEW, "aarch64"))
    assert "tensorrt>" not in command
    assert "tensorrt>" in download_command(tmp_path, ("tensorrt",), PLAIN, "aarch64")
    assert "openvino" in (command := download_command(tmp_path, ("openvino",), PLAIN, "x86_64"))
    assert "manylinux_2_28_x86_64" in command
    with pytest.raises(
        DeviceError, match=r"holds no wheels; fill it on a machine with a network: pip download .*openvino"
    ):
        wheels_in(tmp_path, ("openvino",), PLAIN, "x86_64")


def test_where_any_runtime_will_do_those_that_were_brought_are_installed():
    brought = [Path("numpy-2.0-cp312.whl"), Path("openvino-2025.1-cp312.whl"), Path("openvino_telemetry-1.whl")]
    assert brought_extras(("tensorrt", "openvino"), brought) == ("openvino",)
    assert brought_extras(("tensorrt",), [Path("polygraphy-0.49-py3.whl")]) == ("tensorrt",)
