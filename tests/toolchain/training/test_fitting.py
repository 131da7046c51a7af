import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from toolchain.data import Dataset, Part, from_memory
from toolchain.errors import TrainingError
from toolchain.models import create_model
from toolchain.training import FitSettings, fit, one_cycle, predictions_of, rotated
from toolchain.training.hardware import Hardware

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


@pytest.mark.parametrize("options", [{}, {"distillation": 0.6}, {"ema": 0.8}], ids=str)
def test_a_training_taken_up_after_any_epoch_ends_in_the_same_bits(net, frames_of, tmp_path, options):
    settings = FitSettings(steps=9, batch=16, learning_rate=1e-2, weight_decay=0.01, **options)
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


def test_what_a_model_draws_comes_from_the_seed_and_leaves_the_callers_generator(frames_of, tmp_path):
    data = frames_of(50, 1), frames_of(20, 2)
    drops = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    def stop(done, _total, _note=""):
        if done == 5:
            raise InterruptedError

    torch.manual_seed(1)
    before = torch.get_rng_state()
    whole, _ = fit(drops, *data, SETTINGS, seed=3, checkpoint=tmp_path / "whole")
    assert torch.equal(torch.get_rng_state(), before)
    other, _ = fit(drops, *data, SETTINGS, seed=4, checkpoint=tmp_path / "other")
    torch.manual_seed(2)
    with pytest.raises(InterruptedError):
        fit(drops, *data, SETTINGS, seed=3, checkpoint=tmp_path / "cut", progress=stop)
    torch.manual_seed(3)
    taken_up, _ = fit(drops, *data, SETTINGS, seed=3, checkpoint=tmp_path / "cut")
    assert same(taken_up, whole)
    assert not same(other, whole)


def test_average_of_the_weights_is_what_is_judged_kept_and_returned(net, frames_of, tmp_path):
    data, validation = frames_of(96, 1), frames_of(64, 2)
    settings = FitSettings(steps=12, batch=32, learning_rate=5e-3, weight_decay=0.01)
    plain, plain_told = fit(net, data, validation, settings, seed=0, checkpoint=tmp_path / "plain")
    averaged, told = fit(net, data, validation, replace(settings, ema=0.9), seed=0, checkpoint=tmp_path / "averaged")
    # The model that is averaged learns as without.
    assert [epoch["loss"] for epoch in told.epochs] == [epoch["loss"] for epoch in plain_told.epochs]
    assert not same(averaged, plain)
    accuracy = (predictions_of(averaged, validation) == validation.labels).mean()
    assert accuracy == told.epochs[told.best_epoch]["validation_accuracy"]
    assert list(averaged.state_dict()) == list(net.state_dict())


def test_teacher_answers_in_evaluation_mode_and_is_left_as_it_was(net, frames_of, tmp_path):
    data = frames_of(50, 1), frames_of(20, 2)
    settings = replace(SETTINGS, distillation=0.5)
    teacher = create_model("resnet1d20", classes=3, length=32, generator=torch.Generator().manual_seed(5)).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    taught, _ = fit(net, *data, settings, seed=3, checkpoint=tmp_path / "train mode", teacher=teacher)
    assert teacher.training
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(weights.grad is None for weights in teacher.parameters())
    again, _ = fit(net, *data, settings, seed=3, checkpoint=tmp_path / "evaluation mode", teacher=teacher.eval())
    assert same(taught, again)


SEEN = set()


class Telling(nn.Module):
    """Says in SEEN what it computes in."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, iq):
        logits = self.layers(iq)
        SEEN.add((self.training, iq.dtype, logits.dtype))
        return logits


def test_mixed_precision_hands_frames_over_in_float32_and_gives_float32_weights(frames_of, tmp_path):
    SEEN.clear()
    mixed = Hardware(accelerator="cpu", precision="bf16-mixed")
    data, validation = frames_of(96, 1), frames_of(64, 2)
    settings = FitSettings(steps=30, batch=32, learning_rate=5e-3, weight_decay=0.01, rotate=False)
    fitted, told = fit(Telling(), data, validation, settings, seed=0, checkpoint=tmp_path / "c", hardware=mixed)
    # In training the products are in 16 bits; what is validated is the model as it will be exported.
    assert {(True, torch.float32, torch.bfloat16), (False, torch.float32, torch.float32)} == SEEN
    assert told.epochs[-1]["loss"] < told.epochs[0]["loss"]
    assert {tensor.dtype for tensor in fitted.state_dict().values()} == {torch.float32}


def test_the_learning_rate_rises_for_a_quarter_and_falls_to_nothing():
    rates = [one_cycle(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == rates[25] == 1.0
    assert rates[62] == pytest.approx((1 + math.cos(math.pi * 37 / 75)) / 2)
    assert rates[99] < 1e-3
    assert one_cycle(0, 1) == pytest.approx(0.04)


def test_distillation_is_hintons_loss():
    from toolchain.training.learner import _loss

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


def test_progress_names_the_epoch(net, frames_of, tmp_path):
    told = []
    # 48 frames are 3 steps of 16 an epoch: the third epoch has one.
    fit(
        net, frames_of(48, 1), frames_of(16, 2), SETTINGS, seed=0, checkpoint=tmp_path / "c",
        progress=lambda done, total, note="": told.append(note.split(",")[0]),
    )  # fmt: skip
    assert told == [*["epoch 1 of 3"] * 3, *["epoch 2 of 3"] * 3, "epoch 3 of 3"]


def test_what_is_done_after_each_epoch_is_judged_and_kept(net, frames_of, tmp_path):
    calls = []

    def silence(model):
        calls.append(model)
        with torch.no_grad():
            model.stem[0].weight[3] = 0.0

    fitted, history = fit(
        net, frames_of(64, 1), frames_of(32, 2), replace(SETTINGS, steps=8), seed=0, checkpoint=tmp_path / "c",
        after_epoch=silence,
    )  # fmt: skip
    assert len(calls) == len(history.epochs) == 2
    assert (fitted.stem[0].weight[3] == 0).all()
    assert not (net.stem[0].weight[3] == 0).any()
