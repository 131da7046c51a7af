import numpy as np
import torch

from toolchain.models import create_model
from toolchain.models.signet import SlidingSquare


def test_the_matrix_holds_the_filtered_products_of_every_two_windows():
    rng = np.random.default_rng(0)
    iq = rng.normal(size=(2, 5)).astype(np.float32)
    square = SlidingSquare()
    got = square(torch.from_numpy(iq)[None])[0].detach().numpy()
    padded = np.pad(iq, ((0, 0), (1, 1)))
    for channel in range(2):
        weights = square.filter[channel].detach().numpy()
        for t in range(5):
            for u in range(5):
                expected = padded[channel, t : t + 3] @ weights @ padded[channel, u : u + 3]
                assert np.isclose(got[channel, t, u], expected, atol=1e-5)


def test_signet_has_resnet50s_sixteen_units():
    model = create_model("signet50")
    assert [len(stage) for stage in model.stages] == [3, 4, 6, 3]
