"""What all methods get alike, and which frames are seen by whom."""

from dataclasses import replace

import pytest
import torch

from toolchain.comparison import pruning, training
from toolchain.comparison.frames import FramesAsked, frames_of
from toolchain.comparison.grid import Asked
from toolchain.comparison.pruning import PruneAsked, prune
from toolchain.comparison.recipe import ComparedData
from toolchain.comparison.training import FinetuneAsked, Fitting, OriginalAsked, finetune, train_original
from toolchain.models import load_model
from toolchain.recipe import ChoicesTable
from toolchain.stages.run import use_asked
from toolchain.training import FitSettings, Hardware

DATA = ComparedData(name="d", frames_per_cell=8, snr_min_db=10, snr_max_db=10)
ASKED = FramesAsked(table=DATA, seed=1, use=use_asked(DATA, 1))
FITTING = Fitting(
    frames=ASKED,
    settings=FitSettings(steps=2, batch=16, learning_rate=1e-3, weight_decay=0.0, distillation=0.5),
    hardware=Hardware(accelerator="cpu"),
)


class Unseen:
    """Frames that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"the test split was looked at, for its {name}")

    def __len__(self):
        raise AssertionError("the test split was looked at")


@pytest.fixture
def original(tmp_path):
    """A model that was trained a little, in a file."""
    return train_original(OriginalAsked(fitting=FITTING, architecture="resnet1d20"), {}, tmp_path, lambda *told: None)[
        1
    ]


@pytest.fixture
def unseen(monkeypatch):
    """Hide the test split, but from what judges."""
    hidden = replace(frames_of(ASKED), test=Unseen())
    monkeypatch.setattr(pruning, "frames_of", lambda asked: hidden)
    monkeypatch.setattr(training, "frames_of", lambda asked: hidden)
    monkeypatch.setattr(training, "judged", lambda model, frames, hardware: {})


@pytest.mark.parametrize("method", ["layers", "lcp", "taylor", "sfp"])
def test_test_frames_decide_nothing_and_all_learn_from_the_original(method, original, unseen, monkeypatch, tmp_path):
    fits = []
    fit = training.fit

    def told(model, *parts, teacher, **more):
        fits.append((parts, teacher))
        return fit(model, *parts, teacher=teacher, **more)

    monkeypatch.setattr(training, "fit", told)
    asked = PruneAsked(
        method=method, asked=Asked("macs_cut", 0.5), frames=ASKED, architecture="resnet1d20",
        choices=ChoicesTable(frames=32),
    )  # fmt: skip
    record, pruned = prune(asked, {"original": original}, tmp_path, lambda *told: None)
    (work := tmp_path / "work").mkdir()
    softly = record["ratio"] if method == "sfp" else None
    finetune(
        FinetuneAsked(fitting=FITTING, architecture="resnet1d20", softly=softly),
        {"original": original, "pruned": pruned}, work, lambda *told: None,
    )  # fmt: skip
    frames, (first, _) = frames_of(ASKED), load_model(original)
    assert len(fits) == (2 if method == "sfp" else 1)
    for (train, validation, settings), teacher in fits:
        assert (train, validation) == (frames.train, frames.validation)
        assert replace(settings, steps=2) == FITTING.settings
        assert sum(settings.steps for (_, _, settings), _ in fits) == 2
        assert all(
            torch.equal(mine, theirs) for mine, theirs in zip(teacher.parameters(), first.parameters(), strict=True)
        )


def test_a_model_is_judged_by_the_test_frames(original, unseen, monkeypatch):
    monkeypatch.undo()
    frames, (model, _) = frames_of(ASKED), load_model(original)
    found = training.judged(model, frames, FITTING.hardware)
    assert sum(map(sum, found["confusion"])) == len(frames.test)
    with pytest.raises(AssertionError, match="the test split was looked at"):
        training.judged(model, replace(frames, test=Unseen()), FITTING.hardware)
