"""Wheels that the user brings for a device without a network."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from deploy.errors import DeviceError
from deploy.remote.setting_up import Python

# The C libraries that a wheel may ask for, of which every system that runs Python 3.10 is at least as new as the last.
MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28")
# What is looked for among the wheels of an extra: the one that is not also in the base, and that JetPack does not bring.
NAMES = {"openvino": "openvino", "tensorrt": "polygraphy"}


def wheels_in(folder: Path, extras: Sequence[str], python: Python, architecture: str) -> list[Path]:
    """The wheels in a folder; raises DeviceError where there are none, with the command that fetches them."""
    require_folder(folder)
    found = sorted(folder.glob("*.whl"))
    if not found:
        command = download_command(folder, extras, python, architecture)
        raise DeviceError(f"{folder}: holds no wheels; fill it on a machine with a network: {command}")
    return found


def require_folder(folder: Path) -> None:
    """Raise DeviceError for a file where wheels are to lie; a folder that is not there yet can be filled."""
    if folder.exists() and not folder.is_dir():
        raise DeviceError(f"{folder}: is a file; --wheels expects a folder of them")


def download_command(folder: Path, extras: Sequence[str], python: Python, architecture: str) -> str:
    """The command that fetches what the base and the ``extras`` need for a Python of a device of that architecture."""
    platforms = [word for name in MANYLINUX for word in ("--platform", f"{name}_{architecture}")]
    version = ".".join(map(str, python.version[:2]))
    words = ["pip", "download", "--only-binary=:all:", "--python-version", version, "--dest", str(folder), *platforms]
    return shlex.join([*words, *_needed(extras, python)])


def brought_extras(extras: Sequence[str], wheels: Sequence[Path]) -> tuple[str, ...]:
    """Those of the ``extras`` whose wheels are among these."""
    names = {wheel.name.partition("-")[0].lower() for wheel in wheels}
    return tuple(extra for extra in extras if NAMES[extra] in names)


def _needed(extras: Sequence[str], python: Python) -> list[str]:
    needed = []
    for text in metadata.requires("thinwave") or ():
        requirement, _, marker = text.partition(";")
        extra = re.search(r'extra == "([^"]*)"', marker.replace("'", '"'))
        # JetPack's own TensorRT serves.
        of_jetpack = python.tensorrt is not None and requirement.startswith("tensorrt")
        if (extra is None or extra[1] in extras) and not of_jetpack:
            needed.append(requirement.strip())
    return needed
