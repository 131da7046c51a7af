import numpy as np
import pytest

from deploy.bundle import Parity, open_bundle, write_manifest
from deploy.bundle_check import check_bundle
from deploy.check_table import check_to_json
from deploy.errors import BundleError, MeasurementError, RuntimeNotFoundError
from deploy.runtimes import version_here

# (I, Q) of a frame with logits (1, 0, -1), and of one with (0, 2, 1).
BPSK, QPSK = (1, 0), (0, 1)


@pytest.fixture
def checked(mean_model, int8_model, manifest_for, write_reference):
    """Check a bundle with one model in ``precision`` against the reference frames that are given."""

    def check(precision="fp32", *, parity=None, runtime="onnxruntime", **reference):
        folder = mean_model("b/fp32.onnx", depth=1).parent
        (folder / "int8.onnx").write_bytes(int8_model.read_bytes())
        write_reference(folder, **reference)
        manifest = manifest_for(folder, {precision: f"{precision}.onnx"})
        entry = manifest.precisions[precision].model_copy(update={"parity": parity})
        write_manifest(folder, manifest.model_copy(update={"precisions": {precision: entry}}))
        (found,) = check_bundle(open_bundle(folder), runtime)
        return found

    return check


def test_every_file_is_told_with_what_was_executed_and_found(three_precisions):
    checks = check_bundle(open_bundle(three_precisions), "onnxruntime")
    assert [(check.precision, check.file) for check in checks] == [
        ("fp32", "fp32.onnx"),
        ("fp16", "fp16.onnx"),
        ("int8", "int8.onnx"),
    ]
    assert (checks[0].executed, checks[2].executed) == ("fp32", "int8")
    for check in checks:
        assert check.size_bytes == (three_precisions / check.file).stat().st_size
        assert check.problems == ()
        assert check.max_abs_diff == pytest.approx(0.0, abs=1e-6)
        assert check.agreement == 1.0
        # All but one of the six, and that one at 0 dB.
        assert check.accuracy == pytest.approx(5 / 6)
        assert check.accuracy_by_snr == pytest.approx({"0": 2 / 3, "10": 1.0})


def test_precisions_are_checked_that_were_asked_for(three_precisions):
    bundle = open_bundle(three_precisions)
    (check,) = check_bundle(bundle, "onnxruntime", precisions=["int8"])
    assert check.precision == "int8"


def test_more_frames_than_fit_one_batch_are_checked(checked, write_reference):
    # 65: a batch of 64, and one frame.
    check = checked(points=[BPSK] * 64 + [QPSK], label=np.array([0] * 64 + [1]))
    assert (check.accuracy, check.agreement, check.problems) == (1.0, 1.0, ())


@pytest.mark.parametrize(
    ("shift", "problems"), [(1.5e-4, ()), (3e-4, ("its logits differ by 0.0003, expected at most",))]
)
def test_fp32_has_to_give_the_logits_to_a_ten_thousandth_of_the_largest(checked, shift, problems):
    # The largest logit is 2: 0.0002 are allowed.
    logits = np.array([(a + shift, 2 * b, b - a) for a, b in (BPSK, QPSK)], dtype=np.float32)
    check = checked(points=[BPSK, QPSK], logits=logits)
    assert check.max_abs_diff == pytest.approx(shift, rel=0.01)
    assert len(check.problems) == len(problems)
    assert all(told.startswith(expected) for told, expected in zip(check.problems, problems, strict=True))


def test_fp32_has_to_give_every_frame_the_same_class(checked):
    # Zeros have the logits (0, 0, 0), of which the first counts; the original found the second larger, by little.
    check = checked(
        points=[BPSK, QPSK, (0, 0), BPSK], logits=np.array([(1, 0, -1), (0, 2, 1), (0, 5e-5, 0), (1, 0, -1)])
    )
    assert check.max_abs_diff == pytest.approx(5e-5)
    assert check.problems == ("75.00% of the frames get the same class, expected all",)


def answers(wrong, *, of=200):
    """Reference frames that are all BPSK to the model, and QPSK, by a little or more, to the original in ``wrong`` of them."""
    logits = np.tile(np.array([1.0, 0.0, -1.0]), (of, 1))
    logits[:wrong] = (1.0, 1.1, -1.0)
    return {"points": [BPSK] * of, "logits": logits}


@pytest.mark.parametrize(
    ("wrong", "problems"), [(2, ()), (3, ("it names 98.50% of the frames rightly, expected at least 99.00%",))]
)
def test_int8_may_lose_a_hundredth_of_the_accuracy(checked, wrong, problems):
    # The original is right where it differs.
    check = checked("int8", **answers(wrong), label=np.array([1] * wrong + [0] * (200 - wrong)))
    assert check.executed == "int8"
    assert check.accuracy == pytest.approx(1 - wrong / 200)
    assert check.problems == problems


@pytest.mark.parametrize(
    ("other", "problems"), [(4, ()), (5, ("97.50% of the frames get the original's class, expected at least 98.00%",))]
)
def test_int8_may_differ_in_two_hundredths_of_the_classes(checked, other, problems):
    # Both are wrong where they differ, so that the accuracy is the same.
    check = checked("int8", **answers(other), label=np.array([2] * other + [0] * (200 - other)))
    assert check.agreement == pytest.approx(1 - other / 200)
    assert check.problems == problems


def test_int8_that_is_more_accurate_than_the_original_is_no_problem(checked):
    check = checked("int8", **answers(4), label=np.zeros(200, int))
    assert check.problems == ()


