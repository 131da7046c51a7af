"""What the process on the device tells the other side, line by line."""

import json
import subprocess
import sys

import pytest

from deploy.remote.device_side import REQUEST, Request, Settings

# The process itself, with another measurement.
WITH = (
    "import logging, sys; from deploy.remote import device_side\n"
    "def measure_here(request, folder, progress):\n    {}\n"
    "device_side.measure_here = measure_here\n"
    "sys.exit(device_side.main())"
)


def served(folder, measurement):
    request = Request(subject="m", against=None, target={}, with_samples=False, settings=Settings())
    (folder / REQUEST).write_text(request.to_json())
    said = subprocess.run(
        [sys.executable, "-c", WITH.format(measurement), folder], capture_output=True, text=True, check=False
    )
    return said.returncode, [json.loads(line) for line in said.stdout.splitlines()]


def test_what_a_library_prints_is_no_part_of_what_it_tells(tmp_path):
    code, told = served(tmp_path, "print('hello'); progress(1, 2, 'half'); return {'p50_ms': 1.0}")
    assert code == 0
    assert told == [{"progress": [1, 2, "half"]}, {"result": {"p50_ms": 1.0}}]


def test_a_warning_is_told(tmp_path):
    warn = "logging.getLogger('deploy.power_mode').warning('mode %s was not set again', '15W'); return {}"
    code, told = served(tmp_path, warn)
    assert code == 0
    assert told == [{"warning": "mode 15W was not set again"}, {"result": {}}]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("raise PermissionError(13, 'Permission denied', '/etc/x')", "Permission denied"),
        ("raise MemoryError", "MemoryError"),
        ("from deploy.errors import BundleError; raise BundleError('it is broken')", "it is broken"),
    ],
)
def test_an_error_is_told_in_a_sentence(tmp_path, failure, error):
    code, told = served(tmp_path, failure)
    assert code == 2
    assert error in told[-1]["error"]
    assert "disk" not in told[-1]["error"]


def test_a_full_disk_is_told_with_the_way_out(tmp_path):
    # As numpy says it, whose error has no number.
    full = (
        "import shutil, collections; Usage = collections.namedtuple('Usage', 'free')\n"
        "    shutil.disk_usage = lambda place: Usage(4096)\n"
        "    raise OSError('64 requested and 0 written')"
    )
    code, told = served(tmp_path, full)
    assert code == 2
    assert "64 requested and 0 written (the disk is full); make room there" in told[-1]["error"]
