import json
import os
from functools import partial

import numpy as np
import pytest

from deploy.bundle import InputFormat, Layer, Parity, write_manifest
from deploy.errors import (
    BundleError,
    DatasetError,
    MeasurementError,
    RuntimeNotFoundError,
    RuntimeRefusedError,
    TargetError,
)
from deploy.latency import measure
from deploy.noise import noise_frames
from deploy.profiling import Look, Profile, best_of, look_at_all, open_subject, profile
from deploy.progress import silent
from deploy.targets import load_target, this_machine

QUICK = {"processes": 2, "seconds": 0.02}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let measuring take no longer than it must: what is tested is what becomes of its figures."""
    monkeypatch.setattr("deploy.profiling.measure", partial(measure, warmup_s=0.02, warmup_limit_s=0.2))
    monkeypatch.setattr("deploy.profiling.LOOK_PROCESSES", 2)
    monkeypatch.setattr("deploy.profiling.LOOK_S", 0.02)


def look(runtime, precision, p50_ms, problem=None):
    return Look(runtime=runtime, precision=precision, p50_ms=p50_ms, accuracy=0.5, problem=problem)


def target_with(*runtimes):
    here = this_machine()
    return here.model_copy(update={"runtimes": runtimes})


def test_speed_up_is_how_many_times_faster_the_bundle_is_than_the_other(bundle_folder):
    slow, fast = open_subject(bundle_folder("slow", depth=60)), open_subject(bundle_folder("fast", depth=1))
    found = profile(fast, slow, target=this_machine(), **QUICK)
    assert found.measurement.ratio.ratio > 1.0
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(data) == [
        *("latency", "runtime", "precision", "length", "sample_rate_hz", "speed_up", "looks", "layers", "host")
    ]
    again = Profile.from_json(data, where="there")
    assert again.to_json() == data
    assert data["speed_up"] == found.measurement.ratio.to_json()
    # The one that was asked about first, and then the one that it stands against.
    bundle, against = data["latency"]
    assert bundle == found.measurement.models["bundle"].record.to_json()
    assert bundle["target"] == against["target"] == this_machine().name
    assert bundle["p50_ms"] < against["p50_ms"]
    assert (data["looks"], data["layers"]) == ([], None)


def test_command_line_goes_before_the_target(bundle_folder):
    found = profile(open_subject(bundle_folder()), target=this_machine(), batch=3, runtime="openvino", **QUICK)
    record = found.measurement.models["bundle"].record
    assert (record.batch, record.threads) == (3, this_machine().measuring.threads)
    assert (found.runtime, found.precision) == (record.runtime, "fp32") == ("openvino", "fp32")


def test_layers_are_beside_what_the_manifest_knows(bundle_folder, manifest_for):
    folder = bundle_folder()
    manifest = manifest_for(folder, {"fp32": "fp32.onnx"})
    conv = Layer(name="conv0", op="Conv", macs=384, bytes_in=256, bytes_out=256, bytes_weights=48)
    entry = manifest.precisions["fp32"].model_copy(update={"layers": (conv,)})
    write_manifest(folder, manifest.model_copy(update={"precisions": {"fp32": entry}}))
    found = profile(open_subject(folder), target=this_machine(), with_layers=True, **QUICK)
    assert [(row.covers, row.macs, row.size_bytes) for row in found.layers.rows if row.covers] == [
        (("conv0",), 384, 560)
    ]
    assert found.to_json()["layers"]["layers"][0]["name"] == "conv0"


def test_plain_onnx_file_says_its_own_length(mean_model):
    subject = open_subject(mean_model("theirs.onnx", depth=1, length=48))
    assert (subject.length, subject.bundle, subject.sample_rate_hz) == (48, None, None)
    assert list(subject.layers("fp32")) == []


def test_plain_onnx_file_stands_against_a_bundle(mean_model, bundle_folder):
    found = profile(
        open_subject(bundle_folder()), open_subject(mean_model("theirs.onnx")), target=this_machine(), **QUICK
    )
    written = {name: model.record.conditions["file_precision"] for name, model in found.measurement.models.items()}
    # Of a plain file nobody said what it was written in.
    assert written == {"against": None, "bundle": "fp32"}


def test_sample_rate_is_the_bundles(bundle_folder):
    folder = bundle_folder(input=InputFormat(shape=(2, 32), scaling="none", sample_rate_hz=1e6))
    assert open_subject(folder).sample_rate_hz == 1e6


def test_plain_onnx_file_for_any_length_is_refused(mean_model):
    with pytest.raises(RuntimeRefusedError, match=r"any\.onnx: takes frames of any length; expected one"):
        open_subject(mean_model("any.onnx", length="length"))


def test_plain_onnx_file_that_is_none_is_refused_by_a_process_of_its_own(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(
        MeasurementError,
        match=r"^\S*bad\.onnx: onnxruntime cannot open this as an ONNX",
    ):
        open_subject(tmp_path / "bad.onnx")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (os.mkfifo, "is a pipe, expected an ONNX file"),
        (lambda path: None, "there is no such file"),
        (lambda path: path.symlink_to("/dev/null"), "is a device, expected an ONNX file"),
    ],
)
def test_what_is_no_file_is_told_and_not_waited_for(tmp_path, make, told):
    make(tmp_path / "x.onnx")
    with pytest.raises(MeasurementError, match=rf"x\.onnx: {told}"):
        open_subject(tmp_path / "x.onnx")


def test_folder_that_is_no_bundle_is_told_however_it_is_named(tmp_path):
    (tmp_path / "x.onnx").mkdir()
    with pytest.raises(BundleError, match=r"x\.onnx: no bundle here, it holds no manifest\.json"):
        open_subject(tmp_path / "x.onnx")


def test_batch_that_does_not_fit_into_memory_is_told_before_it_is_made(bundle_folder, monkeypatch):
    monkeypatch.setattr("deploy.memory.available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(
        DatasetError, match=r"frames to measure with, 8 batches of 65536, need .* GiB .*a smaller batch"
    ):
        profile(open_subject(bundle_folder()), target=this_machine(), batch=65536, **QUICK)


def test_bundle_in_a_folder_that_is_named_as_a_file_is_a_bundle(bundle_folder):
    assert open_subject(bundle_folder("model.onnx")).bundle is not None


def test_models_of_other_frames_are_not_compared(bundle_folder, mean_model):
    other = open_subject(mean_model("theirs.onnx", length=64))
    with pytest.raises(BundleError, match=r"bundle takes frames of 32 samples and .*theirs\.onnx of 64"):
        profile(open_subject(bundle_folder()), other, target=this_machine(), **QUICK)


def test_precision_that_the_bundle_does_not_hold_is_told(bundle_folder):
    with pytest.raises(BundleError, match="holds no fp16 model"):
        profile(open_subject(bundle_folder()), target=this_machine(), precision="fp16", **QUICK)


def test_runtime_that_is_not_here_is_told_before_a_process_starts(bundle_folder):
    with pytest.raises(RuntimeNotFoundError, match=r"^this onnxruntime .* has no CUDAExecutionProvider"):
        profile(open_subject(bundle_folder()), target=this_machine(), runtime="onnxruntime-cuda", **QUICK)


def test_target_that_is_not_this_machine_is_refused(bundle_folder, monkeypatch):
    target = load_target("x86-cpu")
    monkeypatch.setattr("deploy.targets.machine", lambda: "aarch64")
    with pytest.raises(TargetError, match="run the command on the device itself"):
        profile(open_subject(bundle_folder()), target=target, **QUICK)


def test_best_is_the_fastest_that_could_be_measured():
    looks = [look("a", "fp32", 0.3), look("b", "int8", None, "wrong"), look("b", "fp16", 0.1), look("c", "fp32", 0.2)]
    assert best_of(looks) == ("b", "fp16")


def test_where_nothing_is_accurate_every_reason_is_told():
    looks = [look("a", "fp32", None, "not installed"), look("b", "int8", None, "it names 3.00% rightly")]
    with pytest.raises(
        MeasurementError,
        match=r"^no runtime that is here is accurate:\n  a, fp32: not installed\n  b, int8: it names 3\.00% rightly$",
    ):
        best_of(looks)


def test_every_runtime_of_the_target_is_looked_at_in_every_precision(three_precisions):
    told = []
    looks = look_at_all(
        open_subject(three_precisions),
        target_with("onnxruntime", "tensorrt"),
        noise_frames(8, 32, np.random.default_rng(0)),
        ("fp32", "int8"),
        threads=1,
        batch=1,
        progress=lambda done, total, note="": told.append((done, total, note)),
    )
    assert [(look.runtime, look.precision) for look in looks] == [
        (runtime, precision) for runtime in ("onnxruntime", "tensorrt") for precision in ("fp32", "int8")
    ]
    for each in looks[:2]:
        assert each.problem is None
        assert each.p50_ms > 0
        assert each.accuracy == pytest.approx(5 / 6)
    for each in looks[2:]:
        assert (each.p50_ms, each.accuracy) == (None, None)
        assert "tensorrt cannot be imported" in each.problem
    assert told[0] == (0, 4, "looking at onnxruntime, fp32")
    assert told[-1] == (3, 4, "looking at tensorrt, int8")


def test_model_that_is_not_accurate_is_not_measured(bundle_folder, write_reference, manifest_for):
    folder = bundle_folder()
    write_reference(folder, logits=np.tile(np.array([0, 0, 9], np.float32), (6, 1)))
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    with pytest.raises(MeasurementError, match="onnxruntime, fp32: its logits differ by 1"):
        profile(open_subject(folder), target=target_with("onnxruntime"), runtime="best", **QUICK)


def lossy(folder, wrong, *, write_reference, manifest_for, parity=None):
    """A bundle whose fp16 file is of another class than the original in ``wrong`` of 1000 frames, where that was right."""
    logits = np.tile(np.array([1.0, 0.0, -1.0], np.float32), (1000, 1))
    logits[:wrong] = (1.0, 1.1, -1.0)
    labels = np.array([1] * wrong + [0] * (1000 - wrong))
    write_reference(folder, points=[(1, 0)] * 1000, logits=logits, label=labels)
    manifest = manifest_for(folder, {"fp16": "fp16.onnx"})
    entry = manifest.precisions["fp16"].model_copy(update={"parity": parity})
    write_manifest(folder, manifest.model_copy(update={"precisions": {"fp16": entry}}))
    return open_subject(folder)


def looks_of(subject, precision):
    return look_at_all(
        subject, target_with("onnxruntime"), noise_frames(8, 32, np.random.default_rng(0)), (precision,),
        threads=1, batch=1, progress=silent,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (5, None),
        (6, "it loses 0.60 points of accuracy against the original on the reference frames, at most 0.5 are accepted"),
        (
            100,
            "it loses 10.00 points of accuracy against the original on the reference frames, at most 0.5 are accepted",
        ),
    ],
)
def test_best_may_lose_half_a_point_against_the_original(
    three_precisions, write_reference, manifest_for, wrong, problem
):
    # Lost at export, so that a check has nothing against it.
    parity = Parity(frames=1000, max_abs_diff=9.0, agreement=0.9, accuracy=0.9)
    subject = lossy(three_precisions, wrong, write_reference=write_reference, manifest_for=manifest_for, parity=parity)
    (look,) = looks_of(subject, "fp16")
    assert look.problem == problem
    assert (look.p50_ms is None) == (problem is not None)
    assert look.accuracy == pytest.approx(1 - wrong / 1000)


def test_look_at_a_model_that_ends_the_process_is_no_end_of_the_others(bundle_folder, dying_child):
    with dying_child:
        (look,) = looks_of(open_subject(bundle_folder()), "fp32")
    assert "was ended by signal 11 (SIGSEGV)" in look.problem
    assert (look.p50_ms, look.accuracy) == (None, None)


def test_look_at_a_model_of_other_classes_is_no_end_of_the_others(mean_model, manifest_for, write_reference):
    folder = mean_model("b/fp32.onnx").parent
    write_reference(folder, classes=np.array(["a", "b", "c", "d"]), logits=np.zeros((6, 4), np.float32))
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}, classes=("a", "b", "c", "d")))
    (look,) = looks_of(open_subject(folder), "fp32")
    assert "the manifest names 4 classes" in look.problem


@pytest.mark.parametrize(
    ("asked", "told"), [({"threads": 9999}, "9999 threads"), ({"processes": 1}, "got 1 processes")]
)
def test_what_cannot_be_measured_with_is_told_before_any_look(bundle_folder, asked, told):
    # Also told as the reason of every look, it would begin otherwise.
    with pytest.raises(MeasurementError, match=f"^{told}"):
        profile(open_subject(bundle_folder()), target=this_machine(), runtime="best", **{**QUICK, **asked})


def test_best_is_measured_with_the_looks_beside_it(bundle_folder):
    target = target_with("onnxruntime", "openvino")
    found = profile(open_subject(bundle_folder()), target=target, runtime="best", **QUICK)
    assert [(look.runtime, look.precision) for look in found.looks] == [("onnxruntime", "fp32"), ("openvino", "fp32")]
    fastest = min(found.looks, key=lambda look: look.p50_ms)
    assert (found.runtime, found.precision) == (fastest.runtime, fastest.precision)
    assert found.measurement.models["bundle"].record.runtime == fastest.runtime
    assert [look["runtime"] for look in found.to_json()["looks"]] == ["onnxruntime", "openvino"]


def test_best_of_a_plain_onnx_file_is_refused(mean_model):
    with pytest.raises(
        MeasurementError, match=r"has no frames to judge that by; export it as a bundle, or name a runtime"
    ):
        profile(open_subject(mean_model()), target=this_machine(), runtime="best", **QUICK)


def test_bundle_without_reference_frames_has_no_best(bundle_folder):
    with pytest.raises(BundleError, match="holds no reference frames; export it again"):
        profile(open_subject(bundle_folder(reference=None)), target=this_machine(), runtime="best", **QUICK)


def test_best_of_a_precision_that_the_bundle_does_not_hold_is_told(bundle_folder):
    with pytest.raises(BundleError, match="holds no fp16 model; it holds: fp32"):
        profile(open_subject(bundle_folder()), target=this_machine(), runtime="best", precision="fp16", **QUICK)
