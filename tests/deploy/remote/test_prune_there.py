"""`thinwave prune --device`: unit latencies, and the pruned model's, taken on another machine over a real sshd."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from toolchain.baselines import random_layers
from toolchain.latency_budget import meters
from toolchain.models import ModelCard, create_model, save_model
from toolchain.pruning import Budget, apply_plan, pruned_card

pytestmark = pytest.mark.slow

CLASSES = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")
# The same command, with less time for each reading.
QUICKLY = (
    "import sys; from toolchain.latency_budget import meters; meters.THOROUGH = meters.BRIEF = meters.Effort(2, 0.2); "
    "from toolchain.cli import main; main()"
)


def test_a_model_is_pruned_by_what_it_takes_on_the_device(machine, noise_set, tmp_path):
    assert meters.BRIEF.processes >= 5
    frames = noise_set(tmp_path / "frames.h5", classes=CLASSES, length=64)
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1))
    # With few units, which are read one by one.
    plan = random_layers(model, np.zeros((2, 2, 64), np.float32), Budget(keep=4), seed=1)
    card = pruned_card(ModelCard(architecture="resnet1d20", classes=CLASSES, length=64), plan)
    save_model(tmp_path / "m.safetensors", apply_plan(plan, model), card)
    command = [
        "prune", tmp_path / "m.safetensors", "--data", frames, "--speedup", "1.5", "--target", "x86-cpu", "--out",
        tmp_path / "out", "--device", machine.address(), "--wheels", machine.wheels, "--frames", "32",
    ]  # fmt: skip
    bundles = set((machine.store / "bundles").glob("*"))
    said = subprocess.run(
        [sys.executable, "-c", QUICKLY, *map(str, command)], env=machine.environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    told = json.loads((tmp_path / "out/latency.json").read_text())
    assert told["kind"] == "measured"
    assert told["unit_latencies"]["under"]["device"] == machine.address()
    assert told["reading"]["at_least_times"] >= 1.5
    assert not machine.running("python")
    assert not list((machine.store / "tasks").iterdir())
    # What was read once is gone; the original, which stood beside all of it, was copied once and serves the next call.
    (original,) = set((machine.store / "bundles").glob("*")) - bundles
    (file,) = original.iterdir()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    copies = [line for line in machine.copied() if digest in line]
    assert len(copies) == 1
