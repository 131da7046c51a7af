import numpy as np
import pytest

from deploy.bundle import open_bundle, write_manifest
from deploy.bundle_check import check_bundle
from deploy.errors import BundleError, RuntimeRefusedError


def test_every_file_is_opened_and_told_with_the_precision_executed(tmp_path, mean_model, int8_model, manifest_for):
    folder = mean_model("b/fp32.onnx", depth=1).parent
    (folder / "int8.onnx").write_bytes(int8_model.read_bytes())
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx", "int8": "int8.onnx"}))
    checks = check_bundle(open_bundle(folder), "onnxruntime")
    assert [(check.precision, check.path.name, check.executed) for check in checks] == [
        ("fp32", "fp32.onnx", "fp32"),
        ("int8", "int8.onnx", "int8"),
    ]
    assert checks[0].size_bytes == (folder / "fp32.onnx").stat().st_size


def test_logits_for_another_number_of_classes_are_told(bundle_folder):
    bundle = open_bundle(bundle_folder(classes=("a", "b")))
    with pytest.raises(
        BundleError, match=r"4 frames gave logits \(4, 3\), expected \(4, 2\): the manifest names 2 classes"
    ):
        check_bundle(bundle, "onnxruntime")


def test_logits_that_are_not_finite_are_told(mean_model, manifest_for):
    folder = mean_model("b/fp32.onnx", head=np.full((2, 3), np.inf, dtype=np.float32)).parent
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    with pytest.raises(BundleError, match="not finite"):
        check_bundle(open_bundle(folder), "onnxruntime")


def test_model_that_was_exported_for_one_frame_at_a_time_is_told(mean_model, manifest_for):
    folder = mean_model("b/fp32.onnx", batch=1).parent
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    with pytest.raises(RuntimeRefusedError, match=r"expected float32 \(1, 2, 32\)"):
        check_bundle(open_bundle(folder), "onnxruntime")
