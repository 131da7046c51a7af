"""The script that a bundle carries for JetPack 4 and 5, run with a stand-in for trtexec: NVIDIA's own needs its GPU."""

import json
import os
import subprocess

import numpy as np
import onnx
import pytest

from deploy.bundle import open_bundle
from deploy.machine_state import machine_state
from deploy.runtimes import open_runtime
from deploy.targets import load_target
from deploy.trtexec import records_of

# Writes what trtexec 8 does, and keeps what it was called with.
STAND_IN = """#!/bin/sh
echo "$*" >> "$CALLS"
for word in "$@"; do
  case $word in
    --saveEngine=*) : > "${word#*=}" ;;
    --exportTimes=*) printf '[{"computeMs": 0.4, "latencyMs": 0.5}, {"computeMs": 0.6, "latencyMs": 0.7}]' > "${word#*=}" ;;
  esac
done
"""


@pytest.fixture(scope="module")
def bundle(untrained_bundle, tmp_path_factory):
    return untrained_bundle(tmp_path_factory.mktemp("trtexec"), length=64, precisions=("fp32", "int8"))


def run(bundle, tmp_path, *arguments, there=True, root=None):
    """Run the script as on a Jetson Nano, whose files are in a folder that stands for the root of its system."""
    programs, made = tmp_path / "programs", tmp_path / "root"
    tree = made / "proc/device-tree"
    for folder in (programs, tree):
        folder.mkdir(parents=True, exist_ok=True)
    (tree / "compatible").write_bytes(b"nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210\0")
    (programs / "uname").write_text("#!/bin/sh\necho aarch64\n")
    (programs / "uname").chmod(0o755)
    if there:
        (programs / "trtexec").write_text(STAND_IN)
        (programs / "trtexec").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls")}
    environment["THINWAVE_ROOT"] = str(root or made)
    return subprocess.run(
        ["sh", bundle / "trtexec.sh", *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_models_for_tensorrt_8_are_of_opset_13_and_answer_alike(bundle, precision):
    path = bundle / f"trtexec-{precision}.onnx"
    assert [each.version for each in onnx.load(path).opset_import if each.domain == ""] == [13]
    frames = np.random.default_rng(0).normal(size=(4, 2, 64)).astype(np.float32)
    with open_runtime("onnxruntime", path) as older, open_runtime("onnxruntime", bundle / f"{precision}.onnx") as newer:
        np.testing.assert_allclose(older.run(frames), newer.run(frames), rtol=1e-4, atol=1e-5)


def test_what_the_script_leaves_is_read_into_records(bundle, tmp_path):
    said = run(bundle, tmp_path, "fp32 fp16", "3", "1")
    assert said.returncode == 0, said.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2 * (1 + 3)
    assert "--noTF32" in calls[0]
    assert "--fp16" in calls[4]
    assert all("--shapes=iq:1x2x64" in call and "--exposeDMA" in call for call in calls[1:4])
    fp32, fp16 = records_of(bundle / "trtexec-times", open_bundle(bundle), target=load_target("jetson-nano"))
    assert (fp32.precision, fp16.precision) == ("fp32", "fp16")
    assert fp32.p50_ms == pytest.approx(0.6)
    assert fp32.runs == 6
    assert fp32.conditions["processes"] == 3


def test_the_bundle_is_whole_after_it_measured(bundle, tmp_path):
    run(bundle, tmp_path, "fp32", "1", "1")
    assert open_bundle(bundle).manifest.trtexec


@pytest.mark.parametrize(
    ("arguments", "there", "told"),
    [
        # Before anything is built.
        (("fp32 fp8",), True, "fp8 is none of fp32, fp16, int8"),
        (("fp32", "abc"), True, "abc is no whole number over 0"),
        (("fp32", "1", "0"), True, "0 is no whole number over 0"),
        ((), False, "trtexec is not here"),
    ],
)
def test_what_it_cannot_do_is_told(bundle, tmp_path, arguments, there, told):
    said = run(bundle, tmp_path, *arguments, there=there)
    assert said.returncode == 2
    assert told in said.stderr
    assert not (tmp_path / "calls").exists()


def test_json_of_about_is_json_whatever_the_device_is_called(bundle, tmp_path):
    model = tmp_path / "root/proc/device-tree/model"
    model.parent.mkdir(parents=True)
    model.write_bytes(b'A "Nano"\\\nof mine\xff\0')
    said = run(bundle, tmp_path, "fp32", "1", "1")
    assert said.stderr == ""
    about = json.loads((bundle / "trtexec-times/fp32/about.json").read_text())
    assert (about["device"], about["machine"]) == ("A Nano of mine", "aarch64")
    assert about["device_tree"].split()[1:] == ["nvidia,jetson-nano", "nvidia,tegra210"]


MODES = "< POWER_MODEL ID=0 NAME=MAXN >\nCPU 1\n< POWER_MODEL ID=1 NAME=5W >\n"


@pytest.mark.parametrize(
    ("status", "modes", "expected"),
    [
        ("pmode:0001 fmode:fanNull\n", MODES, "5W"),
        ("pmode:0000 fmode:fanNull\n", MODES, "MAXN"),
        ("pmode:0001\n", "# < POWER_MODEL ID=1 NAME=OLD >\n" + MODES, "5W"),
        ("pmode:0001\n", "<\tPOWER_MODEL\tID=01\tNAME=TABBED\t>\n", "TABBED"),
        ("pmode:0010\n", MODES + "< POWER_MODEL ID=10 NAME=TENTH >\n", "TENTH"),
        ("pmode:0007\n", MODES, "7"),
        ("pmode:0001\n", None, "1"),
        ("pmode:0001 fmode:quiet\npmode:0000\n", MODES, "5W"),
        ("nothing\n", MODES, None),
        (None, MODES, None),
    ],
)
def test_the_power_mode_is_told_as_thinwave_tells_it(bundle, tmp_path, status, modes, expected):
    for path, text in (("etc/nvpmodel.conf", modes), ("var/lib/nvpmodel/status", status)):
        if text is not None:
            (tmp_path / "root" / path).parent.mkdir(parents=True)
            (tmp_path / "root" / path).write_text(text)
    said = run(bundle, tmp_path, "fp32", "1", "1")
    assert (said.returncode, said.stderr) == (0, "")
    told = json.loads((bundle / "trtexec-times/fp32/about.json").read_text())["power_mode"]
    assert told == expected == machine_state(tmp_path / "root")["power_mode"]


def test_what_a_device_does_not_say_of_itself_is_unknown(bundle, tmp_path):
    said = run(bundle, tmp_path, "fp32", "1", "1", root=tmp_path / "nothing")
    assert said.returncode == 0
    assert "this device does not say what it is" in said.stderr
    about = json.loads((bundle / "trtexec-times/fp32/about.json").read_text())
    assert (about["device"], about["device_tree"], about["power_mode"]) == ("unknown", "", None)


def test_a_bundle_in_int8_alone_is_timed_in_that(bundle, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("trtexec.sh", "trtexec-int8.onnx"):
        (alone / name).write_bytes((bundle / name).read_bytes())
    assert run(alone, tmp_path, "", "1", "1").returncode == 0
    assert [folder.name for folder in (alone / "trtexec-times").iterdir()] == ["int8"]
