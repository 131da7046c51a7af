import torch
import torch.nn.functional as F
from torch import nn

from toolchain.models import create_model
from toolchain.models.resnet2d import PooledShortcut


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
