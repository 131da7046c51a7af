import json

import pytest

from deploy.bundle import InputFormat, open_bundle
from deploy.errors import BundleError, TargetError
from deploy.profiling import profile_bundle, profile_json
from deploy.targets import load_target, this_machine

QUICK = {"processes": 2, "seconds": 0.02}


def test_speed_up_is_how_many_times_faster_the_bundle_is_than_the_other(bundle_folder):
    slow, fast = open_bundle(bundle_folder("slow", depth=60)), open_bundle(bundle_folder("fast", depth=1))
    measurement = profile_bundle(fast, slow, target=this_machine(), **QUICK)
    assert measurement.ratio.ratio > 1.0
    data = json.loads(json.dumps(profile_json(measurement), allow_nan=False))
    assert list(data) == ["host", "models", "speed_up"]
    assert set(data["models"]) == {"bundle", "against"}
    assert data["speed_up"] == measurement.ratio.to_json()
    assert data["models"]["bundle"]["target"] == this_machine().name
    assert data["models"]["bundle"]["p50_ms"] < data["models"]["against"]["p50_ms"]


def test_command_line_goes_before_the_profile(bundle_folder):
    record = (
        profile_bundle(open_bundle(bundle_folder()), target=this_machine(), batch=3, **QUICK).models["bundle"].record
    )
    assert (record.batch, record.threads) == (3, this_machine().measuring.threads)


def test_bundles_of_other_frames_are_not_compared(bundle_folder):
    other = open_bundle(bundle_folder("other", input=InputFormat(shape=(2, 64), scaling="none")))
    with pytest.raises(BundleError, match=r"takes frames \(2, 32\) and .*other takes \(2, 64\)"):
        profile_bundle(open_bundle(bundle_folder()), other, target=this_machine(), **QUICK)


def test_precision_that_only_one_bundle_holds_is_told(bundle_folder):
    with pytest.raises(BundleError, match="holds no fp16 model"):
        profile_bundle(open_bundle(bundle_folder()), target=this_machine(), precision="fp16", **QUICK)


def test_target_that_is_not_this_machine_is_refused(bundle_folder, monkeypatch):
    target = load_target("x86-cpu")
    monkeypatch.setattr("deploy.targets.machine", lambda: "aarch64")
    with pytest.raises(TargetError, match="run the command on the device itself"):
        profile_bundle(open_bundle(bundle_folder()), target=target, **QUICK)
