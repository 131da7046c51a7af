"""From a trained model to what a device opens: ONNX in three precisions, and the bundle around it."""

from toolchain.export.bundle import REFERENCE, Frames, Scored, score_on_test, write_bundle
from toolchain.export.half import to_half
from toolchain.export.int8 import to_int8
from toolchain.export.layers import layers_of
from toolchain.export.onnx_file import OPSET, export_onnx
from toolchain.export.origin import Origin, from_model, from_onnx
from toolchain.export.parity import parity_of, require_parity
from toolchain.export.trtexec import FILES as TRTEXEC_FILES

__all__ = [
    "OPSET",
    "REFERENCE",
    "TRTEXEC_FILES",
    "Frames",
    "Origin",
    "Scored",
    "export_onnx",
    "from_model",
    "from_onnx",
    "layers_of",
    "parity_of",
    "require_parity",
    "score_on_test",
    "to_half",
    "to_int8",
    "write_bundle",
]
