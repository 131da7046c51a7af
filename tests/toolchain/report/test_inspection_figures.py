from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from toolchain.report.inspection_figures import frames_per_cell, measured_snrs


def test_snr_lines_are_what_is_measured_less_the_label():
    measured = np.array([[np.nan, 0.5], [np.nan, np.nan], [-9.0, 2.0]])
    snr = SimpleNamespace(labels_db=np.array([-4.0, 0.0]), measured_db=measured)
    axes = measured_snrs(SimpleNamespace(measured_snr=snr, classes=("a", "b", "c"))).axes[0]
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines == {
        "measured = label": [0, 0],
        "a": [pytest.approx(np.nan, nan_ok=True), 0.5],
        "c": [-5, 2],
    }
    assert axes.get_ylim()[0] < -5
    assert axes.get_ylim()[1] > 5


def test_cells_show_their_counts_in_whole_frames():
    counts = np.array([[3, 0], [12_000, 1]])
    figure = frames_per_cell(SimpleNamespace(frames=12_004, counts=counts, classes=("a", "b"), snr_db=(-2.0, 10.0)))
    axes, bar = figure.axes
    assert [text.get_text() for text in axes.texts] == ["3", "0", "12k", "1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["\N{MINUS SIGN}2", "10"]
    assert all(tick == int(tick) for tick in bar.get_yticks())


def test_single_frame_is_singular():
    figure = frames_per_cell(SimpleNamespace(frames=1, counts=np.array([[1]]), classes=("a",), snr_db=(0.0,)))
    assert figure.axes[0].get_title() == "1 frame by class and SNR"


def test_no_two_classes_share_colour_and_line():
    snr = SimpleNamespace(labels_db=np.array([0.0, 2.0]), measured_db=np.zeros((60, 2)))
    classes = tuple(f"class {number}" for number in range(60))
    lines = measured_snrs(SimpleNamespace(measured_snr=snr, classes=classes)).axes[0].lines
    drawn = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}
    assert len(drawn) == len(lines) == 61
