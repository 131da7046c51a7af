import numpy as np
import onnx
import pytest

from deploy.noise import noise_frames
from deploy.runtimes import open_runtime
from toolchain.errors import ExportError
from toolchain.export.for_timing import write_for_timing
from toolchain.export.layers import precision_of


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_model_is_written_in_its_precision_and_runs(scaled_network, precision):
    source = scaled_network()
    path = write_for_timing(source, precision, 8)
    assert precision_of(onnx.load(path)) == precision
    assert (path == source) is (precision == "fp32")
    with open_runtime("onnxruntime", path) as runtime:
        assert runtime.run(noise_frames(3, 8, np.random.default_rng(0))).shape == (3, 3)


def test_what_has_no_layer_for_int8_is_refused(written):
    mean = onnx.helper.make_node("ReduceMean", ["iq", "axis"], ["logits"], keepdims=0)
    with pytest.raises(ExportError, match="has no layer that int8 is written for"):
        write_for_timing(written([mean], {"axis": [2]}, classes=2), "int8", 8)
