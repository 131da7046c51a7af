"""The statistics are tested on children that answer with known samples; the real child on tiny ONNX models."""

import json
import math
import os
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from deploy.errors import MeasurementError
from deploy.latency import Model, measure, ratio_between

QUICK = {"processes": 2, "seconds": 0.02, "least_runs": 16, "warmup_s": 0.02, "warmup_limit_s": 0.5}


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(size=(4, 2, 32)).astype(np.float32)


@pytest.fixture
def models(mean_model):
    return {
        "original": Model(path=mean_model("original.onnx", depth=60), precision="fp32"),
        "pruned": Model(path=mean_model("pruned.onnx", depth=1)),
    }


@pytest.fixture
def stand_in(tmp_path):
    """Make the command of a child that runs ``code`` with ``request`` and ``answer(result)`` at hand."""

    def make(code):
        script = tmp_path / "child.py"
        head = """
            import json, os, sys
            import numpy as np
            request = json.loads(sys.stdin.buffer.readline())
            names, number = [model["name"] for model in request["models"]], 0
            def answer(**changes):
                result = {
                    "runtime_version": dict.fromkeys(names, "9.9"), "precision": dict.fromkeys(names, "fp32"),
                    "on_device_ms": {name: 0.4 + number if name == "pruned" else None for name in names},
                    "steady": dict.fromkeys(names, True), "affinity": [0],
                }
                print(json.dumps({"result": {**result, **changes}}), flush=True)
            if request["what"] == "footprint":
                said = {"memory_bytes": 2**20 * len(request["models"][0]["path"]), "energy_joules": None}
                print(json.dumps({"result": said}))
                sys.exit()
        """
        script.write_text(textwrap.dedent(head) + textwrap.dedent(code))
        return (sys.executable, str(script))

    return make


KNOWN = """
    # Which process this is: a file that each adds a line to.
    count = request["models"][0]["path"] + ".count"
    place = request["models"][names.index("original")]["path"] + ".count" if "original" in names else count
    with open(place, "a+") as file:
        file.seek(0)
        number = len(file.readlines())
        file.write(json.dumps({"names": names, "threads": os.environ["OMP_NUM_THREADS"], **request}) + "\\n")
    for name, path in zip(names, request["samples"]):
        scale = {"original": 3_000_000, "pruned": 1_000_000}[name]
        factor = 1.0 + 0.1 * number * (name == "original")
        np.save(path, (np.array([1, 1, 1, 1, 5]) * scale * factor).astype(np.int64))
    answer()
"""


def test_figures_come_from_processes_as_the_protocol_says(models, frames, stand_in):
    measurement = measure(models, frames=frames, processes=4, child_command=stand_in(KNOWN))
    medians_ms = [3.0, 3.3, 3.6, 3.9]
    logs = np.log(medians_ms)
    low, high = stats.t.interval(0.95, 3, loc=logs.mean(), scale=stats.sem(logs))
    record = measurement.models["original"].record
    assert record.p50_ms == pytest.approx(stats.gmean(medians_ms))
    assert record.conditions["p50_interval_ms"] == pytest.approx([math.exp(low), math.exp(high)])
    assert record.conditions["p50_by_process_ms"] == pytest.approx(medians_ms)
    assert record.conditions["on_device_p50_ms"] is None
    pruned = measurement.models["pruned"].record.conditions
    assert pruned["on_device_p50_ms"] == pytest.approx(stats.gmean([0.4, 1.4, 2.4, 3.4]))
    pooled = np.concatenate([np.array([1, 1, 1, 1, 5]) * median for median in medians_ms])
    assert (record.p90_ms, record.p95_ms, record.p99_ms) == pytest.approx(tuple(np.percentile(pooled, [90, 95, 99])))
    assert record.max_ms == pytest.approx(5 * 3.9)
    assert record.runs == 20
    # pruned is 1 ms in every process: its ratio's spread is that of the original.
    ratio = measurement.ratio
    assert (ratio.ratio, ratio.low, ratio.high) == pytest.approx(
        (stats.gmean(medians_ms), math.exp(low), math.exp(high))
    )
    assert ratio.ratio == pytest.approx(record.p50_ms / measurement.models["pruned"].record.p50_ms)


