"""What a training runs on: plain values, and whether this machine has it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from deploy.host import usable_cores
from toolchain.errors import TrainingError

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """``devices`` of an ``accelerator``; "auto" is a GPU where there is one, else the CPU.

    On the CPU a device is a process, with as many threads as the caller's torch has. With a mixed ``precision``
    convolutions and matrix products are computed in 16 bits; weights, and what a model does to its input, stay float32.
    """

    accelerator: Accelerator = "auto"
    devices: int = 1
    precision: Precision = "32-true"


ONE_DEVICE = Hardware()


def resolved(hardware: Hardware, *, batch: int) -> Hardware:
    """``hardware`` with "auto" made "gpu" or "cpu", when this machine has it and it can share batches of ``batch``.

    Raises TrainingError otherwise.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    accelerator = hardware.accelerator if hardware.accelerator != "auto" else "gpu" if gpus else "cpu"
    if accelerator == "gpu":
        _check_gpus(hardware.devices, gpus)
    elif hardware.accelerator == "auto" and hardware.devices > 1:
        raise TrainingError(
            f"devices = {hardware.devices}: torch finds no GPU here; expected 1, or accelerator = "
            '"cpu" for as many processes on the CPU'
        )
    elif hardware.devices > (cores := len(usable_cores())):
        raise TrainingError(
            f"devices = {hardware.devices}: on the CPU each is a process, and this one may use {cores} cores; "
            "expected at most as many"
        )
    if accelerator == "cpu" and hardware.precision == "16-mixed":
        raise TrainingError(
            'precision = "16-mixed": float16 needs a GPU, and this trains on the CPU; expected "32-true" or "bf16-mixed"'
        )
    if batch % hardware.devices:
        raise TrainingError(
            f"devices = {hardware.devices}: cannot share a batch of {batch} frames evenly; "
            f"expected a batch that is a multiple of {hardware.devices}"
        )
    return replace(hardware, accelerator=accelerator)


def first_device(hardware: Hardware) -> torch.device:
    """Where a model is judged that ``hardware`` trained: its first GPU, else the CPU."""
    gpu = hardware.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def _check_gpus(devices: int, gpus: int) -> None:
    if gpus == 0:
        raise TrainingError(
            'accelerator = "gpu": torch finds no GPU here; train with "cpu", or install a torch with CUDA where there is one'
        )
    if devices > gpus:
        raise TrainingError(
            f"devices = {devices}: torch finds {gpus} GPU{'s' * (gpus > 1)} here; expected at most {gpus}"
        )
