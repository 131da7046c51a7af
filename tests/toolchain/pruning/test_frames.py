import numpy as np
import pytest
import torch
from torch import nn

from toolchain.errors import PlanError
from toolchain.pruning.frames import as_frames, require_finite


@pytest.mark.parametrize(
    "given",
    [
        np.ones((3, 2, 8), np.float64),
        np.ones((3, 2, 8), np.int16),
        torch.ones(3, 2, 8, requires_grad=True),
        np.ones((8, 2, 3), np.float32).T,
    ],
)
def test_frames_are_float32_in_one_piece(given):
    made = as_frames(given)
    assert made.dtype == np.float32
    assert made.shape == (3, 2, 8)
    assert made.flags.c_contiguous


def test_frames_are_a_copy(frames):
    assert not np.shares_memory(as_frames(frames), frames)
    assert np.array_equal(as_frames(frames), frames)


@pytest.mark.parametrize("shape", [(2, 8), (0, 2, 8), (3, 1, 8), (3, 2, 0), (3, 2, 8, 1), (1, 2, (1 << 20) + 1)])
def test_another_shape_is_refused(shape):
    with pytest.raises(PlanError, match=r"got shape .*, expected \(1 or more, 2, 1 to 1048576\); give float32"):
        as_frames(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "given",
    [
        np.ones((3, 2, 8), complex),
        np.ones((3, 2, 8), bool),
        None,
        "frames",
        [[1, 2], [3]],
        torch.ones(1, 2, 8).bfloat16(),
    ],
)
def test_what_are_no_real_numbers_is_refused(given):
    with pytest.raises(PlanError, match=r"frames: .*; give float32"):
        as_frames(given)


def test_frames_with_nan_are_counted():
    frames = np.zeros((4, 2, 8))
    # The last is more than float32 can hold.
    frames[1, 0, :2], frames[2, 1, 3], frames[3, 0, 0] = np.nan, np.inf, 1e300
    with pytest.raises(PlanError, match="3 of 4 frames hold NaN or infinity"):
        as_frames(frames)


def test_the_tensor_with_nan_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    require_finite(model)
    model[1].running_var[1] = torch.inf
    with pytest.raises(PlanError, match=r"1.running_var of Sequential holds NaN or infinity"):
        require_finite(model)
    model[0].bias.data[0] = torch.nan
    with pytest.raises(PlanError, match=r"0.bias of Sequential holds"):
        require_finite(model)


def test_a_mask_of_minus_infinity_is_no_fault():
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    require_finite(model)