@pytest.mark.parametrize(
    ("wrong", "problems"),
    [
        (20, ()),
        (
            26,
            (
                "it names 87.00% of the frames rightly, expected at least 89.00%",
                "87.00% of the frames get the original's class",
            ),
        ),
    ],
)
def test_what_int8_lost_at_export_is_expected_of_it(checked, wrong, problems):
    parity = Parity(frames=1000, max_abs_diff=0.5, agreement=0.9, accuracy=0.9)
    check = checked("int8", parity=parity, **answers(wrong), label=np.array([1] * wrong + [0] * (200 - wrong)))
    assert [told[: len(expected)] for told, expected in zip(check.problems, problems, strict=True)] == list(problems)


@pytest.mark.parametrize(
    ("executed", "problems"),
    [("int8", ("97.50% of the frames get the original's class, expected at least 98.00%",)), ("fp32", ())],
)
def test_how_many_frames_change_their_class_counts_beside_the_same_type_alone(checked, executed, problems):
    parity = Parity(frames=1000, max_abs_diff=0.5, agreement=1.0, accuracy=1.0, executed=executed)
    check = checked("int8", parity=parity, **answers(5), label=np.array([2] * 5 + [0] * 195))
    assert check.problems == problems


@pytest.mark.parametrize(
    ("labels_of_wrong", "points_lost"),
    # In 20 of 200 frames the file has another class than the original: where that was right, it loses, and else it gains.
    [(1, 10.0), (0, -10.0), (2, 0.0)],
)
def test_points_lost_are_against_the_original_whatever_was_lost_at_export(checked, labels_of_wrong, points_lost):
    parity = Parity(frames=1000, max_abs_diff=0.5, agreement=0.9, accuracy=0.9)
    check = checked("int8", parity=parity, **answers(20), label=np.array([labels_of_wrong] * 20 + [0] * 180))
    assert check.problems == ()
    assert check.points_lost == pytest.approx(points_lost)


def test_model_that_ends_the_process_is_told(bundle_folder, dying_child):
    with (
        dying_child,
        pytest.raises(MeasurementError, match=r"the process that opens fp32\.onnx was ended by signal 11 \(SIGSEGV\)"),
    ):
        check_bundle(open_bundle(bundle_folder()), "onnxruntime")


def test_fp32_file_that_runs_in_bfloat16_is_judged_as_what_ran(checked):
    try:
        version_here("openvino-bf16")
    except RuntimeNotFoundError:
        with pytest.raises(RuntimeNotFoundError, match="no bfloat16"):
            checked(runtime="openvino-bf16")
        return
    # 1 + 1/512 is no bfloat16: it is off by more than float32 may be.
    check = checked(runtime="openvino-bf16", points=[(1 + 1 / 512, 0)])
    assert check.executed == "bf16"
    assert check.max_abs_diff > 1e-3
    assert check.problems == ()


@pytest.mark.parametrize("head", [np.inf, np.nan])
def test_logits_that_are_not_finite_are_a_problem(mean_model, manifest_for, write_reference, head):
    folder = mean_model("b/fp32.onnx", head=np.full((2, 3), head, dtype=np.float32)).parent
    write_reference(folder)
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    (check,) = check_bundle(open_bundle(folder), "onnxruntime")
    assert check.problems == ("its logits are not finite",)


def test_logits_for_another_number_of_classes_are_told(mean_model, manifest_for, write_reference):
    folder = mean_model("b/fp32.onnx").parent
    write_reference(folder, classes=np.array(["a", "b", "c", "d"]), logits=np.zeros((6, 4), np.float32))
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}, classes=("a", "b", "c", "d")))
    with pytest.raises(
        BundleError, match=r"6 frames gave logits \(6, 3\), expected \(6, 4\): the manifest names 4 classes"
    ):
        check_bundle(open_bundle(folder), "onnxruntime")


def test_model_that_was_exported_for_one_frame_at_a_time_is_told(mean_model, manifest_for, write_reference):
    folder = mean_model("b/fp32.onnx", batch=1).parent
    write_reference(folder)
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    with pytest.raises(MeasurementError, match=r"expected float32 \(1, 2, 32\)"):
        check_bundle(open_bundle(folder), "onnxruntime")


def test_precision_that_the_bundle_does_not_hold_is_told(bundle_folder):
    with pytest.raises(BundleError, match="holds no int8 model; it holds: fp32"):
        check_bundle(open_bundle(bundle_folder()), "onnxruntime", precisions=["int8"])


def test_progress_names_the_precision_that_is_at_work(three_precisions):
    told = []
    check_bundle(
        open_bundle(three_precisions),
        "onnxruntime",
        progress=lambda done, total, note="": told.append((done, total, note)),
    )
    assert told == [(0, 3, "fp32"), (1, 3, "fp16"), (2, 3, "int8")]


def test_json_has_every_figure_by_precision(three_precisions):
    bundle = open_bundle(three_precisions)
    data = check_to_json(bundle.manifest, "onnxruntime", check_bundle(bundle, "onnxruntime"))
    assert (data["model"], data["runtime"], list(data["precisions"])) == (
        "mean",
        "onnxruntime",
        ["fp32", "fp16", "int8"],
    )
    assert data["precisions"]["int8"] == {
        "file": "int8.onnx",
        "bytes": (three_precisions / "int8.onnx").stat().st_size,
        "executed": "int8",
        "max_abs_diff": 0.0,
        "agreement": 1.0,
        "accuracy": pytest.approx(5 / 6),
        "accuracy_by_snr": {"0": pytest.approx(2 / 3), "10": 1.0},
        "points_lost": 0.0,
        "problems": [],
    }
