import json
import shutil

import pytest

from deploy.bundle import open_bundle, write_manifest
from deploy.results import LatencyRecord
from deploy.targets import list_targets, this_machine
from toolchain.estimates import calibrating, calibration_path
from toolchain.estimates.family import family
from toolchain.export import export_onnx
from toolchain.models import create_model

CLASSES = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")


@pytest.fixture(autouse=True)
def without_calibrations(tmp_path, monkeypatch):
    """No calibration of this account's comes in."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A resnet1d20 in an ONNX file."""
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    export_onnx(create_model("resnet1d20", 5, 64), path, classes=CLASSES, length=64)
    return path


@pytest.fixture(scope="module")
def bundle(untrained_bundle, tmp_path_factory):
    """The same in a bundle, in fp32 and fp16."""
    return untrained_bundle(tmp_path_factory.mktemp("bundle"), length=64, precisions=("fp32", "fp16"))


def estimated(said):
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def test_a_model_is_estimated_layer_by_layer_and_in_sum(thinwave_here, plain):
    found = estimated(thinwave_here("estimate", plain, "--json"))
    (row,) = found["estimates"]
    assert (row["kind"], row["target"], row["interval"]) == ("estimated", this_machine().name, "assumed")
    assert row["low_ms"] < row["estimated_ms"] < row["high_ms"]
    layers = sum(layer["estimated_us"] for layer in row["layers"])
    assert 1e3 * row["estimated_ms"] == pytest.approx(row["call_us"] + layers)
    # No name that a measured record has.
    times = {name for name in row if name.endswith(("_ms", "_us"))}
    assert not times & LatencyRecord.model_fields.keys()
    said = thinwave_here("estimate", plain).stdout
    assert "ESTIMATED" in said
    assert "stages.0.0.branch.0/Conv" in said
    assert "nobody measured" in said


def test_every_target_is_estimated_in_the_precision_that_it_is_measured_in(thinwave_here, bundle, plain):
    found = estimated(thinwave_here("estimate", bundle, "--all", "--json"))
    rows = {row["target"]: row for row in found["estimates"]}
    assert rows.keys() == {target.name for target in list_targets()}
    for target in list_targets():
        assert rows[target.name]["precision"] == target.measuring.precision
    # A file of its own is in fp32, whatever the target would rather have.
    found = estimated(thinwave_here("estimate", plain, "--all", "--json"))
    assert {row["precision"] for row in found["estimates"]} == {"fp32"}
    assert "jetson-nano" in thinwave_here("estimate", bundle, "--all").stdout


def test_power_modes_stand_in_rows_of_their_own(thinwave_here, bundle):
    found = estimated(thinwave_here("estimate", bundle, "--target", "jetson-orin-nano-8gb", "--json"))
    times = {row["power_mode"]: row["estimated_ms"] for row in found["estimates"]}
    assert list(times) == ["MAXN_SUPER", "25W", "15W", "7W"]
    assert times["MAXN_SUPER"] < times["25W"] < times["7W"]
    one = estimated(
        thinwave_here("estimate", bundle, "--target", "jetson-orin-nano-8gb", "--power-mode", "7W", "--json")
    )
    assert [row["estimated_ms"] for row in one["estimates"]] == [times["7W"]]


