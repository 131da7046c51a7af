from __future__ import annotations

import fcntl
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolchain.data import Dataset, DataUse, Part, from_memory, record_of
from toolchain.errors import DatasetError, RunError, TrainingError
from toolchain.evaluation import part_for
from toolchain.models import ModelCard, create_model, edited, load_model
from toolchain.pruning import find_units
from toolchain.training import Hardware, accuracy_of
from toolchain.training_job import TrainingJob, finetune_on, train_on

JOB = TrainingJob(epochs=2, batch=16, learning_rate=5e-3, weight_decay=0.01, rotate=True, seed=3)
USE = DataUse(seed=3)


@pytest.fixture
def dataset():
    """Two tones of opposite sign, 60 frames each at two SNRs."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 60)
    phase = rng.uniform(0, 2 * np.pi, (120, 1)) + (2 * label[:, None] - 1) * 0.7 * np.arange(16)
    iq = np.stack([np.cos(phase), np.sin(phase)], axis=1).astype("f4")
    return Dataset(
        source="tones.h5", format="test", classes=("low", "high"), labels=label,
        snr_db=np.tile(np.repeat([0.0, 10.0], 30), 2), length=16, sample_rate_hz=None, read=from_memory(iq),
    )  # fmt: skip


class Stop(Exception):  # noqa: N818
    pass


def stopping_after(steps):
    def progress(done, total, note=""):
        if total == 8 and done == steps:
            raise Stop

    return progress


def test_model_says_what_it_was_trained_on(dataset, tmp_path):
    out = tmp_path / "m.safetensors"
    card, history = train_on(dataset, "resnet1d20", USE, JOB, out)
    assert list(tmp_path.iterdir()) == [out]
    model, loaded = load_model(out)
    assert (loaded.architecture, loaded.classes, loaded.length) == ("resnet1d20", ("low", "high"), 16)
    assert loaded.training["data"]["fingerprint"] == dataset.fingerprint
    # 72 training frames are four whole batches of 16 an epoch.
    assert [epoch["step"] for epoch in history.epochs] == [4, 8]
    assert not model.training
    assert card.classes == loaded.classes


def test_model_says_on_what_it_was_trained_and_how(dataset, tmp_path):
    out = tmp_path / "m.safetensors"
    train_on(
        dataset,
        "resnet1d20",
        USE,
        replace(JOB, ema=0.9, hardware=Hardware(accelerator="cpu", precision="bf16-mixed")),
        out,
    )
    training = load_model(out)[1].training
    assert training["settings"]["ema"] == 0.9
    assert training["hardware"] == {"accelerator": "cpu", "devices": 1, "precision": "bf16-mixed"}


def test_same_call_goes_on_after_an_interrupt_and_ends_in_the_same_bytes(dataset, tmp_path):
    train_on(dataset, "resnet1d20", USE, JOB, tmp_path / "whole.safetensors")
    out = tmp_path / "m.safetensors"
    with pytest.raises(Stop):
        train_on(dataset, "resnet1d20", USE, JOB, out, progress=stopping_after(6))
    assert not out.exists()
    seen = []
    train_on(
        dataset,
        "resnet1d20",
        USE,
        JOB,
        out,
        progress=lambda done, total, note="": seen.append(done) if total == 8 else None,
    )
    assert seen == [5, 6, 7, 8]
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not (tmp_path / "m.safetensors.training").exists()


def test_other_options_do_not_go_on_with_it(dataset, tmp_path):
    out = tmp_path / "m.safetensors"
    with pytest.raises(Stop):
        train_on(dataset, "resnet1d20", USE, JOB, out, progress=stopping_after(6))
    mixed = replace(JOB, hardware=Hardware(precision="bf16-mixed"))
    with pytest.raises(
        RunError, match=r"started otherwise: hardware\.precision 32-true there, bf16-mixed here\. Go on"
    ):
        train_on(dataset, "resnet1d20", USE, mixed, out)
    with pytest.raises(RunError, match=r"started otherwise: epochs 2 there, 3 here\. Go on"):
        train_on(dataset, "resnet1d20", USE, replace(JOB, epochs=3), out)
    other = replace(JOB, learning_rate=1e-3)
    with pytest.raises(
        RunError, match=r"\.training: holds .*: settings\.learning_rate 0\.005 there, 0\.001 here\. Go on"
    ):
        train_on(dataset, "resnet1d20", USE, other, out)
    seen = []
    train_on(
        dataset,
        "resnet1d20",
        USE,
        other,
        out,
        replace=True,
        progress=lambda done, total, note="": seen.append(done) if total == 8 else None,
    )
    assert seen[0] == 1


def test_model_that_is_there_is_not_written_over(dataset, tmp_path):
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"mine")
    with pytest.raises(RunError, match="is there already"):
        train_on(dataset, "resnet1d20", USE, JOB, out)
    assert out.read_bytes() == b"mine"
    train_on(dataset, "resnet1d20", USE, JOB, out, replace=True)
    load_model(out)


def test_two_processes_do_not_write_one_model(dataset, tmp_path):
    folder = tmp_path / "m.safetensors.training"
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another thinwave"):
            train_on(dataset, "resnet1d20", USE, JOB, tmp_path / "m.safetensors")


def test_what_cannot_be_trained_leaves_nothing(dataset, tmp_path):
    out = tmp_path / "m.safetensors"
    with pytest.raises(TrainingError, match="a batch of 100 frames is more than the 72 training frames; lower --batch"):
        train_on(dataset, "resnet1d20", USE, replace(JOB, batch=100), out)
    with pytest.raises(TrainingError, match=r"devices = 9999: .*expected at most as many"):
        train_on(dataset, "resnet1d20", USE, replace(JOB, hardware=Hardware(accelerator="cpu", devices=9999)), out)
    lost = replace(dataset, read=from_memory(np.full((120, 2, 16), np.nan, dtype=np.float32)))
    with pytest.raises(DatasetError, match="hold NaN"):
        train_on(lost, "resnet1d20", USE, JOB, out)
    with pytest.raises(DatasetError, match="one class"):
        train_on(dataset, "resnet1d20", DataUse(classes=("low",)), JOB, out)
    assert list(tmp_path.iterdir()) == []


def test_set_read_from_a_file_in_blocks_trains_to_the_same_bytes(dataset, tmp_path):
    """As long as the part fits into the shuffle window, where the frames lie makes no difference."""
    train_on(dataset, "resnet1d20", USE, JOB, tmp_path / "memory.safetensors")
    train_on(replace(dataset, block_frames=8), "resnet1d20", USE, JOB, tmp_path / "file.safetensors")
    first, second = (load_model(tmp_path / f"{name}.safetensors")[0].state_dict() for name in ("memory", "file"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def trained(dataset):
    """A model of drawn weights for the tones, and a card that says it was trained on them."""
    model = create_model("resnet1d20", 2, 16, generator=torch.Generator().manual_seed(1)).eval()
    record = {"data": record_of(dataset, USE), "epochs": [{"loss": 1.0}], "best_epoch": 0}
    return model, ModelCard(architecture="resnet1d20", classes=("low", "high"), length=16, training=record)


def test_finetuning_starts_from_the_weights_and_says_so(dataset, trained, tmp_path):
    model, card = trained
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    out = tmp_path / "m.safetensors"
    finetune_on(dataset, model, card, replace(JOB, epochs=1, learning_rate=1e-8), out)
    assert list(tmp_path.iterdir()) == [out]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    further, loaded = load_model(out)
    assert all(
        torch.allclose(before[name], weights.detach(), atol=1e-6) for name, weights in further.named_parameters()
    )
    validation = Part(dataset, USE.split_of(dataset).validation)
    assert loaded.training["validation_accuracy_before"] == accuracy_of(model, validation)
    # What it started from, without the rows of all its epochs.
    assert loaded.training["from"]["best_epoch"] == 0
    assert "epochs" not in loaded.training["from"]
    assert len(loaded.training["epochs"]) == 1
    assert "teacher_sha256" not in loaded.training


def test_finetuning_a_pruned_model_keeps_what_its_card_says(dataset, trained, tmp_path):
    model, card = trained
    gone = next(unit for unit in find_units(model, np.zeros((1, 2, 16), np.float32)) if unit.kind == "removable")
    smaller = edited(model, gone.edits)
    card = replace(card, dropped=(gone.name,), edits=tuple(gone.edits), plan={"made": "here"})
    finetune_on(dataset, smaller, card, replace(JOB, epochs=1), tmp_path / "m.safetensors")
    further, loaded = load_model(tmp_path / "m.safetensors")
    assert (loaded.architecture, loaded.dropped, loaded.edits) == (card.architecture, card.dropped, card.edits)
    assert loaded.plan == {"made": "here"}
    assert further.state_dict().keys() == smaller.state_dict().keys()


def test_finetuning_on_the_same_set_leaves_its_test_frames_unseen(dataset, trained, tmp_path):
    model, card = trained
    # A seed of its own orders the frames; the split stays.
    job = replace(JOB, epochs=1, seed=8)
    further, _ = finetune_on(dataset, model, card, job, tmp_path / "m.safetensors")
    assert further.training["data"] == card.training["data"]
    assert further.training["seed"] == 8
    test = part_for(dataset, DataUse(), further, None)[0]
    split = USE.split_of(dataset)
    np.testing.assert_array_equal(test.dataset.frames(test.indices), dataset.frames(split.test))
    with pytest.raises(DatasetError, match=r"was trained on this set, by the split .stratified. \(seed 3\)"):
        finetune_on(dataset, model, card, JOB, tmp_path / "o.safetensors", asked=DataUse(snr_min_db=5.0, seed=3))
    # What was asked is what the file remembers.
    finetune_on(dataset, model, card, job, tmp_path / "o.safetensors", asked=DataUse(seed=8))


def test_finetuning_on_another_set_counts_its_classes_as_the_model_does(dataset, trained, tmp_path):
    _, card = trained
    train_on(dataset, "resnet1d20", USE, replace(JOB, epochs=5), tmp_path / "t.safetensors")
    model, card = load_model(tmp_path / "t.safetensors")
    turned = replace(dataset, source="other.h5", classes=("high", "low"), labels=1 - dataset.labels[::-1].copy())
    turned = replace(turned, read=from_memory(dataset.frames(np.arange(120))[::-1].copy()))
    out = tmp_path / "m.safetensors"
    further, _ = finetune_on(turned, model, card, replace(JOB, epochs=1, seed=5), out)
    assert further.classes == ("low", "high")
    assert further.training["data"]["source"] == "other.h5"
    assert further.training["data"]["use"]["seed"] == 5
    assert further.training["validation_accuracy_before"] > 0.9
    # Both sets stay known, so neither is judged by frames that were learnt.
    assert part_for(turned, DataUse(), further, None)[1] == "test"
    assert part_for(dataset, DataUse(), further, None)[1] == "test"
    with pytest.raises(DatasetError, match="has classes that the model does not know, noise; it knows low, high"):
        finetune_on(replace(turned, classes=("noise", "low")), model, card, JOB, tmp_path / "n.safetensors")
    with pytest.raises(DatasetError, match="its frames have 16 samples, and the model takes 32"):
        finetune_on(turned, model, replace(card, length=32), JOB, tmp_path / "n.safetensors")
    assert not (tmp_path / "n.safetensors.training").exists()


def test_a_set_that_lacks_classes_is_learnt_with_a_warning(dataset, tmp_path, caplog):
    model = create_model("resnet1d20", 3, 16, generator=torch.Generator().manual_seed(1)).eval()
    card = ModelCard(architecture="resnet1d20", classes=("noise", "high", "low"), length=16)
    further, _ = finetune_on(dataset, model, card, replace(JOB, epochs=1), tmp_path / "m.safetensors")
    assert further.classes == card.classes
    assert "has no frames of noise, which the model may unlearn" in caplog.text


def test_finetuning_goes_on_after_an_interrupt_with_the_same_models_alone(dataset, trained, tmp_path):
    model, card = trained
    teacher, other = (
        create_model("resnet1d20", 2, 16, generator=torch.Generator().manual_seed(seed)).eval() for seed in (5, 6)
    )
    job, out = replace(JOB, distillation=0.5), tmp_path / "m.safetensors"
    finetune_on(dataset, model, card, job, tmp_path / "whole.safetensors", teacher=teacher)
    with pytest.raises(Stop):
        finetune_on(dataset, model, card, job, out, teacher=teacher, progress=stopping_after(6))
    with pytest.raises(RunError, match=r"started otherwise: teacher_sha256 \w{64} there, \w{64} here\. Go on"):
        finetune_on(dataset, model, card, job, out, teacher=other)
    with pytest.raises(RunError, match="started otherwise: weights_sha256"):
        finetune_on(dataset, other, card, job, out, teacher=teacher)
    seen = []
    finetune_on(
        dataset, model, card, job, out, teacher=teacher,
        progress=lambda done, total, note="": seen.append(done) if total == 8 else None,
    )  # fmt: skip
    assert seen == [5, 6, 7, 8]
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
