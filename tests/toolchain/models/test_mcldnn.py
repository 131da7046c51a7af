import torch

from toolchain.models import create_model


def test_each_channel_alone_is_filtered_by_what_came_before():
    model = create_model("mcldnn", 4, 32, generator=torch.Generator().manual_seed(0)).eval()
    alone = torch.zeros(1, 1, 32)
    alone[..., 20] = 1.0
    for part in (model.only_i, model.only_q):
        changed = (part(alone) != part(torch.zeros(1, 1, 32))).any(dim=1)[0].nonzero().flatten()
        assert changed.min() >= 20
        assert changed.max() <= 27


def test_all_channels_keep_the_length_until_the_last_convolution():
    model = create_model("mcldnn", 4, 32).eval()
    assert model.together(torch.zeros(1, 1, 2, 32)).shape == (1, 50, 2, 32)
    assert model.apart(torch.zeros(1, 50, 2, 32)).shape == (1, 50, 2, 32)
    assert model.all(torch.zeros(1, 100, 2, 32)).shape == (1, 100, 1, 28)
