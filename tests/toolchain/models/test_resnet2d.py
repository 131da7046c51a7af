import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from deploy.runtimes import open_runtime
from toolchain.export import export_onnx
from toolchain.models import create_model
from toolchain.models.resnet2d import PooledShortcut
from toolchain.training import logits_of


def test_a_shortcut_averages_squares_and_adds_silent_channels():
    x = torch.arange(8.0).reshape(1, 1, 2, 4)
    out = PooledShortcut(2)(x)
    assert out.tolist() == [[[[2.5, 4.5]], [[0.0, 0.0]], [[0.0, 0.0]]]]


def test_what_is_left_over_at_the_edge_is_averaged_alone():
    x = torch.tensor([[[[1.0, 3.0, 8.0]]]])
    assert PooledShortcut(0)(x).tolist() == [[[[2.0, 8.0]]]]


def test_where_the_size_halves_the_shortcut_pools_to_the_new_size():
    x = torch.randn(2, 3, 2, 10, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(PooledShortcut(0)(x), F.adaptive_avg_pool2d(x, (1, 5)))


def test_shortcuts_have_no_parameters_and_only_two_are_no_identity():
    model = create_model("resnet56")
    shortcuts = {name: unit.shortcut for name, unit in model.stages.named_modules() if hasattr(unit, "shortcut")}
    pooled = {name: shortcut.added for name, shortcut in shortcuts.items() if not isinstance(shortcut, nn.Identity)}
    assert pooled == {"1.0": 16, "2.0": 32}
    assert not any(list(shortcut.parameters()) for shortcut in shortcuts.values())


def test_openvino_opens_it_too(tmp_path):
    # In the third stage an image of a frame has one row.
    model = create_model("resnet56", 4, 24).eval()
    export_onnx(model, tmp_path / "m.onnx", classes=("a", "b", "c", "d"), length=24)
    frames = np.random.default_rng(0).normal(size=(3, 2, 24)).astype(np.float32)
    with open_runtime("openvino", tmp_path / "m.onnx", batch=3) as runtime:
        got = runtime.run(frames)
    np.testing.assert_allclose(got, logits_of(model, frames).numpy(), rtol=1e-3, atol=1e-4)