def test_every_other_process_opens_the_models_the_other_way_round(models, frames, stand_in):
    measure(models, frames=frames, processes=4, threads=1, child_command=stand_in(KNOWN))
    counted = models["original"].path.with_name("original.onnx.count")
    seen = [json.loads(line) for line in counted.read_text().splitlines()]
    assert [request["names"] for request in seen] == [["original", "pruned"], ["pruned", "original"]] * 2
    assert {request["threads"] for request in seen} == {1}
    assert {len(request["samples"]) for request in seen} == {2}


def test_protocol_is_handed_to_the_child(models, frames, stand_in):
    measure({"pruned": models["pruned"]}, frames=frames, processes=2, child_command=stand_in(KNOWN))
    request = json.loads(models["pruned"].path.with_name("pruned.onnx.count").read_text().splitlines()[0])
    wanted = {"seconds": 3.0, "least_runs": 1024, "limit_s": 120.0, "warmup_s": 0.5, "warmup_limit_s": 10.0}
    assert {name: request[name] for name in wanted} == wanted
    assert request["models"] == [
        {"name": "pruned", "path": str(models["pruned"].path), "precision": None, "runtime": "onnxruntime"}
    ]


def test_memory_is_asked_of_a_process_a_model_after_the_times(models, frames, stand_in):
    told = []
    measurement = measure(
        models,
        frames=frames,
        processes=2,
        child_command=stand_in(KNOWN),
        progress=lambda done, total, note="": told.append((done, total, note)),
    )
    after_the_times = [(2, 4, "memory of original"), (3, 4, ""), (3, 4, "memory of pruned"), (4, 4, "")]
    assert told == [(1, 4, ""), (2, 4, ""), *after_the_times]
    for name, model in measurement.models.items():
        assert model.record.conditions["memory_bytes"] == 2**20 * len(str(models[name].path))
        assert model.record.conditions["energy_joules_per_run"] is None


def test_record_says_what_the_file_was_written_in(models, frames, stand_in):
    measurement = measure(models, frames=frames, processes=2, child_command=stand_in(KNOWN))
    written = {name: model.record.conditions["file_precision"] for name, model in measurement.models.items()}
    assert written == {"original": "fp32", "pruned": None}


def test_models_may_be_in_different_runtimes(frames, mean_model):
    path = mean_model(depth=1)
    measurement = measure(
        {"a": Model(path=path), "b": Model(path=path, runtime="openvino")}, frames=frames, batch=2, **QUICK
    )
    assert [model.record.runtime for model in measurement.models.values()] == ["onnxruntime", "openvino"]
    assert {model.record.precision for model in measurement.models.values()} == {"fp32"}
    versions = {model.record.runtime_version for model in measurement.models.values()}
    assert len(versions) == 2


def test_libraries_of_the_child_are_held_to_the_threads(models, frames, stand_in):
    code = 'assert {os.environ[n] for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}\n'
    measure(
        {"pruned": models["pruned"]},
        frames=frames,
        processes=2,
        threads=1,
        child_command=stand_in(code + textwrap.dedent(KNOWN)),
    )


def test_model_that_does_not_settle_is_told_in_the_record(models, frames, stand_in, caplog):
    code = textwrap.dedent(KNOWN).replace("answer()", 'answer(steady={"original": number != 1, "pruned": True})')
    measurement = measure(models, frames=frames, processes=3, child_command=stand_in(code))
    conditions = measurement.models["original"].record.conditions
    assert (conditions["stable"], conditions["unstable_processes"]) == (False, 1)
    assert measurement.models["pruned"].record.conditions["stable"] is True
    # Three that time, and one each for the memory of the two models.
    assert "process 2 of 5: original did not become steady" in caplog.text


