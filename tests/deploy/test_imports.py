"""What a device does not have is not imported, and what a command does not need is not either."""

import subprocess
import sys

import pytest

MISSING_ON_A_DEVICE = {"torch", "onnx", "onnxscript", "scipy", "matplotlib", "safetensors", "toolchain"}
HEAVY = {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx_bindings", "polygraphy", "numpy", "h5py", "sigmf"}


def modules_after(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(' '.join(sys.modules))", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_nothing_in_deploy_imports_what_a_device_does_not_have():
    code = (
        "import importlib, pkgutil, deploy\n"
        "for module in pkgutil.walk_packages(deploy.__path__, 'deploy.'): importlib.import_module(module.name)"
    )
    loaded = modules_after(code)
    assert {"onnxruntime", "numpy", "openvino"} <= loaded
    assert not MISSING_ON_A_DEVICE & loaded


@pytest.mark.parametrize("command", [["check"], ["classify", "BUNDLE/reference.npz"], ["build"]])
def test_no_command_imports_what_a_device_does_not_have(bundle_folder, tmp_path, command):
    if command == ["build"]:
        pytest.importorskip("tensorrt_rtx_bindings", reason="needs the TensorRT-RTX wheels", exc_type=ImportError)
    folder = bundle_folder()
    name, *more = command
    options = ["--runtime", "tensorrt-rtx"] if name == "build" else []
    arguments = [name, folder, *(each.replace("BUNDLE", str(folder)) for each in more), *options]
    code = (
        f"import os; os.environ['XDG_CACHE_HOME'] = {str(tmp_path)!r}\n"
        "from deploy.cli import device\n"
        "from deploy.command_line import run_command_line\n"
        "assert run_command_line(device, sys.argv[1:]) == 0"
    )
    assert not MISSING_ON_A_DEVICE & modules_after(code, *arguments)


def test_command_line_starts_without_the_libraries_that_only_work_needs():
    loaded = modules_after("import deploy.cli")
    assert "click" in loaded
    assert not HEAVY & loaded


def test_command_line_starts_without_pydantic():
    assert "pydantic" not in modules_after("import deploy.cli")


def test_runtimes_are_not_imported_by_those_that_name_them():
    assert not HEAVY - {"numpy"} & modules_after("import deploy.runtimes, deploy.profiling, deploy.doctor")
