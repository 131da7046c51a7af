from __future__ import annotations

import fcntl
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolchain.data import Dataset, DataUse, from_memory
from toolchain.errors import DatasetError, RunError, TrainingError
from toolchain.models import load_model
from toolchain.training_hardware import Hardware
from toolchain.training_job import TrainingJob, train_on

JOB = TrainingJob(
    architecture="resnet1d20", epochs=2, batch=16, learning_rate=5e-3, weight_decay=0.01, rotate=True,
    use=DataUse(seed=3),
)  # fmt: skip


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
    card, history = train_on(dataset, JOB, out)
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
    train_on(dataset, replace(JOB, ema=0.9, hardware=Hardware(accelerator="cpu", precision="bf16-mixed")), out)
    training = load_model(out)[1].training
    assert training["settings"]["ema"] == 0.9
    assert training["hardware"] == {"accelerator": "cpu", "devices": 1, "precision": "bf16-mixed"}


def test_same_call_goes_on_after_an_interrupt_and_ends_in_the_same_bytes(dataset, tmp_path):
    train_on(dataset, JOB, tmp_path / "whole.safetensors")
    out = tmp_path / "m.safetensors"
    with pytest.raises(Stop):
        train_on(dataset, JOB, out, progress=stopping_after(6))
    assert not out.exists()
    seen = []
    train_on(dataset, JOB, out, progress=lambda done, total, note="": seen.append(done) if total == 8 else None)
    assert seen == [5, 6, 7, 8]
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not (tmp_path / "m.safetensors.training").exists()


def test_other_options_do_not_go_on_with_it(dataset, tmp_path):
    out = tmp_path / "m.safetensors"
    with pytest.raises(Stop):
        train_on(dataset, JOB, out, progress=stopping_after(6))
    mixed = replace(JOB, hardware=Hardware(precision="bf16-mixed"))
    with pytest.raises(
        RunError, match=r"started otherwise: hardware\.precision 32-true there, bf16-mixed here\. Go on"
    ):
        train_on(dataset, mixed, out)
    other = replace(JOB, learning_rate=1e-3)
    with pytest.raises(
        RunError, match=r"\.training: holds .*: settings\.learning_rate 0\.005 there, 0\.001 here\. Go on"
    ):
        train_on(dataset, other, out)
    seen = []
    train_on(
        dataset,
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
        train_on(dataset, JOB, out)
    assert out.read_bytes() == b"mine"
    train_on(dataset, JOB, out, replace=True)
    load_model(out)


def test_two_processes_do_not_write_one_model(dataset, tmp_path):
    folder = tmp_path / "m.safetensors.training"
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another thinwave"):
            train_on(dataset, JOB, tmp_path / "m.safetensors")


def test_what_cannot_be_trained_leaves_nothing(dataset, tmp_path):
    out = tmp_path / "m.safetensors"
    with pytest.raises(TrainingError, match="a batch of 100 frames is more than the 72 training frames; lower --batch"):
        train_on(dataset, replace(JOB, batch=100), out)
    with pytest.raises(TrainingError, match=r"devices = 9999: .*expected at most as many"):
        train_on(dataset, replace(JOB, hardware=Hardware(accelerator="cpu", devices=9999)), out)
    lost = replace(dataset, read=from_memory(np.full((120, 2, 16), np.nan, dtype=np.float32)))
    with pytest.raises(DatasetError, match="hold NaN"):
        train_on(lost, JOB, out)
    with pytest.raises(DatasetError, match="one class"):
        train_on(dataset, replace(JOB, use=DataUse(classes=("low",))), out)
    assert list(tmp_path.iterdir()) == []


def test_set_read_from_a_file_in_blocks_trains_to_the_same_bytes(dataset, tmp_path):
    """As long as the part fits into the shuffle window, where the frames lie makes no difference."""
    train_on(dataset, JOB, tmp_path / "memory.safetensors")
    train_on(replace(dataset, block_frames=8), JOB, tmp_path / "file.safetensors")
    first, second = (load_model(tmp_path / f"{name}.safetensors")[0].state_dict() for name in ("memory", "file"))
    assert all(torch.equal(first[name], second[name]) for name in first)
