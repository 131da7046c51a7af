"""Children end with their parent, however the parent ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deploy.latency_child import PARENT_GONE, Opened, Request, _on_device_ms
from deploy.runtimes.onnxruntime import OnnxRuntime

# Far longer than it takes: what is tested is that it happens at all.
PATIENCE_S = 60.0

PARENT = """
import sys
from pathlib import Path
import numpy as np
from deploy.latency import Model, measure

def tell(done, total, note=""):
    print(note, flush=True)

frames = np.zeros((1, 2, 32), dtype=np.float32)
measure({"model": Model(path=Path(sys.argv[1]))}, frames=frames, seconds=100.0, warmup_s=0.02, progress=tell)
"""


def request_for(
    model: Path, folder: Path, *, seconds: float, limit_s: float, runtime: str = "onnxruntime", **more
) -> dict:
    return {
        "models": [{"name": "m", "path": str(model), "precision": None, "runtime": runtime}],
        "what": "times",
        "threads": 1,
        "batch": 1,
        "frames": str(folder / "frames.npy"),
        "samples": [str(folder / "samples.npy")],
        "seconds": seconds,
        "least_runs": 1,
        "limit_s": limit_s,
        "warmup_s": 0.01,
        "warmup_limit_s": 0.1,
        **more,
    }


@pytest.fixture
def saved_frames(tmp_path):
    np.save(tmp_path / "frames.npy", np.zeros((2, 2, 32), dtype=np.float32))
    return tmp_path


def asked(request: dict) -> dict:
    """Serve one request in a process of its own, and return its result."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE, json.dumps(request)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# As the child does, but for the end of stdin, which is the parent's here.
SERVE = """
import json, os, sys
from deploy.latency_child import ALONE, Request, measure_here
request = Request.from_line(sys.argv[1].encode())
what = ALONE.get(request.what)
result = what(request) if what else measure_here(request, os.open(os.devnull, os.O_WRONLY))
wrong = {"torch", "onnx", "scipy", "toolchain"} & set(sys.modules)
print(json.dumps({"wrong": sorted(wrong), "pinned": sorted(os.sched_getaffinity(0)), **result}))
"""


class InItsMemory(OnnxRuntime):
    """The processor as a device whose memory is not the host's."""

    def _on_device(self, frames):
        return self._bound_to(frames, "cpu")


def test_runs_on_the_device_alone_are_timed_where_it_is_not_the_host(mean_model, saved_frames):
    path = mean_model()
    request = Request.from_line(json.dumps(request_for(path, saved_frames, seconds=0.05, limit_s=1)).encode())
    batches = [np.zeros((1, 2, 32), dtype=np.float32)]
    with OnnxRuntime(path) as host, InItsMemory(path) as device:
        assert _on_device_ms(host, batches, request) is None
        assert 0 < _on_device_ms(device, batches, request) < 50


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


def test_child_goes_when_stdin_ends_even_while_somebody_still_reads(mean_model, saved_frames, tmp_path):
    request = request_for(mean_model(depth=1), saved_frames, seconds=100.0, limit_s=120.0)
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
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["error"].startswith("the request ended before its line did")


@pytest.mark.parametrize("what", ["times", "footprint", "layers"])
def test_child_is_pinned_and_has_none_of_the_toolchains_libraries(mean_model, saved_frames, what):
    request = request_for(mean_model(depth=1), saved_frames, seconds=0.01, limit_s=1.0, what=what)
    said = asked(request)
    assert said["wrong"] == []
    assert len(said["pinned"]) == 1
    if what == "times":
        assert said["pinned"] == said["affinity"]
        assert np.load(saved_frames / "samples.npy").dtype == np.int64


def test_memory_is_what_the_model_takes_above_the_runtime(mean_model, saved_frames):
    # 32 MiB of weights; ONNX Runtime alone takes more than that.
    heavy = mean_model("heavy.onnx", head=np.ones((2, 4 << 20), dtype=np.float32))
    small = mean_model("small.onnx")
    taken = [
        asked(request_for(path, saved_frames, seconds=0.01, limit_s=1.0, what="footprint"))["memory_bytes"]
        for path in (small, heavy)
    ]
    assert 0 <= taken[0] < 32 << 20 <= taken[1]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_layers_are_told_with_what_the_core_can_do(mean_model, tmp_path, runtime):
    # Long frames: OpenVINO tells whole microseconds, and nothing of a layer that takes less than one.
    np.save(tmp_path / "frames.npy", np.zeros((1, 2, 16384), dtype=np.float32))
    model = mean_model(depth=2, length=16384)
    request = request_for(model, tmp_path, seconds=0.01, limit_s=1.0, what="layers", least_runs=3, runtime=runtime)
    said = asked(request)
    assert said["precision"] == "fp32"
    assert said["runtime_version"]
    assert {"conv0", "conv1"} <= {name for layer in said["layers"] for name in layer["covers"]}
    assert all(layer["p50_ms"] >= 0 for layer in said["layers"])
    assert all(value > 0 for value in said["peaks"].values())


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"length": 48}, (48, None, 3)),
        ({"length": 48, "batch": 5}, (48, 5, 3)),
        # Of no length nothing can be run.
        ({"length": "length"}, (None, None, None)),
    ],
)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_frames_that_a_model_takes_are_told_without_any_of_them(mean_model, tmp_path, runtime, shape, said):
    request = request_for(
        mean_model(**shape), tmp_path, seconds=0.0, limit_s=1.0, what="frames", batch=7, runtime=runtime
    )
    found = asked(request)
    assert (found["length"], found["batch"], found["classes"]) == said


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_logits_of_all_frames_are_left_beside_them(mean_model, steady_frames, tmp_path, runtime):
    # 64, 64 and 1, whatever batch was asked for.
    points = [(1, 0)] * 64 + [(0, 1)] * 64 + [(-1, 0)]
    np.save(tmp_path / "frames.npy", steady_frames(points))
    request = request_for(
        mean_model(depth=1), tmp_path, seconds=0.0, limit_s=1.0, what="logits", batch=5, runtime=runtime
    )
    said = asked(request)
    assert (said["precision"], len(said["pinned"])) == ("fp32", 1)
    assert said["runtime_version"]
    logits = np.load(tmp_path / "samples.npy", allow_pickle=False)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [(a, 2 * b, b - a) for a, b in points], atol=1e-5)


def test_request_reads_back_as_it_was_written():
    request = Request(
        models=(Opened(name="a", path="/a.onnx", precision="int8", runtime="openvino"),),
        what="layers",
        threads=2,
        batch=3,
        frames="f.npy",
        samples=("s.npy",),
        seconds=1.5,
        least_runs=7,
        limit_s=9.0,
        warmup_s=0.5,
        warmup_limit_s=2.0,
    )
    line = request.to_line()
    assert line.endswith(b"\n")
    read = Request.from_line(line)
    assert (read.models, read.what, read.seconds) == (request.models, "layers", 1.5)
    assert read.to_line() == line
