from __future__ import annotations

import numpy as np
import pytest

from toolchain.evaluation import Evaluation
from toolchain.report import figures
from toolchain.report.figures import accuracy_by_snr, confusions, write_evaluation_figures


def model(snrs) -> dict:
    return {"accuracy": 0.5, "accuracy_by_snr": {f"{snr:g}": 0.5 for snr in snrs}, "sensitivity_db": None}


@pytest.mark.parametrize("snrs", [range(-20, 20, 2), range(-20, 32, 2), (-3, 0, 2.5)])
def test_ticks_are_the_sets_own_snrs(snrs):
    axes = accuracy_by_snr({"a": model(snrs)}, 0.6).axes[0]
    assert axes.get_xticks().tolist() == list(snrs)
    assert axes.get_xticklabels()[0].get_text() == f"\N{MINUS SIGN}{-snrs[0]}"


def test_many_snrs_have_ticks_that_can_be_read():
    assert len(accuracy_by_snr({"a": model(range(100))}, 0.6).axes[0].get_xticks()) < 26


def test_legend_is_outside_the_panel():
    figure = accuracy_by_snr({"a": model((0, 10))}, 0.6)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().y0 > figure.axes[0].get_window_extent().y1


def test_confusion_says_its_frames_and_snrs():
    counts = [[1, 2], [3, 4]]
    figure = confusions({"original": counts, "pruned": counts}, ("BPSK", "$x^{$"), (-20.0, 0.0, 18.0))
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["BPSK (3)", "$x^{$ (7)"]
    assert figure.get_supxlabel().endswith("3 SNRs mixed, \N{MINUS SIGN}20 to 18 dB")
    assert confusions({"a": counts}, ("a", "b"), (10.0,)).get_supxlabel().endswith("at 10 dB")
    figure.draw_without_rendering()


def test_confusion_of_one_model_says_accuracy_and_part(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.update({path.name: figure}))
    evaluation = Evaluation(
        part="test", frames=40, classes=("a", "b"), accuracy=0.625, by_snr={"0": 0.625},
        confusion=np.array([[15, 5], [10, 10]]), sensitivity_db=None, level=0.6,
    )  # fmt: skip
    write_evaluation_figures(tmp_path, evaluation, name="my $model$")
    title = drawn["confusion.png"].axes[0].title
    assert title.get_text() == "my $model$\naccuracy 62.5% on the test split"
    assert not title.get_parse_math()
