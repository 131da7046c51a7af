import pytest

from deploy import gpu
from deploy.doctor import measuring_here, runtimes_here
from deploy.gpu import Gpu
from deploy.runtimes import RUNTIMES, version_here


def test_every_runtime_has_its_version_or_the_way_out():
    found = {each.what: each for each in runtimes_here()}
    assert list(found) == list(RUNTIMES)
    for each in found.values():
        assert (each.found is None) != (each.problem is None)
    assert found["onnxruntime"].found == version_here("onnxruntime")


def test_what_is_missing_has_a_reason_and_a_way_out(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    found = {each.what: each for each in runtimes_here()}
    assert 'pip install "thinwave[tensorrt]"' in found["tensorrt"].problem


def test_what_can_be_measured_is_told_or_why_not():
    found = {each.what: each for each in measuring_here()}
    assert list(found) == [
        *("target", "GPU", "clock governor", "clocks", "temperature", "energy", "processor quota"),
    ]
    for name in ("target", "GPU", "clocks", "temperature", "energy"):
        assert (found[name].found is None) != (found[name].problem is None)


@pytest.mark.parametrize(
    ("state", "found", "problem"),
    [
        ({"governor": "performance"}, "performance", None),
        ({"governor": "ondemand"}, "ondemand", "clocks change while measuring; as root: cpupower"),
        ({"governor": None}, None, "the kernel does not say it"),
    ],
)
def test_governor_that_changes_clocks_is_a_problem(monkeypatch, state, found, problem):
    # The governor of this machine is what it is: three cannot be had of one.
    host = {"clocks_mhz": {"0": 1000.0, "1": 2000.4}, "temperature_c": {"cpu": 40.2}, "cpu_quota_cores": 1.5, **state}
    monkeypatch.setattr("deploy.doctor.describe_host", lambda: host)
    said = {each.what: each for each in measuring_here()}
    assert said["clock governor"].found == found
    assert (said["clock governor"].problem or "").startswith(problem or "")
    assert bool(said["clock governor"].problem) == bool(problem)
    assert (said["clocks"].found, said["temperature"].found) == (
        "1000 MHz to 2000 MHz".replace(" MHz to", " to"),
        "40 °C",
    )
    assert said["processor quota"].found == "1.5 cores"


def test_gpu_is_told_with_its_driver(monkeypatch):
    there = Gpu(name="Orin", compute_capability=(8, 7), multiprocessors=8, clock_mhz=1020.0, cuda_version="12.6")
    monkeypatch.setattr("deploy.doctor.first_gpu", lambda: there)
    (said,) = [each for each in measuring_here() if each.what == "GPU"]
    assert (said.found, said.problem) == ("Orin, CUDA 12.6", None)


def test_machine_without_a_driver_says_so(monkeypatch):
    monkeypatch.setattr(gpu, "DRIVER", "libno-such-driver.so.1")
    (said,) = [each for each in measuring_here() if each.what == "GPU"]
    assert (said.found, said.problem) == (None, "no NVIDIA driver (libno-such-driver.so.1 is not there)")
