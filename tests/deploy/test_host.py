import getpass
import json
import os
import platform
import socket

import pytest

from deploy import host
from deploy.host import emulated


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_this_machine_is_described_as_json_without_naming_it():
    described = host.describe_host()
    text = json.dumps(described)
    assert described["machine"] in ("x86_64", "aarch64")
    assert described["cores_usable"] == len(os.sched_getaffinity(0))
    assert described["memory_bytes"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert described["python"] == platform.python_version()
    assert described["packages"]["onnxruntime"]
    words = {word.strip('",:{}[]') for word in text.split()}
    assert socket.gethostname() not in words
    assert getpass.getuser() not in words


def test_x86_processor(tmp_path):
    write(tmp_path / "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu sse2 avx avx2\n")
    write(tmp_path / "proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n")
    for index, (level, kind, size) in enumerate(((1, "Data", "32K"), (1, "Instruction", "64K"), (3, "Unified", "2M"))):
        cache = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        write(cache / "level", f"{level}\n")
        write(cache / "type", f"{kind}\n")
        write(cache / "size", f"{size}\n")
    facts = host.processor_facts(tmp_path)
    assert facts["cpu_model"] == "Some CPU @ 3 GHz"
    assert facts["vector_bits"] == 256
    assert facts["last_level_cache_bytes"] == 2 * 2**20
    assert facts["memory_bytes"] == 2048 * 1024
    assert facts["device"] is None


def test_arm_board_is_named_by_its_device_tree(tmp_path):
    core = (
        "processor\t: 0\nFeatures\t: fp asimd evtstrm\nCPU implementer\t: 0x41\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n"
    )
    write(tmp_path / "proc/cpuinfo", f"{core}\n{core}")
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    facts = host.processor_facts(tmp_path)
    assert facts["device"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert facts["vector_bits"] == 128
    assert facts["cpu_model"] == "implementer 0x41, part 0xd0b"


def test_cores_of_two_kinds_are_named_both(tmp_path):
    parts = [f"CPU implementer\t: 0x41\nCPU part\t: {part}\n" for part in ("0xd08", "0xd03", "0xd08")]
    write(tmp_path / "proc/cpuinfo", "\n".join(parts))
    assert host.processor_facts(tmp_path)["cpu_model"] == "implementer 0x41, part 0xd03; implementer 0x41, part 0xd08"


def test_unknown_is_none(tmp_path):
    facts = host.processor_facts(tmp_path)
    assert {name for name, value in facts.items() if value is not None} == {"machine", "cores"}


@pytest.mark.parametrize(("reported", "name"), [("AMD64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")])
def test_architecture_goes_by_the_kernels_name(monkeypatch, reported, name):
    monkeypatch.setattr(platform, "machine", lambda: reported)
    assert host.machine() == name


def test_package_that_is_not_installed_has_no_version():
    assert host.package_version("no-such-package-anywhere") is None


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor : 0\nvendor_id\t: AuthenticAMD\n", True),
        ("processor : 0\nCPU implementer\t: 0x41\n", False),
        ("nothing that is known", False),
    ],
)
def test_an_emulated_processor_is_known_by_what_the_kernel_tells(monkeypatch, tmp_path, cpuinfo, expected):
    monkeypatch.setattr(host, "machine", lambda: "aarch64")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert emulated(tmp_path) is expected


def test_an_emulator_that_is_named_is_known(monkeypatch):
    assert not emulated()
    monkeypatch.setenv("THINWAVE_PYTHON", "qemu-aarch64-static -L root python3")
    assert emulated()
