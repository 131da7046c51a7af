"""Every model of the zoo as TensorRT engines, built for real, ahead of time: TensorRT-RTX needs no GPU for that."""

import numpy as np
import pytest
import torch

from deploy.runtimes.tensorrt import build_engine
from toolchain.export import export_onnx, to_half
from toolchain.export.int8 import quantisable, quantise
from toolchain.models import ARCHITECTURES, create_model

# A model with recurrent layers and convolutions; the others are slow to export.
QUICK = ("pet-cgdnn",)


def settled(model, frames):
    """The model with normalisations that have seen ``frames``: fresh ones let a hundred layers grow beyond half precision."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of all that was seen
    with torch.no_grad():
        model.train()(torch.from_numpy(frames))
    return model.eval()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ARCHITECTURES]
)
def test_engines_of_every_model_are_built_in_every_precision(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    noise = np.random.default_rng(0).normal(size=(16, 2, 128)).astype(np.float32)
    model = settled(create_model(name, generator=torch.Generator().manual_seed(0)), noise)
    files = {precision: tmp_path / f"{precision}.onnx" for precision in ("fp32", "fp16", "int8")}
    export_onnx(model, files["fp32"], classes=[str(number) for number in range(11)], length=128)
    to_half(files["fp32"], files["fp16"], noise)
    quantise(files["fp32"], files["int8"], noise, quantisable(files["fp32"]))
    engines = {build_engine(path, flavour="tensorrt-rtx") for path in files.values()}
    assert len(engines) == 3
    assert all(engine.parent == tmp_path / "engines" and engine.stat().st_size for engine in engines)
