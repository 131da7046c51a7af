"""Two processes on the CPU, as several GPUs would be; what they run has no BatchNorm, which sees a device's own share."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn

from deploy.progress import silent
from toolchain.data import Dataset, Part, from_memory
from toolchain.errors import TrainingError
from toolchain.training import FitSettings, fit
from toolchain.training.fabric import on_devices
from toolchain.training.hardware import Hardware

SETTINGS = FitSettings(steps=9, batch=16, learning_rate=1e-2, weight_decay=0.01, ema=0.5)
TWO = Hardware(accelerator="cpu", devices=2)


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr("toolchain.training.hardware.usable_cores", lambda: [0, 1])


@pytest.fixture
def data():
    """Parts of 50 and 21 frames of noise, two classes by their power."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 71)
    iq = (rng.normal(size=(71, 2, 16)) * (1 + label)[:, None, None]).astype("f4")
    dataset = Dataset(
        source="noise", format="test", classes=("low", "high"), labels=label, snr_db=np.zeros(71), length=16,
        sample_rate_hz=None, read=from_memory(iq),
    )  # fmt: skip
    return Part(dataset, np.arange(50)), Part(dataset, np.arange(50, 71))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(56, 2))


def agree(first, second):
    states = first.state_dict(), second.state_dict()
    return all(torch.allclose(tensor, states[1][name], atol=1e-5) for name, tensor in states[0].items())


def test_two_devices_learn_what_one_does(net, data, tmp_path):
    one, told = fit(net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "one", hardware=replace(TWO, devices=1))
    environment, seen = dict(os.environ), []
    two, history = fit(
        net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "two", hardware=TWO,
        progress=lambda done, total, note="": seen.append((done, total)),
    )  # fmt: skip
    assert agree(one, two)
    assert not agree(one, net)
    # Of the 21 frames that are judged one device takes 11, the other 10.
    for epoch, expected in zip(history.epochs, told.epochs, strict=True):
        assert epoch == pytest.approx(expected, abs=1e-5)
    assert seen == [(step, 9) for step in range(1, 10)]
    assert os.environ == environment


@pytest.mark.slow
def test_two_devices_go_on_where_two_or_one_stopped(net, data, tmp_path):
    one, _ = fit(net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "one", hardware=replace(TWO, devices=1))

    # The interrupt falls into the second epoch, then into the third.
    for last, devices in ((5, 2), (7, 1)):

        def stop(done, _total, _note="", last=last):
            if done == last:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            hardware = replace(TWO, devices=devices)
            fit(net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "cut", hardware=hardware, progress=stop)
    taken_up, history = fit(net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "cut", hardware=TWO)
    assert agree(one, taken_up)
    assert history.earlier_s > 0


@pytest.mark.slow
def test_loss_that_is_no_number_on_a_device_is_the_same_error_here(net, data, tmp_path):
    train, validation = data
    lost = replace(train, dataset=replace(train.dataset, read=from_memory(np.full((71, 2, 16), np.nan, dtype="f4"))))
    with pytest.raises(TrainingError, match="the loss became nan at step 0; lower the learning rate"):
        fit(net, lost, validation, SETTINGS, seed=3, checkpoint=tmp_path / "c", hardware=TWO)


@pytest.mark.slow
def test_device_that_fails_or_dies_ends_the_others(tmp_path, monkeypatch):
    # The other processes import what they run by name.
    (tmp_path / "work_that_fails.py").write_text(
        "import os, signal\n"
        "def fail(fabric, progress):\n"
        "    if fabric.global_rank == 1: raise OSError(28, 'no space left')\n"
        "    fabric.barrier()\n"
        "def die(fabric, progress):\n"
        "    if fabric.global_rank == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    fabric.barrier()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    work = import_module("work_that_fails")
    with pytest.raises(OSError, match="no space left"):
        on_devices(TWO, work.fail, progress=silent)
    with pytest.raises(TrainingError, match="the process of device 1 was killed by signal 9 before its work was done"):
        on_devices(TWO, work.die, progress=silent)
    assert not multiprocessing.active_children()


def test_what_cannot_be_sent_to_another_process_is_refused(net, data, tmp_path):
    net.register_forward_hook(lambda *_: None)
    with pytest.raises(TrainingError, match=r"cannot be handed to another process: .*; define them in a module"):
        fit(net, *data, SETTINGS, seed=3, checkpoint=tmp_path / "c", hardware=TWO)
