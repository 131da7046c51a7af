from __future__ import annotations

import numpy as np
import pytest

from toolchain.report.drawing import filled, readable, sheet, tick_snrs


def test_letters_without_a_glyph_are_spelt_out():
    assert readable("8PSK $é") == "8PSK $é"
    assert readable("制") == "<5236>"
    assert readable("a" * 40) == "a" * 27 + "…"


@pytest.mark.parametrize(
    ("snrs", "most", "ticks"),
    [
        ([20, 0, 10, 10], 26, [0, 10, 20]),
        ([4], 26, [4]),
        (range(-20, 20, 2), 7, [-20, -14, -8, -2, 4, 10, 16]),
        ([0, 0.1, 20], 7, [0, 20]),
    ],
)
def test_ticks_are_snrs_that_there_are_and_lie_apart(snrs, most, ticks):
    axes = sheet(4, 3).add_subplot()
    tick_snrs(axes, snrs, most=most)
    assert axes.get_xticks().tolist() == ticks


def test_lines_are_wrapped_each_by_itself():
    assert filled("short\n" + "word " * 20, width=2, points=10).splitlines()[:2] == [
        "short",
        "word word word word word",
    ]
    assert max(map(len, filled("word " * 20, width=2, points=10).splitlines())) <= 27


def test_nothing_touches_the_edge():
    figure = sheet(3, 2)
    axes = figure.add_subplot()
    axes.set_ylabel("a name")
    figure.draw_without_rendering()
    left = axes.get_tightbbox().x0 / figure.dpi
    assert np.isclose(left, 0.08, atol=0.02)
