import json

import numpy as np
import pytest

from deploy.bundle import open_bundle
from deploy.errors import MeasurementError
from deploy.trtexec import read_times, record, records_of

# A line of what trtexec 8 writes, one that 8.2 and later write under other names for the copies.
RUN = {"startComputeMs": 1.0, "endComputeMs": 1.5, "h2dMs": 0.05, "d2hMs": 0.05, "computeMs": 0.5, "latencyMs": 0.6}


def times(path, latencies):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**RUN, "latencyMs": latency, "computeMs": latency - 0.1} for latency in latencies]))
    return path


def test_a_single_file_gives_a_record_without_an_interval(tmp_path, bundle_folder):
    path = times(tmp_path / "times.json", [1.0, 2.0, 3.0, 4.0])
    (found,) = records_of(path, open_bundle(bundle_folder()), target="jetson-nano", precision="fp16")
    assert (found.runtime, found.precision, found.target, found.kind) == ("trtexec", "fp16", "jetson-nano", "measured")
    assert found.p50_ms == pytest.approx(2.5)
    assert found.p90_ms == pytest.approx(3.7)
    assert found.max_ms == 4.0
    assert found.runs == 4
    assert found.conditions["on_device_p50_ms"] == pytest.approx(2.4)
    assert found.conditions["p50_interval_ms"] is None


def test_processes_are_the_samples_as_everywhere(tmp_path):
    files = [times(tmp_path / f"times-{number}.json", [latency] * 3) for number, latency in enumerate((1.0, 4.0))]
    found = record(
        [read_times(path) for path in files], target="t", precision="fp32", version="8.2.1", batch=1, device=None
    )
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
        ('[{"latencyMs": 0, "computeMs": 1}]', "not finite, or not above 0"),
        ('[{"latencyMs": NaN, "computeMs": 1}]', "not finite, or not above 0"),
        (f'[{{"latencyMs": 1{"0" * 400}, "computeMs": 1}}]', "is not what trtexec --exportTimes writes"),
    ],
)
def test_what_is_no_file_of_times_is_told(text, told, tmp_path):
    (tmp_path / "times.json").write_text(text)
    with pytest.raises(MeasurementError, match=told):
        read_times(tmp_path / "times.json")


def test_a_file_alone_needs_its_precision(tmp_path, bundle_folder):
    with pytest.raises(MeasurementError, match="name it with --precision"):
        records_of(
            times(tmp_path / "times.json", [1.0]), open_bundle(bundle_folder()), target="jetson-nano", precision=None
        )


def test_a_folder_that_the_script_did_not_leave_is_told(tmp_path, bundle_folder):
    with pytest.raises(MeasurementError, match="neither a file of times nor a folder"):
        records_of(tmp_path, open_bundle(bundle_folder()), target="jetson-nano", precision=None)


def test_a_folder_says_itself_what_ran(tmp_path, bundle_folder):
    times(tmp_path / "fp32/times-01.json", np.ones(3))
    about = {"model_sha256": "0" * 64, "precision": "fp16", "batch": 0, "tensorrt": "8.2.1", "device": "Nano"}
    (tmp_path / "fp32/about.json").write_text(json.dumps(about))
    bundle = open_bundle(bundle_folder())
    with pytest.raises(MeasurementError, match="batch: got 0"):
        records_of(tmp_path, bundle, target="jetson-nano")
    (tmp_path / "fp32/about.json").write_text(json.dumps({**about, "batch": 1}))
    with pytest.raises(MeasurementError, match="holds times of fp16, and --precision says fp32"):
        records_of(tmp_path, bundle, target="jetson-nano", precision="fp32")
    with pytest.raises(MeasurementError, match="holds times of fp32, and --precision says int8"):
        records_of(tmp_path, bundle, target="jetson-nano", precision="int8")
    with pytest.raises(MeasurementError, match="leave --batch out"):
        records_of(tmp_path, bundle, target="jetson-nano", batch=2)


def test_times_of_another_model_are_refused(tmp_path, bundle_folder):
    times(tmp_path / "fp32/times-01.json", np.ones(3))
    about = {"model_sha256": "0" * 64, "precision": "fp32", "batch": 1, "tensorrt": "8.2.1", "device": "Nano"}
    (tmp_path / "fp32/about.json").write_text(json.dumps(about))
    with pytest.raises(MeasurementError, match="are of another model than the bundle"):
        records_of(tmp_path, open_bundle(bundle_folder()), target="jetson-nano", precision=None)
