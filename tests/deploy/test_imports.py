"""What a device does not have is not imported, and what a command does not need is not either."""

import subprocess
import sys


def modules_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_nothing_in_deploy_imports_what_a_device_does_not_have():
    code = (
        "import importlib, pkgutil, deploy\n"
        "for module in pkgutil.walk_packages(deploy.__path__, 'deploy.'): importlib.import_module(module.name)"
    )
    loaded = modules_after(code)
    assert {"onnxruntime", "numpy"} <= loaded
    assert not {"torch", "onnx", "onnxscript", "scipy", "matplotlib", "safetensors", "toolchain"} & loaded


def test_command_line_starts_without_the_libraries_that_only_work_needs():
    loaded = modules_after("import deploy.cli")
    assert "click" in loaded
    assert not {"onnxruntime", "numpy", "pydantic"} & loaded
