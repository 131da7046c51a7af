import numpy as np
import torch
from torch import nn

from toolchain.models import create_model


def test_the_estimated_angle_is_turned_back():
    model = create_model("pet-cgdnn", 4, 32, generator=torch.Generator().manual_seed(0)).eval()
    nn.init.zeros_(model.estimate[1].weight)
    rng = np.random.default_rng(0)
    z = rng.normal(size=32) + 1j * rng.normal(size=32)
    turned = z * np.exp(0.7j)
    straight, oblique = (torch.from_numpy(np.stack([x.real, x.imag])[None].astype(np.float32)) for x in (z, turned))
    with torch.no_grad():
        expected = model(straight)
        assert not torch.allclose(model(oblique), expected, atol=1e-4)
        model.estimate[1].bias.fill_(0.7)
        assert torch.allclose(model(oblique), expected, atol=1e-6)
