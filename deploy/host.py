"""What this machine is: processor, memory, system, packages. Nothing that names a machine or a person.

A fact that cannot be read is None: unknown is said as unknown.
"""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from pydantic import JsonValue

from deploy.cgroup import cpu_quota_cores
from deploy.kernel_files import ROOT, read_text
from deploy.machine_state import machine_state
from deploy.python_command import python_command

PACKAGES = ("thinwave", "numpy", "onnxruntime")

# The widest registers that a flag in /proc/cpuinfo stands for, widest first: x86 flags, then Arm features.
VECTOR_BITS = (("avx512f", 512), ("avx2", 256), ("avx", 256), ("sse2", 128), ("asimd", 128), ("neon", 128))

# Two names of one architecture, as systems and vendors write them.
MACHINE_NAMES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def describe_host(root: Path = ROOT) -> dict[str, JsonValue]:
    """Return what is known of this machine, ready for JSON: processor, system, packages, present state."""
    return {
        **processor_facts(root),
        "cores_usable": len(usable_cores()),
        "cpu_quota_cores": cpu_quota_cores(root),
        "os": _system_name(root),
        "kernel": platform.release() or None,
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        **machine_state(root),
    }


def processor_facts(root: Path = ROOT) -> dict[str, JsonValue]:
    """Return architecture, device, processor, cores, vector width in bits, last-level cache and memory in bytes."""
    cpuinfo = read_text(root / "proc/cpuinfo") or ""
    return {
        "machine": machine(),
        "device": read_text(root / "proc/device-tree/model"),
        "cpu_model": _first(r"^model name\s*:\s*(.+)$", cpuinfo) or _arm_parts(cpuinfo),
        "cores": os.cpu_count(),
        "vector_bits": _vector_bits(cpuinfo),
        "last_level_cache_bytes": _last_level_cache_bytes(root),
        "memory_bytes": _memory_bytes(root),
    }


def machine() -> str:
    """Return the architecture that this Python runs on, under the kernel's name: ``x86_64``, ``aarch64``."""
    name = platform.machine().lower()
    return MACHINE_NAMES.get(name, name)


def emulated(root: Path = ROOT) -> bool:
    """Say whether an emulator runs this process: the kernel tells of another architecture, or the emulator is named."""
    told = read_text(root / "proc/cpuinfo") or ""
    machines = {"x86_64": r"^vendor_id\s*:", "aarch64": r"^CPU implementer\s*:"}
    known = next((name for name, pattern in machines.items() if re.search(pattern, told, re.MULTILINE)), None)
    # An emulator may make up the one, and pass the other on as it is.
    kernel = (read_text(root / "proc/sys/kernel/arch") or "").strip() or None
    named = any(Path(word).name.startswith("qemu-") for word in python_command())
    return not {known, kernel} <= {None, machine()} or named


def usable_cores() -> list[int]:
    """Return the cores that the scheduler may give this process, by number."""
    return sorted(os.sched_getaffinity(0))


def package_version(name: str) -> str | None:
    """Return the installed version of a package without importing it; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, flags=re.MULTILINE)
    return found.group(1).strip() if found else None


def _arm_parts(cpuinfo: str) -> str | None:
    """How Arm's kernels name the kinds of cores: by numbers of who made them and what they are; 0x41, 0xd0b: Cortex-A76."""
    fields = ("CPU implementer", "CPU part")
    made, part = (re.findall(rf"^{field}\s*:\s*(0x[0-9a-f]+)$", cpuinfo, flags=re.MULTILINE) for field in fields)
    kinds = sorted({f"implementer {who}, part {what}" for who, what in zip(made, part, strict=False)})
    return "; ".join(kinds) or None


def _vector_bits(cpuinfo: str) -> int | None:
    flags = set((_first(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo) or "").split())
    return next((bits for flag, bits in VECTOR_BITS if flag in flags), None)


def _last_level_cache_bytes(root: Path) -> int | None:
    levels: dict[int, int] = {}
    for folder in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, size = read_text(folder / "level"), re.fullmatch(r"(\d+)([KMG]?)", read_text(folder / "size") or "")
        if level and level.isdigit() and size and read_text(folder / "type") != "Instruction":
            levels[int(level)] = int(size.group(1)) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[size.group(2)]
    return levels[max(levels)] if levels else None


def _memory_bytes(root: Path) -> int | None:
    kib = _first(r"^MemTotal:\s*(\d+) kB$", read_text(root / "proc/meminfo") or "")
    return int(kib) * 1024 if kib else None


def _system_name(root: Path) -> str | None:
    release = read_text(root / "etc/os-release") or read_text(root / "usr/lib/os-release") or ""
    name = _first(r'^PRETTY_NAME="?([^"\n]+)"?$', release)
    return name or platform.system() or None
