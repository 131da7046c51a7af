from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from toolchain.report.inspection_figures import frames_per_cell, measured_snrs


def measured(labels_db, measured_db, classes):
    snr = SimpleNamespace(labels_db=np.asarray(labels_db), measured_db=np.asarray(measured_db))
    return measured_snrs(SimpleNamespace(measured_snr=snr, classes=classes))


def test_snr_lines_are_what_is_measured_less_the_label():
    figure = measured([-4.0, 0.0], [[np.nan, 0.5], [np.nan, np.nan], [-9.0, 2.0]], ("a", "b", "c"))
    lines = {axes.get_title(): np.asarray(axes.lines[-1].get_ydata()).tolist() for axes in figure.axes}
    assert lines == {"a": [pytest.approx(np.nan, nan_ok=True), 0.5], "c": [-5, 2]}
    for axes in figure.axes:
        assert axes.get_ylim()[0] < -5
        assert axes.get_ylim()[1] > 5
        assert axes.get_xticks().tolist() == [-4, 0]
    assert "what is missing has no estimate" in figure.get_suptitle().replace("\n", " ")


def test_reason_for_missing_points_is_told_only_where_some_are():
    assert "missing" not in measured([0.0], [[0.5]], ("a",)).get_suptitle()


def test_of_many_classes_those_furthest_off_are_drawn():
    off = np.arange(70.0)[:, None]
    figure = measured([0.0], off, tuple(f"class {number}" for number in range(70)))
    assert [axes.get_title() for axes in figure.axes] == [f"class {number}" for number in range(6, 70)]
    assert "the 64 of 70 classes" in figure.get_suptitle()


def cells(counts, snrs_db=(-2.0, 10.0)):
    counts = np.asarray(counts)
    classes = ("a", "b")[: len(counts)]
    return frames_per_cell(
        SimpleNamespace(frames=int(counts.sum()), counts=counts, classes=classes, snr_db=snrs_db[: counts.shape[1]])
    )


def test_cells_show_their_counts_in_whole_frames():
    axes, bar = cells([[3, 0], [12_000, 1]]).axes
    assert [text.get_text() for text in axes.texts] == ["3", "0", "12k", "1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["\N{MINUS SIGN}2", "10"]
    assert all(tick == int(tick) for tick in bar.get_yticks())


def test_even_cells_have_words_in_place_of_a_scale():
    (axes,) = cells([[40, 40], [40, 40]]).axes
    assert axes.get_title() == "40 frames of every class at every SNR; 160 frames in all"
    assert {text.get_color() for text in axes.texts} == {"k"}


def test_single_frame_is_singular():
    assert cells([[1]]).axes[0].get_title() == "1 frame of every class at every SNR; 1 frame in all"