def test_two_real_models_are_compared(models, frames, tmp_path):
    told = []
    measurement = measure(
        models,
        frames=frames,
        target="x86-cpu",
        samples_path=tmp_path / "samples.npz",
        progress=lambda done, total, note="": told.append((done, total, note)),
        **QUICK,
    )
    # Sixty convolutions against one: no clock is so bad as to turn this round.
    assert measurement.ratio.ratio > 1.0
    assert list(measurement.models) == ["original", "pruned"]
    for name, model in measurement.models.items():
        record = model.record
        assert (record.target, record.runtime, record.kind) == ("x86-cpu", "onnxruntime", "measured")
        assert (record.batch, record.threads, record.precision) == (1, 1, "fp32")
        assert [len(times_ns) >= 16 for times_ns in model.samples_ns] == [True, True]
        assert record.runs == sum(map(len, model.samples_ns))
        assert 0 < record.p90_ms <= record.p95_ms <= record.p99_ms <= record.max_ms
        assert record.max_ms == max(times_ns.max() for times_ns in model.samples_ns) / 1e6
        assert record.conditions["processes"] == 2
        assert set(record.conditions["affinity"]) <= os.sched_getaffinity(0)
        assert len(record.conditions["model_sha256"]) == 64
        # A model of a few hundred bytes takes some pages, and no process takes a gigabyte for it.
        assert 0 <= record.conditions["memory_bytes"] < 2**30
        json.dumps(record.to_json(), allow_nan=False)
        with np.load(tmp_path / "samples.npz") as kept:
            for number, times_ns in enumerate(model.samples_ns):
                np.testing.assert_array_equal(kept[f"{name}.process{number}"], times_ns)
    # Two processes, and one each for the memory of the two models.
    assert (1, 4, "") in told
    assert told[-1] == (4, 4, "")
    assert {"warming up original", "warming up pruned", "timing"} <= {note for _, _, note in told}
    assert Counter(note for _, _, note in told)["timing"] == 2


def test_one_real_model_has_no_ratio(models, frames):
    measurement = measure({"pruned": models["pruned"]}, frames=frames, batch=2, **QUICK)
    assert measurement.ratio is None
    record = measurement.models["pruned"].record
    assert record.batch == 2
    assert record.conditions["in_turns_with"] is None


