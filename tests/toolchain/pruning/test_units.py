import pytest
from torch import nn

from toolchain.errors import PlanError
from toolchain.models.residual import ResidualUnit
from toolchain.pruning import find_units


def test_units_come_in_execution_order_with_what_may_become_of_them(model, frames):
    units = find_units(model, frames)
    assert [unit.name for unit in units] == [f"stages.{stage}.{unit}" for stage in range(3) for unit in range(3)]
    assert [unit.kind for unit in units] == ["removable"] * 3 + (["reducible"] + ["removable"] * 2) * 2
    assert units[3].reason == "16x64 to 32x32: its shortcut stays"
    assert units[0].params == 2 * 16 * 16 * 3 + 4 * 16
    assert units[0].macs == 2 * 16 * 16 * 3 * 64


def test_a_model_without_units_is_refused_and_shown_the_way(frames):
    with pytest.raises(PlanError, match=r"has no unit that can be dropped: .* found 0; .* channels"):
        find_units(nn.Sequential(nn.Flatten(), nn.Linear(128, 3)), frames)


def unit():
    return ResidualUnit(nn.Conv1d(2, 2, 1), nn.Identity())


def test_a_unit_that_runs_twice_is_refused(frames):
    shared = unit()
    with pytest.raises(PlanError, match="runs 0 more than once"):
        find_units(nn.Sequential(shared, shared), frames)


def test_a_skip_around_two_units_is_no_chain(frames):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = unit(), unit()

        def forward(self, x):
            return self.second(x + self.first(x))

    with pytest.raises(PlanError, match="the input of second is not the output of the unit before it"):
        find_units(Around(), frames)