def test_a_model_against_itself_is_once_as_fast(thinwave_here, plain):
    found = estimated(thinwave_here("estimate", plain, "--against", plain, "--json"))
    assert found["estimated_speed_up"] == [1.0]
    assert "1.00" in thinwave_here("estimate", plain, "--against", plain).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name a BUNDLE, or calibrate with --calibrate"),
        (["--calibrate", "--against", "M"], "--against is for the estimate of a BUNDLE"),
        (["--calibrate", "--power-mode", "15W"], "--power-mode is for the estimate of a BUNDLE"),
        (["M", "--calibrate", "--power-mode", "15W"], "power mode 15W: this machine is in none that it tells"),
        (["M", "--all", "--target", "x86-cpu"], "--all takes every target as its profile says"),
        (["M", "--target", "jetson-orin"], 'no target profile is named "jetson-orin"'),
        (["M", "--target", "jetson-nano", "--power-mode", "15W"], 'has no power mode "15W"; there are: MAXN, 5W'),
        (["M", "--runtime", "tensorrt"], '"tensorrt" is none of its runtimes'),
        (["M", "--runtime", "onnxruntme"], '"onnxruntme" is none of its runtimes, did you mean "onnxruntime"'),
        (["M", "--precision", "int8"], "holds no int8; it holds fp32"),
        (["none.onnx", "--calibrate"], "there is no such file"),
        (["--calibrate", "--calibration", "/"], "no calibration can be written there"),
        (["M", "--calibration", "none.json"], "none.json: the calibration cannot be read: No such file"),
        (["none.onnx"], "there is no such file"),
        (["--calibrate", "--runtime", "onnx"], 'no runtime is named "onnx"'),
        (["--calibrate", "--target", "jetson-nano"], "jetson-nano is of architecture aarch64, and this machine is"),
        (["--calibrate", "--target", "jetson-nano"], "and bring its file here with --calibration"),
    ],
)
def test_what_cannot_be_estimated_ends_in_one_message(refused_here, plain, options, message):
    assert message in " ".join(refused_here("estimate", *[plain if word == "M" else word for word in options]).split())


def test_layers_that_a_manifest_leaves_out_are_read_from_the_file(thinwave_here, bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    manifest = open_bundle(copy).manifest
    entries = {name: entry.model_copy(update={"layers": ()}) for name, entry in manifest.precisions.items()}
    write_manifest(copy, manifest.model_copy(update={"precisions": entries}))
    (row,) = estimated(thinwave_here("estimate", copy, "--json"))["estimates"]
    (whole,) = estimated(thinwave_here("estimate", bundle, "--json"))["estimates"]
    assert row["estimated_ms"] == pytest.approx(whole["estimated_ms"])


def test_a_bundle_without_the_precision_is_refused(refused_here, bundle):
    assert "int8" in refused_here("estimate", bundle, "--precision", "int8")


def test_a_plain_file_is_in_the_precision_that_it_is_written_in(thinwave_here, bundle):
    (row,) = estimated(thinwave_here("estimate", bundle / "fp16.onnx", "--json"))["estimates"]
    assert row["precision"] == "fp16"


def test_of_a_recurrent_model_there_is_no_estimate(refused_here, tmp_path):
    path = tmp_path / "lstm2.onnx"
    export_onnx(create_model("lstm2", 5, 64), path, classes=CLASSES, length=64)
    assert "of a recurrent layer (LSTM) there is no estimate" in refused_here("estimate", path)


@pytest.mark.slow
def test_a_calibration_is_kept_and_later_estimates_go_by_it(thinwave_here, plain, monkeypatch):
    # A few of the networks: all take five minutes.
    members = [member for member in family() if "x96x4" in member.name][:5]
    monkeypatch.setattr(calibrating, "family", lambda: iter(members))
    monkeypatch.setattr(calibrating, "HELD_OUT", ("resnet1d20", "cnn1d"))
    monkeypatch.setattr(calibrating, "HELD_OUT_LENGTHS", (128,))
    told = estimated(thinwave_here("estimate", "--calibrate", plain, "--json"))
    assert [each["name"] for each in told["calibration"]["held_out"]] == [
        "resnet1d20, 128 samples",
        "cnn1d, 128 samples",
    ]
    assert calibration_path(this_machine().name, "onnxruntime", "fp32", 1).is_file()
    (row,) = estimated(thinwave_here("estimate", plain, "--json"))["estimates"]
    assert row["interval"] == "calibrated"
    assert row["high_ms"] / row["estimated_ms"] == pytest.approx(told["calibration"]["factor"])
    assert "not used for fitting" in thinwave_here("estimate", plain).stdout
