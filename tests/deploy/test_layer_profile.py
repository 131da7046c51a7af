import json

import numpy as np
import pytest

from deploy.bundle import Layer
from deploy.latency import Model
from deploy.layer_profile import ON_THE_PROCESSOR, profile_layers, rows_of
from deploy.runtimes import RUNTIMES

# 1e9 products a second, a million a millisecond; 2e9 bytes a second, two million a millisecond.
PEAKS = {"gmacs_per_s": 1.0, "gbytes_per_s": 2.0}


def layer(name, *, macs=0, bytes_in=0, bytes_out=0, bytes_weights=0):
    return Layer(name=name, op="Conv", macs=macs, bytes_in=bytes_in, bytes_out=bytes_out, bytes_weights=bytes_weights)


def ran(name, p50_ms, *covers):
    return {"name": name, "op": "kernel", "covers": list(covers), "p50_ms": p50_ms}


def said(*layers, precision="fp32"):
    return {"layers": list(layers), "peaks": PEAKS, "precision": precision, "runtime_version": "1.2"}


def test_fused_layers_have_the_products_of_all_and_the_bytes_of_the_ends():
    known = [
        layer("conv", macs=1000, bytes_in=10, bytes_out=20, bytes_weights=3),
        layer("add", macs=0, bytes_in=40, bytes_out=20),
        layer("relu", macs=5, bytes_in=20, bytes_out=7, bytes_weights=1),
    ]
    profile = rows_of(said(ran("conv+relu", 0.5, "conv", "add", "relu")), known, batch=1, runtime="onnxruntime")
    (row,) = profile.rows
    assert (row.name, row.op, row.covers, row.p50_ms) == ("conv+relu", "kernel", ("conv", "add", "relu"), 0.5)
    assert row.macs == 1005
    # Weights 3 + 1; the first reads 10, the last writes 7.
    assert row.size_bytes == 21
    assert (profile.precision, profile.runtime_version, profile.least_ms) == ("fp32", "1.2", 0.5)


def test_products_and_values_are_of_the_batch_and_weights_are_read_once():
    (row,) = rows_of(
        said(ran("c", 1.0, "c")),
        [layer("c", macs=100, bytes_in=8, bytes_out=4, bytes_weights=50)],
        batch=4,
        runtime="openvino",
    ).rows
    assert (row.macs, row.size_bytes) == (400, 4 * 12 + 50)


def test_names_that_the_file_does_not_have_are_left_out():
    rows = rows_of(
        said(ran("reorder", 0.1, "iq_reorder"), ran("c", 0.1, "", "c")),
        [layer("c", macs=1)],
        batch=1,
        runtime="onnxruntime",
    ).rows
    assert [row.covers for row in rows] == [(), ("c",)]
    assert (rows[0].macs, rows[0].size_bytes) == (None, None)


@pytest.mark.parametrize(
    ("first", "last", "size_bytes"),
    [
        # What lies between two that run as one is not written down, so that nobody needs to know it.
        ({"bytes_out": None}, {"bytes_in": None}, 1 + 8),
        ({"bytes_in": None}, {}, None),
        ({}, {"bytes_out": None}, None),
        ({}, {"bytes_weights": None}, None),
    ],
)
def test_bytes_of_a_shape_that_cannot_be_told_are_not_known(first, last, size_bytes):
    known = [
        layer("a", **{"macs": 5, "bytes_in": 1, "bytes_out": 2, **first}),
        layer("b", **{"macs": 6, "bytes_in": 4, "bytes_out": 8, **last}),
    ]
    (row,) = rows_of(said(ran("a+b", 0.1, "a", "b")), known, batch=1, runtime="onnxruntime").rows
    assert (row.macs, row.size_bytes) == (11, size_bytes)


def test_products_that_nobody_knows_leave_the_bytes_known():
    known = [layer("a", macs=5, bytes_in=1, bytes_out=2), layer("loop", macs=None, bytes_in=2, bytes_out=3)]
    (row,) = rows_of(said(ran("a+loop", 0.1, "a", "loop")), known, batch=1, runtime="onnxruntime").rows
    assert (row.macs, row.size_bytes) == (None, 4)


@pytest.mark.parametrize(
    ("macs", "size_bytes", "bound"),
    [
        # At the peaks: 0.4 ms of products, 0.1 ms of bytes; the quickest layer of all takes 0.2 ms.
        (400_000, 200_000, "arithmetic"),
        (200_000, 1_000_000, "memory"),
        (100_000, 200_000, "launching"),
        (0, 0, "launching"),
    ],
)
def test_layer_is_bound_by_what_takes_longest_at_the_peaks(macs, size_bytes, bound):
    layers = said(ran("quick", 0.2), ran("c", 0.9, "c"))
    rows = rows_of(layers, [layer("c", macs=macs, bytes_in=size_bytes)], batch=1, runtime="onnxruntime").rows
    assert rows[1].bound == bound


