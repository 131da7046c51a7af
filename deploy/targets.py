"""Which target profiles there are, and which of them this machine is.

A profile is a TOML file, in ``targets/`` or anywhere. It is read strictly; all that is wrong with it is told at once.
"""

from __future__ import annotations

import re
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from deploy.errors import TargetError
from deploy.host import machine, processor_facts
from deploy.kernel_files import ROOT, read_text
from deploy.regular_file import read_whole
from deploy.strict_reading import read_strictly
from deploy.suggestion import none_named
from deploy.target_profile import READ_HERE, Figure, Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

DEVICE_TREE = "proc/device-tree/compatible"
# One has a few KiB.
MOST_PROFILE_BYTES = 1 << 20


def load_target(name_or_path: str | Path) -> Target:
    """Read the profile of that name, or the file at that path (what ends in ``.toml`` or has a ``/`` is a path).

    Raises TargetError for a name that no profile has, a file that cannot be read, and a profile with mistakes in it.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text:
        path = Path(name_or_path)
        try:
            profile = read_whole(path, MOST_PROFILE_BYTES)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise TargetError(f"{text}: the target profile cannot be read: {reason}") from error
        return _parse(profile, where=text)
    profiles = {target.name: target for target in list_targets()}
    if text not in profiles:
        raise TargetError(
            f"{none_named('target profile', text, profiles)}; a profile of your own is given by its path, ending in .toml"
        )
    return profiles[text]


def list_targets() -> list[Target]:
    """Return the profiles that come with thinwave, by name."""
    files = [file for file in resources.files("targets").iterdir() if file.name.endswith(".toml")]
    profiles = [_parse(file.read_text(encoding="utf-8"), where=f"targets/{file.name}") for file in files]
    return sorted(profiles, key=lambda target: target.name)


def is_here(target: Target, root: Path = ROOT) -> bool:
    """Say whether this machine is one that the profile describes."""
    return how_known(target, root) is not None


def how_known(target: Target, root: Path = ROOT) -> str | None:
    """Say by what this machine is known to be one that the profile describes; None where it is none."""
    return _known_by(target, machine(), read_text(root / DEVICE_TREE) or "")


def check_is_here(
    target: Target, way_out: str = "run the command on the device itself, or name the device with --device"
) -> None:
    """Raise TargetError where this machine is not one that the profile describes, with the way out."""
    check_is(target, machine(), read_text(ROOT / DEVICE_TREE) or "", whose="this machine", way_out=way_out)


def check_is(target: Target, architecture: str, device_tree: str, *, whose: str, way_out: str) -> None:
    """Raise TargetError where a machine is not one that the profile describes, by what its kernel says as in `target_of`."""
    if _known_by(target, architecture, device_tree) is not None:
        return
    if target.identity.machine != architecture:
        raise TargetError(
            f"target {target.name} is of architecture {target.identity.machine}, and {whose} is {architecture}; {way_out}"
        )
    found = (device_tree.strip("\0") or "nothing").replace("\0", ", ")
    raise TargetError(
        f"target {target.name} is known by {' or '.join(target.identity.device_tree)} in its device tree, and that of "
        f"{whose} says {found}; {way_out}"
    )


def this_machine(root: Path = ROOT) -> Target:
    """Return the profile that describes this machine, of a board before that of an architecture.

    Raises TargetError where there is none.
    """
    return target_of(machine(), read_text(root / DEVICE_TREE) or "")


def target_of(architecture: str, device_tree: str) -> Target:
    """Return the profile of a machine by what its kernel says: its architecture and ``/proc/device-tree/compatible``.

    Raises TargetError where there is none.
    """
    profiles = list_targets()
    for target in sorted(profiles, key=lambda target: not target.identity.device_tree):
        if _known_by(target, architecture, device_tree):
            return target
    names = ", ".join(target.name for target in profiles)
    raise TargetError(
        f"no target profile is for architecture {architecture} (there are: {names}); write one and give its path"
    )


def figures_here(target: Target) -> dict[str, JsonValue]:
    """Return the processor's and the memory's figures by name, those read from the machine read from this one.

    None where one is unknown.
    """
    facts, processor = processor_facts(), target.processor
    figures: dict[str, Figure | None] = {
        "cores": processor.cores,
        "vector_bits": processor.vector_bits,
        "last_level_cache_bytes": processor.last_level_cache_bytes,
        "memory_bytes": target.memory.size_bytes,
    }
    return {
        name: None if figure is None else facts[name] if figure.source == READ_HERE else figure.value
        for name, figure in figures.items()
    }


def _known_by(target: Target, architecture: str, device_tree: str) -> str | None:
    if target.identity.machine != architecture:
        return None
    if not target.identity.device_tree:
        return f"its architecture is {architecture}"
    named = next((name for name in target.identity.device_tree if name in _names_in(device_tree)), None)
    return None if named is None else f"its device tree says that it is {named}"


def _names_in(device_tree: str) -> set[str]:
    """The names under which a device tree knows the board, whole and in their parts; empty where there is none.

    A Jetson's are ``nvidia,CARRIER+MODULE``, where an ending may say that the module is set up for its Super modes.
    """
    names = {name for name in device_tree.split("\0") if name}
    return names | {part.removesuffix("-super") for name in names for part in re.split("[,+]", name)}


def _parse(text: str, *, where: str) -> Target:
    try:
        data: dict[str, Any] = tomllib.loads(text)
    # A number of thousands of digits is a ValueError of Python's own.
    except ValueError as error:
        raise TargetError(f"{where}: this is not TOML: {error}") from error
    except RecursionError as error:
        raise TargetError(f"{where}: is nested too deeply to be a target profile") from error
    return read_strictly(Target, data, where=where, error=TargetError)
