"""The device package on arm64 Python and aarch64 wheels, under qemu's user emulation: `make test-arm64`.

Its times are the emulator's, and are labelled so.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parents[2]
ROOT = Path(os.environ.get("THINWAVE_ARM64", HERE / ".arm64"))


@pytest.fixture(scope="session")
def arm():
    """A call of thinwave-device on arm64: of its arguments and an exit code it makes what was said."""
    emulator = shutil.which("qemu-aarch64-static")
    if emulator is None or not (ROOT / "complete").is_file():
        pytest.skip("needs qemu-user-static and the packages that `make test-arm64` brings")
    packages = f"{HERE}:{ROOT / 'site'}"
    python = [emulator, "-L", str(ROOT / "root"), "-E", f"PYTHONPATH={packages}", str(ROOT / "root/usr/bin/python3.11")]

    def call(*arguments, code=0):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        said = subprocess.run(
            [*python, "-m", "deploy.cli", *map(str, arguments)],
            env={**environment, "THINWAVE_PYTHON": shlex.join(python)},
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        assert said.returncode == code, said.stderr
        return said

    return call


@pytest.fixture(scope="session")
def bundle(untrained_bundle, tmp_path_factory):
    """A 1-D ResNet-20 that knows nothing, in fp32 and int8, exported on this machine."""
    return untrained_bundle(tmp_path_factory.mktemp("arm64"), length=128, precisions=("fp32", "int8"))


def test_it_runs_on_arm64_and_knows_what_it_is(arm):
    assert json.loads(arm("targets", "here", "--json").stdout)["target"] == "arm64-cpu"
    assert json.loads(arm("doctor", "--json").stdout)["host"]["machine"] == "aarch64"


def test_check_holds_in_float32(arm, bundle):
    told = json.loads(arm("check", bundle, "--precision", "fp32", "--json").stdout)
    assert told["precisions"]["fp32"]["problems"] == []
    # Against PyTorch's logits on x86.
    assert told["precisions"]["fp32"]["max_abs_diff"] < 1e-4


def test_int8_answers_as_on_this_machine(arm, bundle):
    # A model that knows nothing fails the check itself: what is compared is how often it is right on the reference frames.
    command = ("check", bundle, "--precision", "int8", "--json")
    here = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *map(str, command)], cwd=HERE, capture_output=True, text=True, check=False
    )
    there = arm(*command, code=here.returncode)
    right = [json.loads(said.stdout)["precisions"]["int8"]["accuracy"] for said in (here, there)]
    # Kernels of other processors round otherwise.
    assert abs(right[0] - right[1]) <= 0.02


def test_classify_gives_the_answers_of_this_machine(arm, bundle, tmp_path):
    frames = np.random.default_rng(1).normal(size=(16, 2, 128)).astype(np.float32)
    np.savez(tmp_path / "frames.npz", iq=frames)
    there = json.loads(arm("classify", bundle, tmp_path / "frames.npz", "--json").stdout)
    here = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "classify", bundle, tmp_path / "frames.npz", "--json"],
        cwd=HERE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert there["predicted"] == json.loads(here.stdout)["predicted"]


def test_frames_from_an_hdf5_file_are_read(arm, bundle):
    told = json.loads(arm("classify", bundle, bundle.parent / "frames.h5", "--json").stdout)
    assert len(told["predicted"]) == 400


def test_profile_measures_and_says_that_it_is_an_emulation(arm, bundle):
    told = json.loads(arm("profile", bundle, "--processes", "2", "--seconds", "0.05", "--json").stdout)
    (row,) = told["latency"]
    assert (row["target"], row["kind"]) == ("arm64-cpu", "emulated")
    assert row["p50_ms"] > 0


def test_a_board_that_this_is_not_is_refused(arm, bundle):
    said = arm("profile", bundle, "--target", "raspberry-pi-5", code=2)
    assert "target raspberry-pi-5 is known by raspberrypi,5-model-b in its device tree" in said.stderr
