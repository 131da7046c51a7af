import json
import math

import pytest

from deploy.errors import TargetError
from deploy.host import processor_facts
from deploy.runtimes import version_here
from deploy.targets import load_target, this_machine
from toolchain.errors import EstimateError
from toolchain.estimates import (
    Calibration,
    calibrate,
    calibrating,
    calibration,
    calibration_path,
    estimate,
    read_calibration,
    write_calibration,
)
from toolchain.estimates.calibration import Compared, calibration_here
from toolchain.estimates.estimating import Settings
from toolchain.estimates.family import family
from toolchain.estimates.roofline import Constants


def made(errors, **changes):
    constants = Constants(
        call_us=5.0, product_us=2.0, pointwise_us=0.5, other_us=1.0, gmacs_per_s=10.0, gbytes_per_s=10.0, half_sum=0.0,
        half_channels=0.0, channel_block=1, half_mbytes=1.0, memory_gbytes_per_s=None, skips_padding=True,
    )  # fmt: skip
    return Calibration(
        **{
            "target": this_machine().name,
            "runtime": "onnxruntime",
            "runtime_version": version_here("onnxruntime"),
            "precision": "fp32",
            "threads": 1,
            "batch": 1,
            "power_mode": None,
            "cpu_model": None,
            "date": "2026-11-22",
            "thinwave_version": None,
            "commit": None,
            "constants": constants,
            "family": (Compared(name="a", measured_ms=1.0, estimated_ms=1.0),),
            "held_out": tuple(
                Compared(name=f"m{number}", measured_ms=1.0, estimated_ms=1.0 + error)
                for number, error in enumerate(errors)
            ),
            **changes,
        }
    )


def test_the_interval_holds_nine_of_ten_further_models():
    # Of 19 the 18th in order: ceil(0.9 * 20).
    errors = [number / 100 for number in range(1, 20)]
    assert made(errors).factor == pytest.approx(1.18)
    # With fewer than nine the furthest; and as far below counts as much as above.
    assert made([0.1, -0.5, 0.2]).factor == pytest.approx(2.0)
    assert made([0.1, -0.5, 0.2]).held_out[1].error == pytest.approx(-0.5)


def test_a_calibration_is_read_back_and_found_on_this_machine_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    here = this_machine()
    assert calibration_here(here, "onnxruntime", "fp32", 1) is None
    path = calibration_path(here.name, "onnxruntime", "fp32", 1)
    assert path.is_relative_to(tmp_path)
    taken = made([0.1], cpu_model=processor_facts()["cpu_model"])
    write_calibration(taken, path)
    assert read_calibration(path) == taken
    assert calibration_here(here, "onnxruntime", "fp32", 1) == taken
    assert calibration_here(here, "openvino", "fp32", 1) is None
    # A home that another machine shares, and a target that this machine is not.
    write_calibration(made([0.1], cpu_model="another"), path)
    assert calibration_here(here, "onnxruntime", "fp32", 1) is None
    assert calibration_here(load_target("jetson-nano"), "onnxruntime", "fp32", 1) is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_calibration_of_another_version_or_that_cannot_be_read_is_none_and_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    here = this_machine()
    path = calibration_path(here.name, "onnxruntime", "fp32", 1)
    write_calibration(made([0.1], cpu_model=processor_facts()["cpu_model"], runtime_version="1.0"), path)
    assert calibration_here(here, "onnxruntime", "fp32", 1) is None
    assert "is not the 1.0 that was calibrated: calibrate again" in caplog.text
    path.write_text("{")
    assert calibration_here(here, "onnxruntime", "fp32", 1) is None
    assert "cannot be read" in caplog.text
    assert estimate([], here, "fp32").interval == "assumed"


def test_a_calibration_is_for_the_power_mode_that_it_was_taken_in():
    nano = load_target("jetson-orin-nano-8gb")
    taken = made([0.1], target=nano.name, runtime="tensorrt", precision="fp16", power_mode="15W")
    assert estimate([], nano, "fp16", Settings(calibration=taken, power_mode="15W")).interval == "calibrated"
    with pytest.raises(EstimateError, match="the calibration is for power_mode 15W, and the estimate for 7W"):
        estimate([], nano, "fp16", Settings(calibration=taken, power_mode="7W"))


