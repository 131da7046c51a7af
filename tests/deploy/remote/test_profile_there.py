"""`profile --device`, from the command line to another user's processes and back, over a real sshd."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest

pytestmark = pytest.mark.slow

SHORT = ("--processes", "2", "--seconds", "0.1")


def profile(machine, bundle, *arguments, address=None, **how):
    there = ("--device", address or machine.address(), "--wheels", machine.wheels)
    return machine.thinwave("profile", bundle, *there, *SHORT, *arguments, **how)


def test_a_bundle_is_measured_there_and_the_records_come_back(machine, bundle_folder, tmp_path):
    said = profile(machine, bundle_folder(), "--layers", "--samples", tmp_path / "samples.npz", "--json", "-")
    told = json.loads(said.stdout)
    (row,) = told["latency"]
    assert row["kind"] == "measured"
    assert row["target"] == "x86-cpu"
    assert row["p50_ms"] > 0
    assert any("conv0" in layer["name"] for layer in told["layers"]["layers"])
    with np.load(tmp_path / "samples.npz") as samples:
        assert sum(samples[name].size for name in samples.files) == row["runs"]
    # There it ran, in an environment that has no torch, and left nothing but what the next call can use.
    (environment,) = (machine.store / "environments").iterdir()
    assert not list((environment / "venv").rglob("torch"))
    assert list((environment / "venv").rglob("deploy/remote/guard.py"))
    assert not list((machine.store / "tasks").iterdir())
    assert not machine.running("python")


def test_the_next_call_copies_nothing(machine, bundle_folder):
    bundle = bundle_folder()
    profile(machine, bundle)
    machine.copied()
    profile(machine, bundle)
    assert machine.copied() == []


def test_two_models_are_measured_in_turns(machine, bundle_folder):
    said = profile(machine, bundle_folder("fast"), "--against", bundle_folder("slow", depth=4), "--json", "-")
    told = json.loads(said.stdout)
    assert told["speed_up"]["ratio"] > 1
    assert len(told["latency"]) == 2


def test_an_onnx_file_without_a_bundle_is_measured_there_too(machine, bundle_folder):
    file = bundle_folder() / "fp32.onnx"
    told = json.loads(profile(machine, file, "--against", file, "--json", "-").stdout)
    assert told["latency"][0]["kind"] == "measured"
    assert 0.5 < told["speed_up"]["ratio"] < 2


def test_a_person_sees_a_table(machine, bundle_folder):
    said = profile(machine, bundle_folder())
    assert machine.address() in said.stdout
    assert "x86-cpu: onnxruntime" in said.stdout
    assert "frames a second" in said.stdout


def start_long(machine, bundle):
    """A measurement of minutes; given when its processes over there measure."""
    child = machine.start(
        "profile", bundle, "--device", machine.address(), "--wheels", machine.wheels, "--seconds", "100"
    )
    machine.wait_until(lambda: machine.running("deploy.latency_child") or child.poll() is not None, seconds=120)
    assert child.poll() is None, child.communicate()
    return child


def nothing_is_left(machine):
    with suppress(FileNotFoundError):
        # Something just went.
        theirs = [path for path in Path("/tmp").iterdir() if path.lstat().st_uid == machine.uid]
        return not theirs and not machine.running("python") and not list((machine.store / "tasks").iterdir())
    return False


def test_a_link_that_is_cut_ends_everything_there_and_the_next_call_goes_on(machine, bundle_folder):
    bundle = bundle_folder()
    child = start_long(machine, bundle)
    (ssh,) = subprocess.run(["pgrep", "-P", str(child.pid), "ssh"], capture_output=True, check=True).stdout.split()
    os.kill(int(ssh), signal.SIGKILL)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == 2
    assert "the link was cut; try again" in stderr
    assert "Traceback" not in stderr
    machine.wait_until(lambda: nothing_is_left(machine), seconds=10)
    machine.copied()
    profile(machine, bundle)
    assert machine.copied() == []


def test_a_link_that_falls_silent_ends_everything_there(machine, bundle_folder):
    child = start_long(machine, bundle_folder())
    (ssh,) = subprocess.run(["pgrep", "-P", str(child.pid), "ssh"], capture_output=True, check=True).stdout.split()
    os.kill(int(ssh), signal.SIGSTOP)
    try:
        machine.wait_until(lambda: nothing_is_left(machine), seconds=60)
    finally:
        os.kill(int(ssh), signal.SIGKILL)
        child.communicate(timeout=30)
    assert child.returncode == 2


def test_ctrl_c_ends_everything_there(machine, bundle_folder):
    child = start_long(machine, bundle_folder())
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == 130
    assert stderr.strip().endswith("thinwave: stopped")
    machine.wait_until(lambda: nothing_is_left(machine), seconds=10)


def test_one_measurement_runs_there_at_a_time(machine, bundle_folder):
    bundle = bundle_folder()
    child = start_long(machine, bundle)
    try:
        said = profile(machine, bundle, code=2)
        assert "another measurement is running there; wait for its end" in said.stderr
        assert machine.running("deploy.latency_child")
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    machine.wait_until(lambda: nothing_is_left(machine), seconds=10)


# The one does not hold what is copied, the other holds that and not what is installed.
@pytest.mark.parametrize(("size", "told"), [("4m", "are to be copied"), ("80m", "No space left on device")])
def test_a_full_disk_there_is_told(machine, bundle_folder, size, told):
    disk = machine.home / f"disk{size}"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs leave to mount a small file system")
    try:
        said = profile(machine, bundle_folder(), address=machine.address(f"{disk}/there"), code=2)
        assert told in said.stderr
        assert "make room there, or name a folder on another disk" in said.stderr
        assert not list((disk / "there/thinwave/tasks").iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_python_that_is_too_old_is_told(machine, sshd, old_python, bundle_folder):
    port = sshd(settings=f"SetEnv PATH={old_python}:/usr/bin:/bin")
    machine.know(port)
    said = profile(machine, bundle_folder(), address=machine.address(port=port), code=2)
    assert "thinwave needs Python 3.10 or newer there, and found: 3.8.10" in said.stderr


def test_a_runtime_that_cannot_be_installed_is_told(machine, bundle_folder):
    said = profile(machine, bundle_folder(), "--runtime", "openvino", code=2)
    assert "openvino" in said.stderr
    assert f"{machine.wheels} lacks that wheel" in said.stderr


def test_a_python_that_cannot_make_environments_is_told(machine, sshd, bundle_folder):
    # As Debian's does without python3-venv: what it says goes to stdout.
    folder = machine.home / "no-venv"
    folder.mkdir()
    python = folder / "python3"
    python.write_text(
        '#!/bin/sh\n[ "$1" != -m ] && exec /usr/bin/python3 "$@"\n'
        'echo "not created because ensurepip is not available; install the python3-venv package"\nexit 1\n'
    )
    python.chmod(0o755)
    port = sshd(settings=f"SetEnv PATH={folder}:/usr/bin:/bin")
    machine.know(port)
    said = profile(machine, bundle_folder(), address=machine.address(port=port), code=2)
    assert "ensurepip is not available" in said.stderr
    assert "apt install python3-venv" in said.stderr


def test_what_is_there_for_another_call_is_not_removed_and_that_is_told(machine, bundle_folder):
    child = start_long(machine, bundle_folder())
    try:
        said = profile(machine, bundle_folder(), "--leave-nothing", code=2)
        assert f"{machine.store} was not removed: another call is at work there" in " ".join(said.stderr.split())
        assert machine.running("deploy.latency_child")
        assert list((machine.store / "bundles").iterdir())
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    machine.wait_until(lambda: nothing_is_left(machine), seconds=10)


def test_a_measurement_is_not_lost_with_its_samples(machine, bundle_folder, tmp_path):
    samples = tmp_path / "samples.npz"
    samples.write_text("of before")
    scp = machine.folder / "programs/scp"
    whole = scp.read_text()
    scp.write_text(whole.replace("exec ", 'case "$*" in *samples.npz*) kill -9 $$ ;; esac\nexec ', 1))
    try:
        said = profile(machine, bundle_folder(), "--samples", samples, "--json", "-")
    finally:
        scp.write_text(whole)
    assert json.loads(said.stdout)["latency"][0]["p50_ms"] > 0
    assert "the samples could not be fetched" in " ".join(said.stderr.split())
    assert [path.read_text() for path in tmp_path.iterdir() if path.is_file()] == ["of before"]


def test_weights_beside_an_onnx_file_are_brought_too(machine, bundle_folder, tmp_path):
    # As torch.onnx leaves them.
    file = tmp_path / "theirs.onnx"
    onnx.save(
        onnx.load(bundle_folder() / "fp32.onnx"), file, save_as_external_data=True, location="theirs.onnx.data",
        size_threshold=0,
    )  # fmt: skip
    assert file.with_name("theirs.onnx.data").exists()
    told = json.loads(profile(machine, file, "--json", "-").stdout)
    assert told["latency"][0]["kind"] == "measured"


def test_a_host_that_is_not_known_is_refused(machine, sshd, bundle_folder):
    port = sshd()
    said = profile(machine, bundle_folder(), address=machine.address(port=port), code=2)
    assert "Host key verification failed" in said.stderr
    assert f"connect once by hand, and look at its key: ssh -p {port} {machine.user}@127.0.0.1" in said.stderr


def test_a_user_without_a_key_is_told_what_to_do(machine, sshd, bundle_folder):
    port = sshd("none")
    machine.know(port)
    said = profile(machine, bundle_folder(), address=machine.address(port=port), code=2)
    assert "Permission denied" in said.stderr
    assert f"ssh-copy-id -p {port} {machine.user}@127.0.0.1" in said.stderr


def test_nobody_listening_is_told(machine, bundle_folder):
    said = profile(machine, bundle_folder(), address=machine.address(port=1), code=2)
    assert "Connection refused" in said.stderr


def test_a_target_that_is_not_that_machine_is_told(machine, bundle_folder):
    said = profile(machine, bundle_folder(), "--target", "raspberry-pi-5", code=2)
    assert f"raspberry-pi-5 is of architecture aarch64, and {machine.address()} is x86_64" in said.stderr
    assert "name its own with --target" in said.stderr


def test_what_lies_in_the_folder_that_is_named_stays(machine, bundle_folder):
    mine = machine.home / "mine"
    for name in ("tasks", "files", "environments"):
        (mine / name).mkdir(parents=True)
        (mine / name / "kept.part").write_text("the user's own")
    subprocess.run(["chown", "-R", machine.user, mine], check=True)
    profile(machine, bundle_folder(), "--leave-nothing", address=machine.address(str(mine)))
    assert sorted(path.name for path in mine.iterdir()) == ["environments", "files", "tasks"]
    assert len(list(mine.rglob("kept.part"))) == 3


def test_what_is_left_after_a_failure_is_removed_too_where_nothing_is_to_stay(machine, bundle_folder):
    folder = machine.home / "failed"
    address = machine.address(f"{folder}")
    profile(machine, bundle_folder(), "--runtime", "openvino", "--leave-nothing", address=address, code=2)
    assert list(folder.iterdir()) == []


def test_a_link_that_is_cut_while_copying_leaves_what_was_copied(machine, bundle_folder):
    folder = machine.home / "cut"
    address = machine.address(str(folder))
    # The third copy does not come through.
    count = machine.folder / "count"
    count.write_text("0")
    scp = machine.folder / "programs/scp"
    whole = scp.read_text()
    scp.write_text(
        whole.replace(
            "exec ", f"n=$(($(cat {count}) + 1)); echo $n > {count}; [ $n = 3 ] && {{ kill -9 $$; }}\nexec ", 1
        )
    )
    try:
        said = profile(machine, bundle_folder(), address=address, code=2)
    finally:
        scp.write_text(whole)
    assert "the link was cut; try again" in said.stderr
    arrived = {path.name for path in (folder / "thinwave/files").iterdir()}
    assert len(arrived) == 2
    machine.copied()
    profile(machine, bundle_folder(), address=address)
    # The rest alone, a file a copy.
    copied, there = machine.copied(), {path.name for path in (folder / "thinwave/files").iterdir()}
    assert arrived < there
    assert len(copied) == len(there) - 2
    assert not any(name in line for name in arrived for line in copied)
    profile(machine, bundle_folder(), "--leave-nothing", address=address)
    assert list(folder.iterdir()) == []


def test_a_runtime_that_is_not_installed_over_ssh_is_told(machine, bundle_folder):
    said = profile(machine, bundle_folder(), "--runtime", "onnxruntime-cuda", code=2)
    assert "onnxruntime-cuda is not installed over ssh" in said.stderr


def test_of_several_devices_one_that_fails_does_not_stop_the_others(machine, sshd, bundle_folder, tmp_path):
    # The same machine, as if another were behind this port.
    machine.know(second := sshd())
    other, nobody = machine.address(f"{machine.home}/other", port=second), machine.address(port=1)
    # Which form the file has does not hang on how many failed.
    profile(machine, bundle_folder(), "--device", nobody, "--json", tmp_path / "one.json", code=2)
    assert set(json.loads((tmp_path / "one.json").read_text())["devices"]) == {machine.address()}
    said = profile(
        machine, bundle_folder(), "--device", other, "--device", nobody, "--json", tmp_path / "all.json", code=2
    )
    assert "Connection refused" in said.stderr
    told = json.loads((tmp_path / "all.json").read_text())
    assert set(told["devices"]) == {machine.address(), other}
    assert len(told["latency"]) == 2
    profile(machine, bundle_folder(), "--leave-nothing", address=other)
    assert list((machine.home / "other").iterdir()) == []
