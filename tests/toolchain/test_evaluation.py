from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from toolchain.data import Dataset, DataUse, from_memory, record_of
from toolchain.errors import DatasetError
from toolchain.evaluation import evaluate_on, part_for
from toolchain.models import ModelCard
from toolchain.report.evaluation_text import confusions_in_words, show_evaluation
from toolchain.report.figures import write_evaluation_figures

CARD = ModelCard(architecture="resnet1d20", classes=("a", "b", "c"), length=4)


class NamesTheFirstSample(nn.Module):
    """Takes the first sample's I for the class; "c" is taken for "b"."""

    def forward(self, iq):
        named = iq[:, 0, 0].long().clamp(max=1)
        return nn.functional.one_hot(named, 3).float()


@pytest.fixture
def dataset():
    """Classes in another order than the model's; at 0 dB half of the frames show another class than their own."""
    labels = np.tile(np.repeat([0, 1, 2], 10), 2)
    snr_db = np.repeat([0.0, 10.0], 30)
    classes = ("c", "b", "a")
    shown = np.array(["abc".index(classes[label]) for label in labels])
    shown[:30][::2] = (shown[:30][::2] + 1) % 2
    iq = np.broadcast_to(shown[:, None, None].astype("f4"), (60, 2, 4)).copy()
    return Dataset(
        source="set.h5", format="test", classes=classes, labels=labels, snr_db=snr_db, length=4,
        sample_rate_hz=None, read=from_memory(iq),
    )  # fmt: skip


def test_figures_are_those_worked_out_by_hand(dataset):
    got = evaluate_on(dataset, DataUse(), NamesTheFirstSample(), CARD, level=0.5)
    # 10 dB: a and b right, c never: 20 of 30. 0 dB: every second frame of a and b is turned: 10 of 30.
    assert got.by_snr == {"0": pytest.approx(1 / 3), "10": pytest.approx(2 / 3)}
    assert got.accuracy == pytest.approx(0.5)
    assert got.sensitivity_db == pytest.approx(5.0)
    assert got.classes == ("a", "b", "c")
    # c at 0 dB: the turned half shows (2 + 1) % 2 = 1, the other half 2, which is named b.
    assert got.confusion.tolist() == [[15, 5, 0], [5, 15, 0], [0, 20, 0]]
    assert (got.part, got.frames) == ("all", 60)
    assert got.to_json()["confusion"] == [[15, 5, 0], [5, 15, 0], [0, 20, 0]]
    assert confusions_in_words(got)[0] == "c is taken for b: 100.0% of its frames"
    assert len(confusions_in_words(got)) == 3


def test_known_set_is_judged_by_its_test_split(dataset):
    use = DataUse(snr_min_db=10, seed=4)
    card = replace(CARD, training={"data": record_of(dataset, use)})
    selected = use.selected(dataset)
    part, name = part_for(dataset, DataUse(), card, None)
    assert name == "test"
    np.testing.assert_array_equal(part.dataset.frames(part.indices), selected.frames(use.split_of(dataset).test))
    assert len(part_for(dataset, DataUse(), card, "train")[0]) == 18
    assert len(part_for(dataset, DataUse(), card, "all")[0]) == 60
    assert len(part_for(dataset, DataUse(classes=("a", "b")), card, "test")[0]) == 4


