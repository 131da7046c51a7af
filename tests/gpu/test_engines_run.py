"""What only a GPU can show: engines that run. `make test-gpu` on a machine with an NVIDIA GPU and TensorRT."""

import numpy as np
import pytest
import torch

from deploy.bundle import open_bundle
from deploy.bundle_check import check_bundle
from deploy.errors import RuntimeNotFoundError
from deploy.latency import Model, measure
from deploy.layer_profile import profile_layers
from deploy.runtimes import open_runtime, version_here
from toolchain.data import Part, open_dataset, stratified_split
from toolchain.export import Frames, from_model, write_bundle
from toolchain.models import ModelCard, create_model

CLASSES = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")

every_precision = pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx", "onnxruntime-cuda", "onnxruntime-tensorrt"])
def runtime(request):
    try:
        version_here(request.param)
    except RuntimeNotFoundError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture(scope="module")
def bundle(noise_set, tmp_path_factory):
    """A 1-D ResNet-56 that knows nothing, as a bundle of every precision."""
    folder = tmp_path_factory.mktemp("gpu")
    noise_set(folder / "frames.h5", classes=CLASSES, length=128)
    dataset = open_dataset(folder / "frames.h5")
    split = stratified_split(dataset.labels, dataset.snr_db, seed=1, classes=dataset.classes)
    parts = {name: Part(dataset, getattr(split, name)) for name in ("train", "validation", "test")}
    model = create_model("resnet1d56", 5, 128, generator=torch.Generator().manual_seed(1)).eval()
    origin = from_model(model, ModelCard(architecture="resnet1d56", classes=CLASSES, length=128))
    (folder / "bundle").mkdir()
    write_bundle(folder / "bundle", origin, Frames(**parts), ("fp32", "fp16", "int8"), most_drop=0.5)
    return open_bundle(folder / "bundle")


@every_precision
def test_every_precision_answers_as_the_original(runtime, bundle, precision):
    (check,) = check_bundle(bundle, runtime, precisions=[precision])
    assert check.precision == precision
    assert check.agreement > 0.9
    # Of narrower types a point of accuracy is a problem, which a model that knows nothing loses by chance.
    assert precision != "fp32" or check.problems == ()


@every_precision
def test_what_was_executed_is_what_the_file_holds(runtime, bundle, precision):
    with open_runtime(runtime, bundle.path_of(precision), precision=precision) as model:
        model.run(np.zeros((1, 2, 128), np.float32))
        assert model.precision == precision


@every_precision
@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_any_batch_runs(runtime, bundle, batch, precision):
    frames = np.random.default_rng(batch).normal(size=(64, 2, 128)).astype(np.float32)
    path = bundle.path_of(precision)
    with (
        open_runtime(runtime, path, precision=precision) as model,
        open_runtime("onnxruntime", path, precision=precision) as cpu,
    ):
        # The last of 7 is of one frame.
        got = np.concatenate([model.run(frames[first : first + batch]) for first in range(0, 64, batch)])
        expected = cpu.run(frames)
    if precision == "fp32":
        np.testing.assert_allclose(got, expected, atol=1e-3)
    assert got.shape == expected.shape
    assert np.mean(got.argmax(axis=1) == expected.argmax(axis=1)) > 0.9


def test_latency_and_layers_are_measured(runtime, bundle):
    frames = np.random.default_rng(0).normal(size=(8, 2, 128)).astype(np.float32)
    model = Model(path=bundle.path_of("fp16"), runtime=runtime, precision="fp16")
    record = measure({"fp16": model}, frames=frames, processes=2, seconds=0.5).models["fp16"].record
    assert 0 < record.conditions["on_device_p50_ms"] < record.p50_ms
    profile = profile_layers(model, bundle.manifest.precisions["fp16"].layers, frames)
    assert any(row.covers for row in profile.rows)
