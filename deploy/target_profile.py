"""What a target profile says: how a device is known, what it can do, how it is measured; each figure with its source.

The units are in the names. A figure that nobody knows is left out: it is never filled in with a guess that does not say
that it is one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from deploy.batches import MOST_BATCH
from deploy.names import MeasuredWith, Precision
from deploy.strict_reading import Strict

READ_HERE = "read from the machine"
Source = Literal["vendor", "computed", "measured here", "assumed", "read from the machine"]
Text = Annotated[str, StringConstraints(min_length=1)]
# No figure of a device is outside of these, in any unit that is used here: what is computed of two of them stays a number.
LEAST, MOST = 1e-6, 1e15
Amount = Annotated[float, Field(ge=LEAST, le=MOST)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Figure(Strict):
    """A number about a device and where it comes from; one that is read from the machine has no value in the file.

    ``note`` names the document, the computation, or the reason to assume it.
    """

    value: float | None = None
    source: Source
    note: Text | None = None

    @model_validator(mode="after")
    def _value_unless_read_here(self) -> Figure:
        if (self.value is None) != (self.source == READ_HERE):
            raise ValueError(f'a figure has a value, or the source "{READ_HERE}", and never both')
        if self.value is not None and self.value <= 0:
            raise ValueError(f"got {self.value:g}, expected more than 0; leave out what the device does not have")
        if self.value is not None and not LEAST <= self.value <= MOST:
            raise ValueError(f"got {self.value:g}, expected {LEAST:g} to {MOST:g}; mind the unit in the name")
        return self

    def whole(self, name: str) -> None:
        """Raise ValueError where a number of things is none."""
        if self.value is not None and self.value % 1:
            raise ValueError(f"{name} = {self.value:g}: expected a whole number")


class Identity(Strict):
    """How the device is told from others.

    ``machine`` is its architecture under the kernel's name. ``device_tree`` are names of which a board has one in
    ``/proc/device-tree/compatible`` (of a Jetson that is the part number of its module); empty means any of the architecture.
    """

    machine: Literal["x86_64", "aarch64"]
    device_tree: tuple[Text, ...] = ()


class Peaks(Strict):
    """Operations in 1e9 a second that cannot be exceeded, a multiply-accumulate being two; dense, without sparsity.

    One that is left out is not had faster than the wider type.
    """

    fp32_gflops: Figure
    fp16_gflops: Figure | None = None
    int8_gops: Figure | None = None


class Efficiency(Strict):
    """What is assumed of a device that nobody measured: an estimate is a roofline of these, and says so.

    ``call_us`` is the time of a call from host to host that has nothing to do, ``kernel_us`` that of each kernel in it, at
    the profile's clock. Of the peaks and the bandwidth small layers reach a share. The truth is believed to lie within the
    estimate divided and multiplied by ``factor``.
    """

    call_us: Figure
    kernel_us: Figure
    share_of_peak: Figure
    share_of_bandwidth: Figure
    factor: Figure

    @model_validator(mode="after")
    def _all_said(self) -> Efficiency:
        figures = {name: getattr(self, name).value for name in type(self).model_fields}
        if unsaid := [name for name, value in figures.items() if value is None]:
            raise ValueError(f"{unsaid[0]} cannot be read from a machine; say what is assumed")
        if figures["factor"] <= 1:
            raise ValueError(f"factor = {figures['factor']:g}: expected more than 1")
        for name in ("share_of_peak", "share_of_bandwidth"):
            if figures[name] > 1:
                raise ValueError(f"{name} = {figures[name]:g}: expected a part of what is reached at best, at most 1")
        return self


class Processor(Strict):
    """The processor; ``peaks`` are those of one core."""

    name: Text | None = None
    cores: Figure
    clock_mhz: Figure | None = None
    vector_bits: Figure
    last_level_cache_bytes: Figure | None = None
    peaks: Peaks | None = None
    efficiency: Efficiency | None = None

    @model_validator(mode="after")
    def _whole_cores(self) -> Processor:
        self.cores.whole("cores")
        return self


class Accelerator(Strict):
    """The GPU; ``peaks`` are those of all of it, at ``clock_mhz``."""

    name: Text
    compute_capability: str = Field(pattern=r"^\d+\.\d$")
    cores: Figure
    clock_mhz: Figure
    peaks: Peaks
    efficiency: Efficiency | None = None

    @model_validator(mode="after")
    def _whole_cores(self) -> Accelerator:
        self.cores.whole("cores")
        return self


class Memory(Strict):
    """The memory, which processor and GPU of a module share."""

    size_bytes: Figure
    gbytes_per_s: Figure | None = None


class PowerMode(Strict):
    """A mode by its name, because numbers differ by board and release; what is left out is as in the rest of the profile.

    All its figures come from one ``source``, but for the bandwidth, which is computed from the memory's clock. The first mode
    of a profile is the one that the rest of it is for.
    """

    name: Text
    source: Source
    watts: Amount | None = None
    cores: Count | None = None
    cpu_mhz: Amount | None = None
    gpu_cores: Count | None = None
    gpu_mhz: Amount | None = None
    gbytes_per_s: Amount | None = None


class JetPack(Strict):
    """A release of the system for Jetsons: what comes with it, and the runtimes that it can run, the preferred one first."""

    version: Text
    tensorrt: Text
    cuda: Text
    python: Text
    runtimes: tuple[MeasuredWith, ...]


class Measuring(Strict):
    """How the device is measured where the command line says nothing else."""

    runtime: MeasuredWith
    threads: Count
    batch: Annotated[int, Field(ge=1, le=MOST_BATCH)]
    precision: Precision


class Budget(Strict):
    """What ``thinwave prune --target`` prunes to where the command line names no budget: this many times as fast."""

    speedup: Annotated[float, Field(gt=1.0, le=1e6)]


class Target(Strict):
    """One device, or one kind of device."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    description: Text
    runtimes: tuple[MeasuredWith, ...] = Field(min_length=1)
    identity: Identity
    processor: Processor
    memory: Memory
    accelerator: Accelerator | None = None
    power_modes: tuple[PowerMode, ...] = ()
    jetpacks: tuple[JetPack, ...] = ()
    measuring: Measuring
    budget: Budget

    @model_validator(mode="after")
    def _names_that_there_are(self) -> Target:
        if self.measuring.runtime not in self.runtimes:
            raise ValueError(f"measuring.runtime {self.measuring.runtime} is not among runtimes {list(self.runtimes)}")
        if (cores := self.processor.cores.value) is not None and self.measuring.threads > cores:
            raise ValueError(f"measuring.threads = {self.measuring.threads}, and the processor has {cores:g} cores")
        for jetpack in self.jetpacks:
            if unknown := [name for name in jetpack.runtimes if name not in self.runtimes]:
                raise ValueError(f"jetpack {jetpack.version}: {unknown[0]} is not among runtimes {list(self.runtimes)}")
        modes = [mode.name for mode in self.power_modes]
        if len(set(modes)) < len(modes):
            raise ValueError(f"power_modes: a name is there twice: {', '.join(modes)}")
        return self