def test_a_restriction_of_the_training_is_told_and_never_narrows_what_is_asked_for(dataset):
    card = replace(CARD, training={"data": record_of(dataset, DataUse(snr_min_db=10, classes=("a", "b")))})
    got = evaluate_on(dataset, DataUse(), NamesTheFirstSample(), card)
    assert (got.part, got.taken, got.by_snr.keys()) == ("test", "10 dB and the classes a, b", {"10"})
    assert evaluate_on(dataset, DataUse(), NamesTheFirstSample(), card, wanted="all").taken == ""
    assert evaluate_on(dataset, DataUse(snrs_db=(10,)), NamesTheFirstSample(), card).frames == got.frames
    for use, lacking in (
        (DataUse(snr_max_db=0), "no frames at 0 dB, for"),
        (DataUse(snr_min_db=0), "no frames at 0 dB, for"),
        (DataUse(snrs_db=(0, 10)), "no frames at 0 dB, for"),
        (DataUse(classes=("c", "a")), "no frames of c, for"),
        (DataUse(snr_min_db=0, classes=("c",)), "no frames at 0 dB and none of c, for"),
    ):
        with pytest.raises(DatasetError, match=f"its test split has {lacking} the training took 10 dB .*--part all"):
            part_for(dataset, use, card, None)
    # What is said of the file is true of the file.
    with pytest.raises(DatasetError, match="an SNR of 3 dB; the file has 0, 10"):
        part_for(dataset, DataUse(snrs_db=(3,)), card, None)
    with pytest.raises(DatasetError, match="expected different names out of c, b, a"):
        part_for(dataset, DataUse(classes=("d",)), card, None)
    own = replace(dataset, own_test=dataset.snr_db == 10)
    with pytest.raises(DatasetError, match="its own test part has no frames at 0 dB; leave these out"):
        part_for(own, DataUse(snr_min_db=0), CARD, None)


def test_other_set_is_judged_whole_and_has_no_splits(dataset):
    card = replace(CARD, training={"data": record_of(DataUse(snr_min_db=10).selected(dataset), DataUse())})
    assert part_for(dataset, DataUse(), card, None)[1] == "all"
    with pytest.raises(DatasetError, match=r"set\.h5: its test split asked for, and it is not the set"):
        part_for(dataset, DataUse(), card, "test")


def test_set_may_lack_classes_but_not_have_others(dataset):
    fewer = DataUse(classes=("b", "c")).selected(dataset)
    got = evaluate_on(fewer, DataUse(), NamesTheFirstSample(), CARD)
    assert got.confusion.sum(axis=1).tolist() == [0, 20, 20]
    with pytest.raises(DatasetError, match=r"does not know, d; it knows a, b, c\. Leave them out: --classes b,c"):
        evaluate_on(replace(dataset, classes=("c", "b", "d")), DataUse(), NamesTheFirstSample(), CARD)


def test_frames_of_another_length_are_refused(dataset):
    with pytest.raises(DatasetError, match="its frames have 4 samples, and the model takes 8"):
        evaluate_on(dataset, DataUse(), NamesTheFirstSample(), replace(CARD, length=8))


def test_model_is_left_as_it_was(dataset):
    model = NamesTheFirstSample().train()
    evaluate_on(dataset, DataUse(), model, CARD)
    assert model.training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (0.5, "5.00 dB, where the accuracy crosses 50%"),
        (0.9, "not reached: at most 67% (at 10 dB); 90% is asked for"),
        (0.67, "not reached: at most 66.7% (at 10 dB); 67% is asked for"),
        (0.2, "below the lowest SNR: at least 33% everywhere; 20% is asked for"),
    ],
)
def test_terminal_shows_figures_and_pictures_are_drawn(dataset, level, said, tmp_path, capsys):
    got = evaluate_on(dataset, DataUse(), NamesTheFirstSample(), CARD, level=level)
    show_evaluation(Console(width=100), got, source="[set].h5")
    out = capsys.readouterr().out
    assert said in out
    assert "accuracy     50.00%" in out
    assert "66.7%" in out
    write_evaluation_figures(tmp_path / "plots", got, name="model")
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"accuracy.png", "confusion.png"}


def test_accuracy_that_falls_again_is_told(dataset, capsys):
    got = evaluate_on(dataset, DataUse(), NamesTheFirstSample(), CARD, level=0.6)
    falls = replace(got, by_snr={"-4": 0.1, "0": 0.7, "10": 0.5}, sensitivity_db=None, frames=1)
    show_evaluation(Console(width=100), falls, source="set.h5")
    out = capsys.readouterr().out
    assert "not held: 70% at 0 dB, but 50% at 10 dB, the highest SNR; 60% is asked for" in out
    assert "1 frame of set.h5" in out