@pytest.mark.parametrize(
    ("runtime", "precision", "macs", "size_bytes", "p50_ms", "bound"),
    [
        # The quickest layer takes 0.2 ms. What float32 does at best says nothing of what int8 or bfloat16 does: the bytes,
        # 0.5 ms of them, explain a layer of 0.9 ms, and do not explain one of 1.1.
        ("openvino", "int8", 9_000_000, 1_000_000, 0.9, "memory"),
        ("openvino", "int8", 9_000_000, 1_000_000, 1.1, None),
        ("openvino-bf16", "bf16", 9_000_000, 1_000_000, 1.1, None),
        ("openvino", "fp32", 9_000_000, 1_000_000, 1.1, "arithmetic"),
        ("onnxruntime", "int8", 9_000_000, 0, 0.4, "launching"),
        # Of a GPU neither peak is known.
        ("onnxruntime-cuda", "fp32", 9_000_000, 9_000_000, 0.4, "launching"),
        ("tensorrt", "fp32", 9_000_000, 9_000_000, 0.5, None),
        ("tensorrt-rtx", "fp16", 9_000_000, 9_000_000, 0.3, "launching"),
        # Nobody knows the products, or the bytes.
        ("onnxruntime", "fp32", None, 1_000_000, 0.9, "memory"),
        ("onnxruntime", "fp32", None, 1_000_000, 1.1, None),
        ("onnxruntime", "fp32", 400_000, None, 0.7, "arithmetic"),
        ("onnxruntime", "fp32", 400_000, None, 0.9, None),
        ("onnxruntime", "fp32", None, None, 0.3, "launching"),
        ("onnxruntime", "fp32", None, None, 0.5, None),
    ],
)
def test_peaks_count_only_for_what_they_were_measured_with(runtime, precision, macs, size_bytes, p50_ms, bound):
    layers = said(ran("quick", 0.2), ran("c", p50_ms, "c"), precision=precision)
    profile = rows_of(layers, [layer("c", macs=macs, bytes_in=size_bytes)], batch=1, runtime=runtime)
    assert profile.rows[1].bound == bound


@pytest.mark.parametrize(
    ("runtime", "precision", "products", "copied"),
    [
        ("onnxruntime", "fp32", 1.0, 2.0),
        ("openvino", "int8", None, 2.0),
        ("openvino-bf16", "bf16", None, 2.0),
        ("tensorrt", "fp32", None, None),
    ],
)
def test_peaks_that_do_not_count_are_not_told(runtime, precision, products, copied):
    found = rows_of(said(precision=precision), [], batch=1, runtime=runtime).peaks
    assert found == {"fp32_gmacs_per_s": products, "cache_copy_gbytes_per_s": copied}


def test_runtimes_on_the_processor_are_all_there():
    assert set(RUNTIMES) - ON_THE_PROCESSOR == {"onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx"}
    assert set(RUNTIMES) >= ON_THE_PROCESSOR


def test_rows_stay_in_the_order_in_which_they_ran():
    rows = rows_of(said(ran("b", 0.2), ran("a", 0.1), ran("c", 0.3)), [], batch=1, runtime="onnxruntime").rows
    assert [row.name for row in rows] == ["b", "a", "c"]


def test_runtime_that_tells_no_layers_has_none():
    profile = rows_of(said(), [layer("c")], batch=1, runtime="onnxruntime")
    assert (profile.rows, profile.least_ms) == ((), 0.0)


def test_json_has_every_row():
    profile = rows_of(said(ran("c", 0.25, "c")), [layer("c", macs=7, bytes_in=1)], batch=1, runtime="onnxruntime")
    assert json.loads(json.dumps(profile.to_json())) == {
        "runtime_version": "1.2",
        "precision": "fp32",
        "peaks": {"fp32_gmacs_per_s": 1.0, "cache_copy_gbytes_per_s": 2.0},
        "least_ms": 0.25,
        "layers": [
            {
                "name": "c",
                "op": "kernel",
                "covers": ["c"],
                "p50_ms": 0.25,
                "macs": 7,
                "size_bytes": 1,
                "bound": "launching",
            }
        ],
    }


def test_layers_of_a_real_model_are_found_in_the_manifest(mean_model):
    # A convolution of 2 by 2 channels and 3 taps at each of 32 samples, in float32.
    conv = layer("conv0", macs=2 * 2 * 3 * 32, bytes_in=256, bytes_out=256, bytes_weights=48)
    head = layer("to_logits", macs=6, bytes_in=8, bytes_out=12, bytes_weights=24)
    frames = np.zeros((2, 2, 32), dtype=np.float32)
    profile = profile_layers(Model(path=mean_model(depth=1)), [conv, head], frames, batch=2)
    rows = {row.covers: row for row in profile.rows}
    assert (rows["conv0",].macs, rows["conv0",].size_bytes) == (2 * 384, 2 * 512 + 48)
    assert (rows["to_logits",].macs, rows["to_logits",].size_bytes) == (2 * 6, 2 * 20 + 24)
    assert [row.op for row in profile.rows] == ["Conv", "ReduceMean", "MatMul"]
    assert all(value > 0 for value in profile.peaks.values())