def test_precision_is_the_one_executed(int8_model, mean_model, frames):
    models = {"fp32": Model(path=mean_model(depth=1)), "int8": Model(path=int8_model)}
    measurement = measure(models, frames=frames, **QUICK)
    assert {name: model.record.precision for name, model in measurement.models.items()} == {
        "fp32": "fp32",
        "int8": "int8",
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 puts the working directory first, always")
def test_working_directory_does_not_come_before_the_installed_packages(models, frames, tmp_path, monkeypatch):
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/__init__.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(tmp_path)
    assert measure({"pruned": models["pruned"]}, frames=frames, **QUICK).models


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": 0}, "0 threads were asked for"),
        ({"threads": 100_000}, "100000 threads were asked for; this process may use"),
        ({"processes": 1}, "got 1 processes; an interval over processes needs at least 2"),
        ({"seconds": 0.0}, "got 0.0 seconds"),
        ({"seconds": 121.0}, "at most 120"),
        ({"seconds": math.nan}, "got nan seconds"),
        ({"batch": 5}, "batch 5; expected float32"),
        ({"batch": 0}, "batch 0; expected float32"),
        ({"frames": np.zeros((4, 2, 32))}, r"got frames float64 \(4, 2, 32\)"),
        ({"child_command": ("no-such-command",)}, "the command that starts it was not found: no-such-command"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_child_starts(models, frames, change, message):
    with pytest.raises(MeasurementError, match=message):
        measure(models, **{"frames": frames, **change})


def test_no_model_cannot_be_measured(frames):
    with pytest.raises(MeasurementError, match="there is no model to measure"):
        measure({}, frames=frames)


def test_several_models_are_timed_in_turns_in_the_same_processes(models, frames):
    three = {**models, "third": models["pruned"]}
    measured = measure(three, frames=frames, **QUICK, footprints=False)
    assert list(measured.models) == ["original", "pruned", "third"]
    # Of two there is one ratio; of more, that of any two.
    assert measured.ratio is None
    ratio = ratio_between(measured.models["original"], measured.models["third"])
    p50_ms = {name: model.record.p50_ms for name, model in measured.models.items()}
    assert ratio.ratio == pytest.approx(p50_ms["original"] / p50_ms["third"])
    assert ratio.low <= ratio.ratio <= ratio.high
    for name, model in measured.models.items():
        assert len(model.samples_ns) == QUICK["processes"]
        assert model.record.conditions["in_turns_with"] == [other for other in three if other != name]
        # What was not asked for is not known.
        assert model.record.conditions["memory_bytes"] is None


def test_model_that_is_not_there_is_named(frames, tmp_path):
    with pytest.raises(MeasurementError, match=r"none\.onnx: the model cannot be read: No such file"):
        measure({"a": Model(path=tmp_path / "none.onnx")}, frames=frames)


def test_file_that_is_no_model_is_told_by_the_child(frames, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(MeasurementError, match=r"^\S*bad\.onnx: onnxruntime cannot open"):
        measure({"a": Model(path=tmp_path / "bad.onnx")}, frames=frames, **QUICK)


def test_frames_that_do_not_fit_the_model_are_told_by_the_child(models):
    with pytest.raises(MeasurementError, match=r"got frames float32 \(1, 2, 31\), expected float32 \(batch, 2, 32\)"):
        measure({"a": models["pruned"]}, frames=np.zeros((1, 2, 31), dtype=np.float32), **QUICK)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('first', file=sys.stderr); sys.exit('boom, the last line')", "exit code 1 .*: boom, the last line"),
        ("os.kill(os.getpid(), 9)", r"ended by signal 9 \(SIGKILL\), .*memory.*: it said nothing"),
        (
            "print('at a loss', file=sys.stderr, flush=True); os.kill(os.getpid(), 11)",
            r"process 1 of .* was ended by signal 11 \(SIGSEGV\), the runtime .* could not bear this model: at a loss",
        ),
        ("os.kill(os.getpid(), 40)", r"was ended by signal 40 \(unknown\)"),
        ("raise ValueError('a bug')", "ValueError: a bug"),
        ("pass", "exit code 0 and without a result: it said nothing"),
        ("print('hello')", "without a result: hello"),
        ("print('hello'); answer()", "without a result: hello"),
        ("print('[1]')", r"without a result: \[1\]"),
        ("os.write(1, bytes([255, 254, 10]))", "without a result"),
        ("answer()", "left samples that cannot be read: .*No such file"),
        ("open(request['samples'][0], 'wb').write(b'x'); answer()", "left samples that cannot be read"),
        ("np.save(request['samples'][0], np.array([1])); answer(more=1)", "left samples that cannot be read: .*more"),
    ],
)
def test_child_that_fails_or_says_something_else_is_told(models, frames, stand_in, code, message):
    with pytest.raises(MeasurementError, match=message):
        measure({"pruned": models["pruned"]}, frames=frames, child_command=stand_in(code))


def test_child_that_does_not_read_is_told(models, frames, tmp_path):
    script = tmp_path / "deaf.py"
    script.write_text("import os, sys; os.close(0); sys.exit('deaf')")
    with pytest.raises(MeasurementError, match="deaf"):
        measure({"pruned": models["pruned"]}, frames=frames, child_command=(sys.executable, str(script)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("precision={'pruned': 'bf16' if number else 'fp32'}", "runtime 9.9 in bf16, runtime 9.9 in fp32"),
        ("runtime_version={'pruned': f'9.{number}'}", "runtime 9.0 in fp32, runtime 9.1 in fp32"),
    ],
)
def test_processes_that_ran_different_things_are_not_pooled(models, frames, stand_in, changes, said):
    code = KNOWN.replace("answer()", f"answer({changes})")
    with pytest.raises(MeasurementError, match=f"^pruned: its processes did not run the same: {said}$"):
        measure({"pruned": models["pruned"]}, frames=frames, processes=2, child_command=stand_in(code))


def test_record_says_power_mode_and_commit(models, frames, stand_in, monkeypatch):
    monkeypatch.setattr("deploy.latency.commit_of", lambda: "1" * 40)
    measurement = measure({"pruned": models["pruned"]}, frames=frames, processes=2, child_command=stand_in(KNOWN))
    conditions = measurement.models["pruned"].record.conditions
    assert conditions["commit"] == "1" * 40
    # No Jetson.
    assert conditions["power_mode"] is None


def test_samples_that_cannot_be_kept_are_told_with_their_file(models, frames, stand_in):
    with pytest.raises(MeasurementError, match=r"^/dev/full: the samples cannot be written: No space left"):
        measure(
            {"pruned": models["pruned"]}, frames=frames, processes=2, child_command=stand_in(KNOWN),
            samples_path=Path("/dev/full"),
        )  # fmt: skip


def test_runtime_that_is_not_here_is_told_by_the_child(models, frames):
    model = Model(path=models["pruned"].path, runtime="onnxruntime-cuda")
    with pytest.raises(MeasurementError, match=r"^this onnxruntime .*no CUDAExecutionProvider"):
        measure({"a": model}, frames=frames, **QUICK)
