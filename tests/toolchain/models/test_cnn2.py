import torch

from toolchain.models import create_model


def test_convolutions_keep_the_size_and_poolings_halve_the_length_rounding_down():
    x, shapes = torch.zeros(1, 1, 2, 45), []
    for piece in create_model("cnn2", 4, 45).eval().features:
        x = piece(x)
        shapes.append(tuple(x.shape[1:]))
    convolved = shapes[0::3]
    assert convolved == [(256, 2, 45), (128, 2, 22), (64, 2, 11), (64, 2, 5)]
    assert shapes[2::3] == [(width, 2, length // 2) for width, _, length in convolved]
    assert shapes[1::3] == shapes[2::3]
