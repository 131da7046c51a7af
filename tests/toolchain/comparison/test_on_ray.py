"""A real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from toolchain.compared import read_compared
from toolchain.models import load_model

pytestmark = pytest.mark.slow
PORT = 26379
# A cluster is closed to who has not its token; this one is known to the test alone.
ENVIRONMENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    # Workers that give way to all else would hardly come to run beside other tests.
    "RAY_worker_niceness": "0",
}


def ray(*arguments):
    command = [sys.executable, "-m", "ray.scripts.scripts", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)


def until(there, seconds=90):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture
def cluster(tmp_path):
    """The address of a head with no cores of its own and two nodes of one each, and the processes of these two."""
    address = f"127.0.0.1:{PORT}"
    nodes = []
    head = subprocess.Popen(
        [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={PORT}", "--num-cpus=0", "--block",
            "--include-dashboard=false", "--disable-usage-stats",
        ],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: not ray("status", f"--address={address}").returncode)
        for number in (1, 2):
            # One after the other: two that look for free ports at once may find the same.
            nodes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--num-cpus=1", "--block"],
                    env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                )
            )  # fmt: skip
            until(lambda wanted=f"/{number}.0 CPU": wanted in ray("status", f"--address={address}").stdout)
        yield address, nodes
    finally:
        for process in (*nodes, head):
            # All that a node started is in its session.
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
            process.wait()


def test_every_cell_ends_and_none_twice_when_a_node_is_killed_in_the_middle(cluster, changed, tmp_path):
    address, nodes = cluster
    recipe = changed(("[finetune]\nsteps = 8", "[finetune]\nsteps = 60"), ("seeds = [1]", "seeds = [1, 2]"))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "toolchain.cli", "compare", recipe, "--out", out, "--ray", address],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not any(Path(out, "models").glob("*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # In the middle of fine-tuning: one cell is done, and the others are not.
    assert subprocess.run(["pkill", "-KILL", "-s", str(nodes[0].pid)], check=False).returncode == 0
    done = len(list(Path(out, "models").glob("*")))
    assert done < 8
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    compared = read_compared(out)
    places = [(cell.method, cell.seed) for cell in compared.cells]
    assert sorted(places) == sorted((name, seed) for name in ("layers", "l1", "sfp", "scratch") for seed in (1, 2))
    assert compared.missing == ()
    assert all(cell.failed is None and cell.judged and cell.latency for cell in compared.cells)
    # Measured here, wherever they were trained.
    assert len({cell.latency[0].host for cell in compared.cells}) == 1


def test_cores_here_are_used_whatever_cluster_was_heard_of_last(changed, tmp_path):
    recipe = changed(('["layers", "l1", "sfp", "scratch"]', '["layers"]'))
    done = subprocess.run(
        [sys.executable, "-m", "toolchain.cli", "compare", recipe, "--out", tmp_path / "out", "--ray", "local"],
        env={**ENVIRONMENT, "RAY_ADDRESS": "127.0.0.1:1"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_half_trained_on_cores_here_is_taken_up(changed, tmp_path):
    recipe = changed(('["layers", "l1", "sfp", "scratch"]', '["layers"]'), ("steps = 12", "steps = 240"))
    command = [sys.executable, "-m", "toolchain.cli", "compare", recipe, "--out", tmp_path / "out", "--ray", "local"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (found := list(Path(tmp_path, "out", ".thinwave", "work").glob("*/checkpoint.pt"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    process.communicate()
    # What it has learnt so far is told from what it would learn again.
    (checkpoint,) = found
    reached = torch.load(checkpoint, weights_only=True)
    reached["epochs"][0]["loss"] = 77.0
    torch.save(reached, checkpoint)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (original,) = Path(tmp_path, "out", "originals").iterdir()
    assert load_model(original)[1].training["epochs"][0]["loss"] == 77.0
    assert not Path(tmp_path, "out", ".thinwave", "work").exists()


def test_a_cluster_that_does_not_answer_is_told(refused, recipe_file, tmp_path):
    said = refused("compare", recipe_file, "--out", tmp_path / "out", "--ray", "127.0.0.1:1")
    assert "no Ray cluster answers there: Connection refused" in said
    assert "--ray local" in said
    said = refused("compare", recipe_file, "--out", tmp_path / "out", "--ray", "somewhere")
    assert "expected HOST:PORT" in said
