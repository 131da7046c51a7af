import numpy as np
import pytest

from toolchain.errors import PlanError
from toolchain.pruning import Budget, units_to_keep
from toolchain.pruning.budget import Savings, ask_for_less, count_to_keep, most_kept


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


def test_the_nearest_that_is_told_can_be_had():
    savings = Savings(7.0, (1.0, 1.0, 1.0), (0, 1, 2))

    def shares(keep):
        return [[(range(3), keep)]]

    def kept_in(_block, quota):
        return range(quota)

    with pytest.raises(
        PlanError, match=r"keeps 1 of 3 units and removes 28.57%: ask for at most macs_cut = 0.2857, or pray"
    ):
        most_kept(savings, 0.5, 1, shares, kept_in, what="macs_cut", or_else="pray")
    assert most_kept(savings, 0.2857, 1, shares, kept_in, what="macs_cut") == [(range(3), 1)]


def test_nothing_is_not_told_as_the_nearest():
    assert ask_for_less("macs_cut", 0.00001) == ""


def test_what_a_budget_leaves_over_is_spent_on_units_that_still_fit():
    # Three units of 1 and three of 3, of 16. Shared out evenly, (2, 1) saves 1 + 6 = 7 and (2, 2) saves 1 + 3 = 4.
    savings = Savings(16.0, (1.0, 1.0, 1.0, 3.0, 3.0, 3.0), tuple(range(6)))
    cheap, dear = range(3), range(3, 6)

    def shares(keep):
        return [[(cheap, (keep + 1) // 2), (dear, keep // 2)]]

    def kept_in(block, quota):
        return block[:quota]

    def shared(cut):
        return most_kept(savings, cut, 2, shares, kept_in, what="macs_cut")

    assert shared(7 / 16) == [(cheap, 2), (dear, 1)]
    assert shared(6 / 16) == [(cheap, 3), (dear, 1)]
    # The dear block is the furthest below its share, and what it costs fits.
    assert shared(4 / 16) == [(cheap, 2), (dear, 2)]
    assert shared(3 / 16) == [(cheap, 3), (dear, 2)]
