import numpy as np
import pytest

from toolchain.errors import PlanError
from toolchain.pruning import Budget, units_to_keep
from toolchain.pruning.budget import Room, ask_for_less, count_to_keep


@pytest.mark.parametrize(
    "asked",
    [
        {"keep": True},
        {"keep": "3"},
        {"keep": float("nan")},
        {"keep": [3]},
        {"keep": -0.5},
        {"macs_cut": "0.5"},
        {"macs_cut": float("nan")},
        {"macs_cut": True},
        {"macs_cut": 1},
        {"params_cut": float("inf")},
        {"params_cut": 0.0},
    ],
)
def test_a_budget_that_is_no_number_in_its_range_is_refused(asked):
    ((name, _),) = asked.items()
    with pytest.raises(PlanError, match=f"{name} = .*: expected a fraction over 0"):
        Budget(**asked)


def test_numbers_of_numpy_become_pythons():
    assert type(Budget(keep=np.int64(3)).keep) is int
    assert type(Budget(keep=np.float32(0.5)).keep) is float
    assert type(Budget(macs_cut=np.float64(0.5)).macs_cut) is float
    assert units_to_keep(np.float32(0.25), 27) == 7


def test_too_few_units_are_refused_with_what_keeps_more():
    with pytest.raises(
        PlanError, match="keep = 2 keeps 2 of 9 units, but 4 are fixed and always kept; expected 4 to 9"
    ):
        count_to_keep(2, 9, fixed=4, least=4)
    with pytest.raises(
        PlanError, match="but each of 3 blocks keeps one at least, and 1 are fixed and always kept; expected 3 to 9"
    ):
        count_to_keep(2, 9, fixed=1, least=3, blocks=3)


def test_nothing_is_not_told_as_the_nearest():
    assert ask_for_less("macs_cut", 0.00001) == ""


def test_room_is_what_a_cut_leaves():
    room = Room(16.0, (1.0, 1.0, 0.0, 3.0, 3.0), 0.25)
    assert room.removed([]) == 0.5
    assert room.removed([0, 3]) == 0.25
    assert room.fits([0, 3])
    assert not room.fits([3, 4])
    assert room.left([0]) == pytest.approx(3.0)
    assert room.cheapest([4, 3, 1, 0, 2], 3) == [2, 0, 1]
