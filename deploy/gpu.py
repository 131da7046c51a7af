"""The first NVIDIA GPU, asked of its driver: no CUDA toolkit and no other package is needed for that."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

DRIVER = "libcuda.so.1"
# CUdevice_attribute in the driver's header.
MAJOR, MINOR, MULTIPROCESSORS, CLOCK_KHZ = 75, 76, 16, 13


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU: its name, compute capability, streaming multiprocessors and highest clock, and the driver's CUDA version."""

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    clock_mhz: float
    cuda_version: str


def first_gpu() -> Gpu | str:
    """The first GPU, or why there is none."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return f"no NVIDIA driver ({DRIVER} is not there)"
    device, version = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    for call, arguments in (
        (driver.cuInit, (0,)),
        (driver.cuDriverGetVersion, (ctypes.byref(version),)),
        (driver.cuDeviceGet, (ctypes.byref(device), 0)),
        (driver.cuDeviceGetName, (name, len(name), device)),
    ):
        if code := call(*arguments):
            return f"the NVIDIA driver finds no GPU ({call.__name__} gives error {code})"

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    return Gpu(
        name=name.value.decode(),
        compute_capability=(attribute(MAJOR), attribute(MINOR)),
        multiprocessors=attribute(MULTIPROCESSORS),
        clock_mhz=attribute(CLOCK_KHZ) / 1000,
        cuda_version=f"{version.value // 1000}.{version.value % 1000 // 10}",
    )
