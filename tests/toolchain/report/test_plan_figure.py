from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from toolchain.pruning import Plan, Unit
from toolchain.report.plan_figure import FATES, plan_figure

KINDS = ("removable", "reducible", "removable", "removable", "fixed")


def plan(**changed) -> Plan:
    """Of five units the first and the last are kept, in two blocks."""
    return replace(
        Plan(
            units=tuple(Unit(f"layers.{index}", kind, "", 10, 10) for index, kind in enumerate(KINDS)),
            boundaries=(0, 2), kept=(0, 4), scores=(1.0, 2.0), scored_by=("synflow", "medoid"),
            candidate_log_flows=((0.5, 1.0), (2.0,)), log_flow=1.0, log_flow_whole=3.0,
            losses=(10.0, 6.0, 2.0, 1.9, 0.0), params=100, macs=100, frame_shape=(2, 128),
            settings={"similarity": "cka", "signature": "row", "blocks": "auto"},
        ),
        **changed,
    )  # fmt: skip


def panels(given: Plan, lowest: float = 0.96):
    matrix = np.full((len(given.units),) * 2, lowest)
    np.fill_diagonal(matrix, 1)
    figure = plan_figure(given, matrix)
    figure.draw_without_rendering()
    return dict(zip(("matrix", "strip", "bar", "loss", "flows"), figure.axes, strict=True))


@pytest.mark.parametrize(("lowest", "starts"), [(0.96, 0.96), (0.987, 0.98), (0.55, 0.5), (-0.37, -0.4), (1.0, 0.99)])
def test_scale_starts_below_the_least_similarity_and_says_so(lowest, starts):
    drawn = panels(plan(), lowest)
    assert drawn["matrix"].images[0].get_clim() == pytest.approx((starts, 1))
    assert drawn["bar"].get_ylabel().replace("\N{MINUS SIGN}", "-").endswith(f"(cka), from {starts:g} to 1")


def test_one_colour_a_fate_in_names_and_strip():
    drawn = panels(plan())
    fates = ["kept", "leaves its shortcut", "dropped", "dropped", "kept"]
    cells = [patch.get_facecolor() for patch in drawn["strip"].patches]
    assert cells == [to_rgba(FATES[fate]) for fate in fates]
    names = {label.get_text(): label.get_color() for label in drawn["matrix"].get_yticklabels()}
    assert names["0  layers.0"] == FATES["kept"]
    assert names["1  layers.1"] == FATES["leaves its shortcut"]
    assert names["2  layers.2"] not in (FATES["kept"], FATES["leaves its shortcut"])


def test_of_many_units_those_that_leave_something_are_named():
    units = tuple(Unit(f"layers.{index}", "removable", "", 1, 1) for index in range(60))
    drawn = panels(plan(units=units, kept=(3, 50), losses=()))
    assert [label.get_text() for label in drawn["matrix"].get_yticklabels()] == ["3  layers.3", "50  layers.50"]


@pytest.mark.parametrize(
    ("changed", "title"),
    [
        ({}, "2 blocks taken; the curve asks for 3, too many for the budget"),
        ({"settings": {"blocks": 2}}, "2 blocks taken"),
        # What rounding leaves of units that are alike asks for nothing.
        ({"losses": (1e-13, 6e-14, 2e-14, 1e-14, 0.0)}, "2 blocks taken"),
    ],
)
def test_fewer_blocks_than_the_curve_asks_for_are_told(changed, title):
    assert panels(plan(**changed))["loss"].get_title() == f"\N{BLACK CIRCLE} {title}"


def test_numbers_of_blocks_and_units_are_whole():
    drawn = panels(plan())
    for axis in (drawn["loss"].xaxis, drawn["strip"].xaxis):
        assert all(tick == int(tick) for tick in axis.get_ticklocs())
    assert [label.get_text() for label in drawn["flows"].get_xticklabels()] == ["1", "2\nmedoid"]


def test_plan_without_blocks_says_so():
    drawn = panels(plan(losses=()))
    assert [text.get_text() for text in drawn["loss"].texts] == ["no blocks were looked for"]
