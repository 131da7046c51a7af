import json
from dataclasses import replace

import numpy as np
import pytest

from deploy.bundle import NamedFile, open_bundle
from deploy.errors import MeasurementError, TargetError
from deploy.latency import Model, measure
from deploy.targets import load_target
from deploy.trtexec import read_times, record, records_of

# A line of what trtexec 8 writes, one that 8.2 and later write under other names for the copies.
NANO = load_target("jetson-nano")
ABOUT = {
    "model_sha256": "0" * 64, "precision": "fp32", "batch": 1, "tensorrt": "8.2.1", "device": "NVIDIA Jetson Nano",
    "machine": "aarch64", "device_tree": "nvidia,p3449-0000-b00+p3448-0000-b00 nvidia,jetson-nano nvidia,tegra210",
    "power_mode": "MAXN",
}  # fmt: skip
RUN = {"startComputeMs": 1.0, "endComputeMs": 1.5, "h2dMs": 0.05, "d2hMs": 0.05, "computeMs": 0.5, "latencyMs": 0.6}


def times(path, latencies):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**RUN, "latencyMs": latency, "computeMs": latency - 0.1} for latency in latencies]))
    return path


def test_a_single_file_gives_a_record_without_an_interval(tmp_path, bundle_folder):
    path = times(tmp_path / "times.json", [1.0, 2.0, 3.0, 4.0])
    (found,) = records_of(path, open_bundle(bundle_folder()), target=NANO, precision="fp16")
    assert (found.runtime, found.precision, found.target, found.kind) == ("trtexec", "fp16", "jetson-nano", "measured")
    assert found.p50_ms == pytest.approx(2.5)
    assert found.p90_ms == pytest.approx(3.7)
    assert found.max_ms == 4.0
    assert found.runs == 4
    assert found.conditions["on_device_p50_ms"] == pytest.approx(2.4)
    assert found.conditions["p50_interval_ms"] is None


def test_processes_are_the_samples_as_everywhere(tmp_path):
    files = [times(tmp_path / f"times-{number}.json", [latency] * 3) for number, latency in enumerate((1.0, 4.0))]
    found = record([read_times(path) for path in files], target="t", precision="fp32", batch=1)
    assert found.p50_ms == pytest.approx(2.0)
    low, high = found.conditions["p50_interval_ms"]
    assert low < 2.0 < high
    assert low * high == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no runs"),
        ('{"a": 1}', "holds no runs"),
        ('[{"latencyMs": 1}]', "is not what trtexec --exportTimes writes"),
        ('[{"latencyMs": "x", "computeMs": 1}]', "is not what trtexec --exportTimes writes"),
        ('[{"latencyMs": 0, "computeMs": 1}]', "not within 1e-06 and 1e\\+09 ms"),
        ('[{"latencyMs": NaN, "computeMs": 1}]', "not within"),
        ('[{"latencyMs": 1, "computeMs": 1.7e308}]', "not within"),
        ('[{"latencyMs": 1e-320, "computeMs": 1}]', "not within"),
        (f'[{{"latencyMs": 1{"0" * 400}, "computeMs": 1}}]', "is not what trtexec --exportTimes writes"),
    ],
)
def test_what_is_no_file_of_times_is_told(text, told, tmp_path):
    (tmp_path / "times.json").write_text(text)
    with pytest.raises(MeasurementError, match=told):
        read_times(tmp_path / "times.json")


def test_a_file_alone_needs_its_precision(tmp_path, bundle_folder):
    with pytest.raises(MeasurementError, match="name it with --precision"):
        records_of(times(tmp_path / "times.json", [1.0]), open_bundle(bundle_folder()), target=NANO, precision=None)


def test_a_folder_that_the_script_did_not_leave_is_told(tmp_path, bundle_folder):
    with pytest.raises(MeasurementError, match="neither a file of times nor a folder"):
        records_of(tmp_path, open_bundle(bundle_folder()), target=NANO, precision=None)


