import torch
from torch import nn

from toolchain.models.normalisation import FrameNorm


def trained(norm):
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        norm(torch.randn(8, 4, generator=generator))
    return norm


def test_a_frame_alone_is_normalised_by_the_running_statistics_and_leaves_them():
    norm = trained(FrameNorm(4))
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    frame = torch.ones(1, 4)
    assert torch.equal(norm.train()(frame), norm.eval()(frame))
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())


def test_more_frames_are_normalised_as_pytorch_does():
    frames = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    ours, theirs = trained(FrameNorm(4)), trained(nn.BatchNorm1d(4))
    for training in (True, False):
        assert torch.equal(ours.train(training)(frames), theirs.train(training)(frames))
