"""Children end with their parent, however the parent ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.latency_child import PARENT_GONE

# Far longer than it takes: what is tested is that it happens at all.
PATIENCE_S = 60.0

PARENT = """
import sys
from pathlib import Path
import numpy as np
from deploy.latency import measure

def tell(done, total, note=""):
    print(note, flush=True)

frames = np.zeros((1, 2, 32), dtype=np.float32)
measure({"model": Path(sys.argv[1])}, frames=frames, seconds=100.0, warmup_s=0.02, progress=tell)
"""


def request_for(model: Path, folder: Path, *, seconds: float, limit_s: float) -> dict:
    return {
        "models": [["m", str(model)]],
        "runtime": "onnxruntime",
        "threads": 1,
        "batch": 1,
        "frames": str(folder / "frames.npy"),
        "samples": [str(folder / "samples.npy")],
        "seconds": seconds,
        "least_runs": 1,
        "limit_s": limit_s,
        "warmup_s": 0.01,
        "warmup_limit_s": 0.1,
    }


def is_running(process: int) -> bool:
    try:
        _, fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)
    except OSError:
        return False
    return fields.split()[0] != "Z"


def wait_until_gone(process: int) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while is_running(process):
        if time.monotonic() > give_up:
            os.kill(process, signal.SIGKILL)
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def parent(mean_model, tmp_path, children_of):
    """Start a process that measures for long; give it and its child, which is timing."""
    model = mean_model(depth=1)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", PARENT, str(model)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            for line in process.stdout:
                if line.strip() == "timing":
                    break
            (child,) = children_of(process.pid)
            yield process, child
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_child_is_gone_after_its_parent(parent, how):
    process, child = parent
    assert is_running(child)
    process.send_signal(how)
    process.wait()
    assert wait_until_gone(child)


def test_child_is_in_a_session_of_its_own_so_that_ctrl_c_is_the_parents(parent):
    process, child = parent
    assert os.getsid(child) == child != os.getsid(process.pid)


def test_child_goes_when_stdin_ends_even_while_somebody_still_reads(mean_model, tmp_path):
    import numpy as np

    np.save(tmp_path / "frames.npy", np.zeros((1, 2, 32), dtype=np.float32))
    request = request_for(mean_model(depth=1), tmp_path, seconds=100.0, limit_s=120.0)
    command = [sys.executable, "-m", "deploy.latency_child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            while json.loads(child.stdout.readline()) != {"stage": "timing"}:
                pass
            child.stdin.close()
            assert child.wait(PATIENCE_S) == PARENT_GONE
        finally:
            child.kill()
    assert not (tmp_path / "samples.npy").exists()


def test_child_without_a_request_ends_with_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "deploy.latency_child"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().startswith("the request ended before its line did")


def test_child_is_pinned_and_has_none_of_the_toolchains_libraries(mean_model, tmp_path):
    import numpy as np

    np.save(tmp_path / "frames.npy", np.zeros((1, 2, 32), dtype=np.float32))
    code = """
import json, os, sys
from deploy.latency_child import Request, measure_here
result = measure_here(Request(**json.loads(sys.argv[1])), os.open(os.devnull, os.O_WRONLY))
wrong = {"torch", "onnx", "scipy", "toolchain"} & set(sys.modules)
print(json.dumps({"wrong": sorted(wrong), "pinned": sorted(os.sched_getaffinity(0)), **result}))
"""
    request = request_for(mean_model(depth=1), tmp_path, seconds=0.01, limit_s=1.0)
    done = subprocess.run([sys.executable, "-c", code, json.dumps(request)], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["wrong"] == []
    assert said["pinned"] == said["affinity"]
    assert len(said["affinity"]) == 1
    assert np.load(tmp_path / "samples.npy").dtype == np.int64