def test_a_folder_says_itself_what_ran(tmp_path, bundle_folder):
    times(tmp_path / "fp32/times-01.json", np.ones(3))
    about = {**ABOUT, "precision": "fp16"}
    (tmp_path / "fp32/about.json").write_text(json.dumps({**about, "batch": 0}))
    bundle = open_bundle(bundle_folder())
    with pytest.raises(MeasurementError, match="batch: got 0"):
        records_of(tmp_path, bundle, target=NANO)
    (tmp_path / "fp32/about.json").write_text(json.dumps(about))
    with pytest.raises(MeasurementError, match="holds times of fp16, and --precision says fp32"):
        records_of(tmp_path, bundle, target=NANO, precision="fp32")
    with pytest.raises(MeasurementError, match="holds times of fp32, and --precision says int8"):
        records_of(tmp_path, bundle, target=NANO, precision="int8")
    with pytest.raises(MeasurementError, match="leave --batch out"):
        records_of(tmp_path, bundle, target=NANO, batch=2)


def test_times_of_another_model_are_refused(tmp_path, bundle_folder):
    times(tmp_path / "fp32/times-01.json", np.ones(3))
    (tmp_path / "fp32/about.json").write_text(json.dumps(ABOUT))
    with pytest.raises(MeasurementError, match="are of another model than the bundle"):
        records_of(tmp_path, open_bundle(bundle_folder()), target=NANO, precision=None)


@pytest.fixture
def timed(tmp_path, bundle_folder):
    """A bundle that carries a model for trtexec, and the folder of its times, of which ``about`` may be said otherwise."""
    opened = open_bundle(bundle_folder())
    manifest = opened.manifest.model_copy(update={"trtexec": (NamedFile(file="m.onnx", sha256="0" * 64, bytes=1),)})

    def left(**about):
        times(tmp_path / "fp32/times-01.json", np.ones(3))
        (tmp_path / "fp32/about.json").write_text(json.dumps({**ABOUT, **about}))
        return tmp_path, replace(opened, manifest=manifest)

    return left


def test_a_record_says_where_and_under_what_and_what_nobody_knows(timed):
    (found,) = records_of(*timed(), target=NANO)
    told = found.conditions
    assert (told["device"], told["power_mode"]) == ("NVIDIA Jetson Nano", "MAXN")
    assert told["model_sha256"] == "0" * 64
    assert told["governor"] is told["temperature_c"] is None


@pytest.mark.parametrize(
    ("target", "about", "told"),
    [
        ("jetson-tx2", {}, "known by p3310-1000 or .* and that of the device of .* says nvidia,p3449-0000-b00"),
        ("jetson-nano", {"machine": "x86_64"}, "of architecture aarch64, and the device of .* is x86_64"),
        ("jetson-nano", {"device_tree": ""}, "the device of .* says nothing; take them on the device itself"),
    ],
)
def test_times_of_another_device_are_refused(timed, target, about, told):
    with pytest.raises(TargetError, match=told):
        records_of(*timed(**about), target=load_target(target))


def test_a_target_that_has_no_trtexec_has_no_such_times(timed):
    with pytest.raises(MeasurementError, match="target x86-cpu: trtexec is none of its runtimes"):
        records_of(*timed(), target=load_target("x86-cpu"))


def test_all_that_a_measured_record_says_is_said_or_unknown(timed, mean_model):
    frames = np.zeros((4, 2, 32), np.float32)
    settings = {"processes": 2, "seconds": 0.02, "least_runs": 16, "warmup_s": 0.02, "warmup_limit_s": 0.5}
    measured = measure({"it": Model(path=mean_model("it.onnx", depth=1))}, frames=frames, **settings)
    (found,) = records_of(*timed(), target=NANO)
    assert measured.models["it"].record.conditions.keys() <= found.conditions.keys()
