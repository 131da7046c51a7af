"""The names of precisions and runtimes, which records, files and command lines share."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# What a runtime may make of them: bfloat16 is in no file, and some processors have it.
Executed = Literal["fp32", "fp16", "bf16", "int8"]
RuntimeName = Literal[
    "onnxruntime",
    "onnxruntime-cuda",
    "onnxruntime-tensorrt",
    "openvino",
    "openvino-bf16",
    "tensorrt",
    "tensorrt-rtx",
]
RUNTIME_NAMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
# Of devices whose system is too old for thinwave: NVIDIA's own tool measures there, and its export is read.
TRTEXEC: Literal["trtexec"] = "trtexec"
MeasuredWith = RuntimeName | Literal["trtexec"]
