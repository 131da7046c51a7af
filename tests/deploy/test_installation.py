"""What a device installs, the wheel and its base dependencies alone, in an environment of its own: no torch, no onnx."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A call of thinwave-device in a clean environment: of its arguments and an exit code it makes what was said."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv" / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
    # Not from the working tree in place: setuptools leaves its build there.
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source_copy(folder)], check=True)
    (wheel,) = folder.glob("thinwave-*.whl")
    subprocess.run([*pip, "install", "--constraint", HERE / "constraints.txt", wheel], check=True)
    # Nothing of the environment that the tests run in, and not the repository, may be what is imported.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}

    def call(*arguments, program="thinwave-device", code=0):
        command = [folder / "venv" / "bin" / program, *arguments]
        said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert said.returncode == code, said.stderr
        return said

    return call


def source_copy(folder):
    """The files that git knows, as a stranger's clone has them."""
    archive = folder / "source.zip"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HERE, capture_output=True, check=True).stdout
    with zipfile.ZipFile(archive, "w") as packed:
        for name in listed.decode().split("\0"):
            if name and (HERE / name).is_file():
                packed.write(HERE / name, name)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "source")
    return folder / "source"


def test_there_is_no_torch(device):
    said = device("-c", "import torch", program="python", code=1)
    assert "No module named 'torch'" in said.stderr
    assert "No module named 'onnx'" in device("-c", "import onnx", program="python", code=1).stderr


@pytest.mark.parametrize("program", ["thinwave-device", "thinwave"])
def test_every_device_command(device, program, bundle_folder, steady_frames, tmp_path):
    bundle = bundle_folder()
    frames = tmp_path / "frames.npz"
    np.savez(frames, iq=steady_frames())

    def answer(*arguments):
        return json.loads(device(*arguments, "--json", "-", program=program).stdout)

    assert answer("check", bundle)["precisions"]["fp32"]["problems"] == []
    measured = answer("profile", bundle, "--processes", "2", "--seconds", "0.1", "--layers")
    assert measured["latency"][0]["p50_ms"] > 0
    assert any("conv0" in row["name"] and row["p50_ms"] > 0 for row in measured["layers"]["layers"])
    assert measured["latency"][0]["runtime"] == "onnxruntime"
    best = answer("profile", bundle, "--processes", "2", "--seconds", "0.1", "--runtime", "best")
    assert {look["runtime"] for look in best["looks"] if look["problem"] is None} == {"onnxruntime"}
    plain = answer("profile", bundle / "fp32.onnx", "--processes", "2", "--seconds", "0.1")
    assert plain["latency"][0]["p50_ms"] > 0
    assert answer("classify", bundle, frames)["predicted"][:2] == ["BPSK", "QPSK"]
    assert "pip install" in answer("doctor")["runtimes"]["openvino"]["problem"]
    assert "x86-cpu" in answer("targets")


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (("profile", "--runtime", "openvino"), 'pip install "thinwave[openvino]"'),
        (("check", "--runtime", "openvino"), 'pip install "thinwave[openvino]"'),
        (("classify", "frames.npz", "--runtime", "tensorrt"), 'pip install "thinwave[tensorrt]"'),
        (("profile", "--runtime", "onnxruntime-cuda"), "pip install onnxruntime-gpu"),
        (("build",), 'pip install "thinwave[tensorrt]"'),
    ],
)
def test_a_runtime_that_is_not_installed_is_one_line_with_what_to_install(
    device, arguments, way_out, bundle_folder, steady_frames, tmp_path
):
    bundle = bundle_folder()
    np.savez(tmp_path / "frames.npz", iq=steady_frames())
    command, *rest = (str(tmp_path / each) if each == "frames.npz" else each for each in arguments)
    said = device(command, bundle, *rest, code=2)
    (line,) = said.stderr.splitlines()
    assert line.startswith("thinwave: error: ")
    assert way_out in line
