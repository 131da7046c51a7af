"""Ticks that say whole numbers."""

import pytest

from toolchain.report.comparison.axes import log_axis, log_ticks, span


def test_ticks_are_few_on_a_wide_axis_and_many_on_a_narrow_one():
    assert log_ticks(0.03, 3.0) == [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    assert log_ticks(0.021, 0.09) == [0.02, 0.03, 0.04, 0.06, 0.08, 0.1]
    assert log_ticks(1.1, 1.5) == [1.0, 1.2, 1.4, 1.6]
    # Between two ticks: these two.
    assert log_ticks(5.1, 5.2) == [5.0, 6.0]
    assert log_ticks(2.0, 2.0) == [1.8, 2.0, 2.5]


def test_large_numbers_are_said_by_their_thousands():
    axis = log_axis("MACs", [600_000, 12_000_000], multiples=True)
    assert axis["ticktext"] == ["400k", "600k", "800k", "1M", "1.5M", "2M", "3M", "4M", "6M", "8M", "10M", "15M"]
    assert axis["type"] == "log"
    assert log_axis("ms", [0.1, 0.2])["ticktext"][:3] == ["0.09", "0.1", "0.12"]


def test_an_axis_of_nothing_has_no_ticks_of_its_own():
    assert log_axis("ms", []) == {"title": {"text": "ms"}, "type": "log"}


def test_an_axis_has_room_for_a_bar_of_the_usual_length():
    assert span([1.0, 2.0], [0.1, 0.1, 50.0], room=0.0) == pytest.approx((0.86, 2.14))
    assert span([1.0], [], room=0.5) == (0.5, 1.5)
