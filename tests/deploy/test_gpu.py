import shutil
import subprocess

import pytest

from deploy import gpu
from deploy.gpu import Gpu, first_gpu

# The calls of NVIDIA's driver that are made, answering as an Orin does; the one that is FAILING gives 100, "no device".
DRIVER = """
#include <string.h>
#define ANSWER(name) (strcmp(FAILING, name) == 0 ? 100 : 0)
int cuInit(unsigned flags) { return flags ? 1 : ANSWER("cuInit"); }
int cuDriverGetVersion(int *version) { *version = 12060; return ANSWER("cuDriverGetVersion"); }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal ? 101 : ANSWER("cuDeviceGet"); }
int cuDeviceGetName(char *name, int room, int device) {
    strncpy(name, device == 7 ? "Orin" : "another", room);
    return ANSWER("cuDeviceGetName");
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 16 ? 8 : attribute == 13 ? 1020000 : -1;
    return device == 7 ? 0 : 101;
}
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Compile a driver, in which one call fails, and let it be asked."""

    def make(failing=""):
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("needs a C compiler for a driver to ask")
        (tmp_path / "driver.c").write_text(DRIVER)
        library = tmp_path / "libcuda.so.1"
        command = [compiler, "-shared", "-fPIC", f'-DFAILING="{failing}"', "-o", library, tmp_path / "driver.c"]
        subprocess.run(command, check=True)
        monkeypatch.setattr(gpu, "DRIVER", str(library))

    return make


def test_gpu_is_what_the_driver_says(driver):
    driver()
    assert first_gpu() == Gpu(
        name="Orin", compute_capability=(8, 7), multiprocessors=8, clock_mhz=1020.0, cuda_version="12.6"
    )


@pytest.mark.parametrize("call", ["cuInit", "cuDriverGetVersion", "cuDeviceGet", "cuDeviceGetName"])
def test_driver_that_finds_no_gpu_is_told_by_the_call_that_says_so(driver, call):
    driver(failing=call)
    assert first_gpu() == f"the NVIDIA driver finds no GPU ({call} gives error 100)"


def test_machine_without_a_driver_says_so(monkeypatch):
    monkeypatch.setattr(gpu, "DRIVER", "libno-such-driver.so.1")
    assert first_gpu() == "no NVIDIA driver (libno-such-driver.so.1 is not there)"


def test_file_that_is_no_driver_is_none(tmp_path, monkeypatch):
    (tmp_path / "libcuda.so.1").write_bytes(b"no ELF")
    monkeypatch.setattr(gpu, "DRIVER", str(tmp_path / "libcuda.so.1"))
    assert first_gpu().startswith("no NVIDIA driver")