def test_a_relative_data_folder_is_none(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert calibration_path("x86-cpu", "onnxruntime", "fp32", 1).is_absolute()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "expected"),
        (json.dumps({"kind": "calibration"}), "problems"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path, text, said):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(EstimateError, match=said):
        read_calibration(path)
    with pytest.raises(EstimateError, match="No such file"):
        read_calibration(tmp_path / "none.json")


@pytest.mark.parametrize(
    "changed",
    [
        {"constants": {"half_mbytes": 1e-200}},
        {"constants": {"gmacs_per_s": 1e-310}},
        {"constants": {"call_us": 1e300}},
        {"constants": {"channel_block": 10**400}},
        {"held_out": [{"name": "a", "measured_ms": 1e-320, "estimated_ms": 1e300}]},
    ],
)
def test_numbers_of_which_no_estimate_comes_are_refused(tmp_path, changed):
    data = made([0.1]).model_dump(mode="json")
    constants = {**data["constants"], **changed.pop("constants", {})}
    path = tmp_path / "c.json"
    # As text: json.dumps of Python writes a number of 400 digits, and reads it.
    path.write_text(json.dumps({**data, "constants": constants, **changed}))
    with pytest.raises(EstimateError, match=r"(?s)c\.json: .* expected (greater|less)"):
        read_calibration(path)


def test_a_calibration_of_a_processor_that_nobody_named_is_none_here(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "processor_facts", lambda: {"cpu_model": None})
    here = this_machine()
    write_calibration(made([0.1]), calibration_path(here.name, "onnxruntime", "fp32", 1))
    assert calibration_here(here, "onnxruntime", "fp32", 1) is None
    told = estimate([], here, "fp32", Settings(calibration=made([0.1]))).basis
    assert "on a processor that does not say which" in told


def test_an_estimate_by_a_calibration_has_its_interval_and_refuses_that_of_others():
    target = this_machine()
    layers = []
    taken = made([0.25])
    found = estimate(layers, target, "fp32", Settings(calibration=taken))
    assert found.estimated_ms == pytest.approx(0.005)
    assert (found.low_ms, found.high_ms) == (pytest.approx(0.004), pytest.approx(0.00625))
    assert found.interval == "calibrated"
    assert found.to_json()["kind"] == "estimated"
    with pytest.raises(
        EstimateError, match="the calibration is for runtime onnxruntime, and the estimate for openvino"
    ):
        estimate(layers, target, "fp32", Settings(calibration=taken, runtime="openvino"))


def test_calibrating_measures_the_family_and_models_that_are_not_in_it(monkeypatch):
    members = [member for member in family() if "x96x4" in member.name][:4]
    monkeypatch.setattr(calibrating, "family", lambda: iter(members))
    monkeypatch.setattr(calibrating, "HELD_OUT", ("resnet1d20",))
    monkeypatch.setattr(calibrating, "HELD_OUT_LENGTHS", (128,))
    monkeypatch.setattr(calibrating, "SECONDS", 0.05)
    steps = []
    found = calibrate(
        this_machine(), "onnxruntime", progress=lambda done, total, note="": steps.append((done, total, note))
    )
    assert [each.name for each in found.family] == [member.name for member in members]
    assert [each.name for each in found.held_out] == ["resnet1d20, 128 samples"]
    assert steps[-1] == (5, 5, "resnet1d20, 128 samples")
    assert found.factor == pytest.approx(math.exp(abs(math.log(1 + found.held_out[0].error))))
    assert Calibration.model_validate_json(found.model_dump_json()) == found


def test_another_machines_target_cannot_be_calibrated_here():
    with pytest.raises(TargetError):
        calibrate(load_target("jetson-agx-orin-64gb"), "onnxruntime")


def test_what_no_estimate_could_go_by_is_refused_before_it_is_measured(monkeypatch):
    here = this_machine()
    with pytest.raises(EstimateError, match='"openvino" is none of its runtimes'):
        calibrate(here.model_copy(update={"runtimes": ("onnxruntime",)}), "openvino")
    # A Jetson that does not tell its power mode, as in a container.
    modes = load_target("jetson-orin-nano-8gb").power_modes
    with pytest.raises(EstimateError, match=r"in power mode that it does not tell, .* set one of MAXN_SUPER, 25W"):
        calibrate(here.model_copy(update={"power_modes": modes}), "onnxruntime")
