"""Target profiles: what is known of a device, each figure with where it comes from, and how it is measured.

A profile is a TOML file, in ``targets/`` or anywhere. It is read strictly; all that is wrong with it is told at once.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, PositiveInt, model_validator

from deploy.batches import MOST_BATCH
from deploy.errors import TargetError
from deploy.host import machine, processor_facts
from deploy.names import Precision, RuntimeName
from deploy.regular_file import read_whole
from deploy.strict_reading import Strict, read_strictly
from deploy.suggestion import did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

READ_HERE = "read from the machine"
# One has a few KiB.
MOST_PROFILE_BYTES = 1 << 20


class Figure(Strict):
    """A number about a device and where it comes from; one that is read from the machine has no value in the file."""

    value: float | None = None
    source: Literal["vendor", "computed", "measured here", "assumed", "read from the machine"]

    @model_validator(mode="after")
    def _value_unless_read_here(self) -> Figure:
        if (self.value is None) != (self.source == READ_HERE):
            raise ValueError(f'a figure has a value, or the source "{READ_HERE}", and never both')
        return self


class Identity(Strict):
    """How the device is told from others: ``machine`` is its architecture under the kernel's name."""

    machine: Literal["x86_64", "aarch64"]


class Processor(Strict):
    """The figures of the processor; units in the names."""

    cores: Figure
    vector_bits: Figure
    last_level_cache_bytes: Figure
    memory_bytes: Figure


class Measuring(Strict):
    """How the device is measured where the command line says nothing else."""

    runtime: RuntimeName
    threads: PositiveInt
    batch: Annotated[int, Field(ge=1, le=MOST_BATCH)]
    precision: Precision


class Target(Strict):
    """One device, or one kind of device."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    description: str = Field(min_length=1)
    identity: Identity
    processor: Processor
    runtimes: tuple[RuntimeName, ...] = Field(min_length=1)
    measuring: Measuring

    @model_validator(mode="after")
    def _measured_with_one_of_its_runtimes(self) -> Target:
        if self.measuring.runtime not in self.runtimes:
            raise ValueError(f"measuring.runtime {self.measuring.runtime} is not among runtimes {list(self.runtimes)}")
        return self


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
            f'no target profile is named "{text}"{did_you_mean(text, profiles)}; there are: {", ".join(profiles)}; '
            "a profile of your own is given by its path, ending in .toml"
        )
    return profiles[text]


def list_targets() -> list[Target]:
    """Return the profiles that come with thinwave, by name."""
    files = [file for file in resources.files("targets").iterdir() if file.name.endswith(".toml")]
    profiles = [_parse(file.read_text(encoding="utf-8"), where=f"targets/{file.name}") for file in files]
    return sorted(profiles, key=lambda target: target.name)


def is_here(target: Target) -> bool:
    """Say whether this machine is one that the profile describes."""
    return target.identity.machine == machine()


def check_is_here(target: Target) -> None:
    """Raise TargetError where this machine is not one that the profile describes."""
    if not is_here(target):
        raise TargetError(
            f"target {target.name} is of architecture {target.identity.machine}, and this machine is {machine()}; "
            "run the command on the device itself"
        )


def this_machine() -> Target:
    """Return the first profile that describes this machine; raises TargetError where there is none."""
    profiles = list_targets()
    for target in profiles:
        if is_here(target):
            return target
    names = ", ".join(target.name for target in profiles)
    raise TargetError(
        f"no target profile is for architecture {machine()} (there are: {names}); write one and give its path"
    )


def figures_here(target: Target) -> dict[str, JsonValue]:
    """Return the processor's figures by name, those read from the machine read from this one; None where unknown."""
    facts = processor_facts()
    figures = {name: getattr(target.processor, name) for name in Processor.model_fields}
    return {name: facts[name] if figure.source == READ_HERE else figure.value for name, figure in figures.items()}


def _parse(text: str, *, where: str) -> Target:
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{where}: this is not TOML: {error}") from error
    except RecursionError as error:
        raise TargetError(f"{where}: is nested too deeply to be a target profile") from error
    return read_strictly(Target, data, where=where, error=TargetError)
