import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from toolchain.data import Dataset, Part, from_memory
from toolchain.errors import TrainingError
from toolchain.models import create_model
from toolchain.training import FitSettings, fit, one_cycle, predictions_of, rotated

SETTINGS = FitSettings(steps=7, batch=16, learning_rate=1e-2, weight_decay=0.01)


@pytest.fixture
def frames_of():
    """Frames of a tone each, the class being its frequency."""

    def make(count, seed):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 3, count)
        phase = rng.uniform(0, 2 * np.pi, (count, 1)) + (label[:, None] - 1) * 0.7 * np.arange(32)
        iq = np.stack([np.cos(phase), np.sin(phase)], axis=1) + rng.normal(scale=0.3, size=(count, 2, 32))
        dataset = Dataset(
            source="tones", format="test", classes=("low", "none", "high"), labels=label, snr_db=np.zeros(count),
            length=32, sample_rate_hz=None, read=from_memory(iq.astype(np.float32)),
        )  # fmt: skip
        return Part(dataset, np.arange(count))

    return make


@pytest.fixture
def net():
    return create_model("resnet1d20", classes=3, length=32, generator=torch.Generator().manual_seed(0))


def same(first, second):
    return all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_training_learns_and_leaves_the_model_it_was_given(net, frames_of, tmp_path):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    settings = FitSettings(steps=30, batch=32, learning_rate=5e-3, weight_decay=0.01)
    fitted, history = fit(net, frames_of(96, 1), frames_of(64, 2), settings, seed=0, checkpoint=tmp_path / "c")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert history.epochs[-1]["loss"] < 0.5 < history.epochs[0]["loss"]
    best = max(epoch["validation_accuracy"] for epoch in history.epochs)
    assert history.epochs[history.best_epoch]["validation_accuracy"] == best > 0.9
    assert (predictions_of(fitted, frames_of(64, 2)) == frames_of(64, 2).labels).mean() == best
    assert not fitted.training


def test_training_is_as_long_as_its_steps_even_within_an_epoch(net, frames_of, tmp_path):
    seen = []
    _, history = fit(
        net, frames_of(50, 1), frames_of(20, 2), SETTINGS, seed=0, checkpoint=tmp_path / "c",
        progress=lambda done, total, note="": seen.append((done, total)),
    )  # fmt: skip
    assert [epoch["step"] for epoch in history.epochs] == [3, 6, 7]
    assert seen == [(step, 7) for step in range(1, 8)]


@pytest.mark.parametrize("distillation", [0.0, 0.6])
def test_a_training_taken_up_after_any_epoch_ends_in_the_same_bits(net, frames_of, tmp_path, distillation):
    settings = FitSettings(steps=9, batch=16, learning_rate=1e-2, weight_decay=0.01, distillation=distillation)
    teacher = create_model("resnet1d20", classes=3, length=32, generator=torch.Generator().manual_seed(5)).eval()
    data = frames_of(50, 1), frames_of(20, 2)
    whole, told = fit(net, *data, settings, seed=3, checkpoint=tmp_path / "whole", teacher=teacher)

    class KilledError(Exception):
        pass

    # Three steps an epoch: the interrupt falls into the second epoch, then right after the third began.
    for stop in (5, 7):

        def interrupt(done, _total, _note="", stop=stop):
            if done == stop:
                raise KilledError

        with pytest.raises(KilledError):
            fit(net, *data, settings, seed=3, checkpoint=tmp_path / "cut", teacher=teacher, progress=interrupt)
    taken_up, history = fit(net, *data, settings, seed=3, checkpoint=tmp_path / "cut", teacher=teacher)
    assert same(taken_up, whole)
    assert history.epochs == told.epochs
    assert history.best_epoch == told.best_epoch
    assert history.earlier_s > 0 == told.earlier_s


def test_another_seed_sees_the_frames_in_another_order(net, frames_of, tmp_path):
    data = frames_of(50, 1), frames_of(20, 2)
    first, again, other = (
        fit(net, *data, SETTINGS, seed=seed, checkpoint=tmp_path / name)[0]
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert same(first, again)
    assert not same(first, other)


def test_the_learning_rate_rises_for_a_quarter_and_falls_to_nothing():
    rates = [one_cycle(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == rates[25] == 1.0
    assert rates[62] == pytest.approx((1 + math.cos(math.pi * 37 / 75)) / 2)
    assert rates[99] < 1e-3
    assert one_cycle(0, 1) == pytest.approx(0.04)


def test_distillation_is_hintons_loss():
    from toolchain.training import _loss

    rng = torch.Generator().manual_seed(0)
    logits, answers = torch.randn(4, 3, generator=rng), torch.randn(4, 3, generator=rng)
    label = torch.tensor([0, 1, 2, 1])
    settings = FitSettings(steps=1, batch=4, learning_rate=1, weight_decay=0, distillation=0.3, temperature=2.0)
    p, q = F.softmax(answers / 2, dim=1), F.softmax(logits / 2, dim=1)
    soft = 4 * (p * (p.log() - q.log())).sum(dim=1).mean()
    expected = 0.7 * F.cross_entropy(logits, label) + 0.3 * soft
    assert float(_loss(logits, label, answers, settings)) == pytest.approx(float(expected), rel=1e-5)


def test_a_rotation_turns_the_constellation_and_nothing_else():
    iq = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])  # 1 and 2j
    turned = rotated(iq, torch.tensor([math.pi / 2]))  # j and -2
    assert torch.allclose(turned, torch.tensor([[[0.0, -2.0], [1.0, 0.0]]]), atol=1e-6)
    assert turned.is_contiguous()


def test_a_loss_that_is_no_number_ends_the_training(net, frames_of, tmp_path):
    data = frames_of(50, 1)
    lost = np.full((50, 2, 32), np.nan, dtype=np.float32)
    data = replace(data, dataset=replace(data.dataset, read=from_memory(lost)))
    with pytest.raises(TrainingError, match="the loss became nan at step 0; lower the learning rate"):
        fit(net, data, frames_of(20, 2), SETTINGS, seed=0, checkpoint=tmp_path / "c")


def test_a_batch_larger_than_the_split_is_refused(net, frames_of, tmp_path):
    with pytest.raises(TrainingError, match="a batch of 16 frames is more than the 10 training frames"):
        fit(net, frames_of(10, 1), frames_of(20, 2), SETTINGS, seed=0, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", None])
def test_a_damaged_checkpoint_counts_as_none(net, frames_of, tmp_path, damage, caplog):
    data = frames_of(50, 1), frames_of(20, 2)
    whole, _ = fit(net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[: len(content) // 2] if damage is None else damage)
    again, history = fit(net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "c")
    assert same(whole, again)
    assert history.earlier_s == 0
    assert "training starts afresh" in caplog.text
