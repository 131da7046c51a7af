"""`thinwave finetune`, and what `train` and `evaluate` take: models of the zoo, of one's own, with plain weights."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolchain.cli_options import ARCHITECTURES as NAMED
from toolchain.data import open_dataset, record_of, use_in_words, write_h5
from toolchain.models import ARCHITECTURES, ModelCard, create_model, load_model, save_model
from toolchain.training.learner import Learner

CLASSES = ("low", "none", "high")
QUICK = ("--epochs", 1, "--batch", 16)


@pytest.fixture(scope="module")
def frames_file(tmp_path_factory):
    """180 tones of 16 samples, 3 classes by their frequency, at 2 SNRs."""
    rng = np.random.default_rng(0)
    label = np.tile(np.arange(3), 60)
    phase = rng.uniform(0, 2 * np.pi, (180, 1)) + (label[:, None] - 1) * 0.7 * np.arange(16)
    iq = np.stack([np.cos(phase), np.sin(phase)], axis=1).astype("f4")
    snr_db = np.repeat([0.0, 10.0], 90).astype("f4")
    path = tmp_path_factory.mktemp("data") / "tones.h5"
    write_h5(path, iq=iq, label=label, snr_db=snr_db, classes=CLASSES, sample_rate_hz=None, made_by="tones")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory, frames_file):
    """Models of the tones, untrained: two that remember the set, one that knows its classes otherwise, plain weights."""
    folder = tmp_path_factory.mktemp("models")
    model = create_model("resnet1d20", 3, 16, generator=torch.Generator().manual_seed(1))
    use = use_in_words(classes=None, snr_db=None, seed=4)
    card = ModelCard(
        architecture="resnet1d20", classes=CLASSES, length=16, training={"data": record_of(open_dataset(frames_file), use)}
    )  # fmt: skip
    save_model(folder / "m.safetensors", model, card)
    save_model(folder / "turned.safetensors", model, replace(card, classes=CLASSES[::-1]))
    save_model(folder / "others.safetensors", model, replace(card, classes=("a", "b", "c")))
    save_model(folder / "long.safetensors", model, replace(card, length=32))
    torch.save(model.state_dict(), folder / "w.pt")
    return folder


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the working directory."""
    (tmp_path / "my_tones.py").write_text(
        textwrap.dedent(
            """
            from torch import nn

            def build(classes):
                return nn.Sequential(
                    nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, classes))
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("my_tones", None)


def test_the_names_in_the_help_are_those_of_the_zoo():
    assert set(NAMED) == set(ARCHITECTURES)


def test_finetune_says_what_it_was_worth_and_how_to_judge_it(thinwave_here, refused_here, files, frames_file, tmp_path):
    out = tmp_path / "out.safetensors"
    command = ("finetune", files / "m.safetensors", "--data", frames_file, "--out", out, *QUICK, "--seed", 9)
    said = thinwave_here(*command, "--teacher", files / "m.safetensors")
    assert said.returncode == 0, said.stderr
    _, card = load_model(out)
    before, after = card.training["validation_accuracy_before"], card.training["epochs"][0]["validation_accuracy"]
    assert f"validation accuracy {before:.3f} before, {after:.3f} after (the best was epoch 1 of 1)" in said.stdout
    assert (card.training["settings"]["distillation"], card.training["settings"]["temperature"]) == (0.5, 4.0)
    # The split of the set that the model was trained on, not of this seed.
    assert card.training["data"]["use"]["seed"] == 4
    following = shlex.split(said.stdout.splitlines()[-1].split("   ")[0])
    assert following == ["thinwave", "evaluate", str(out), "--data", str(frames_file)]
    said = thinwave_here(*following[1:], "--json")
    told = json.loads(said.stdout)
    assert (told["part"], told["frames"]) == ("test", 36)
    assert "is there already" in refused_here(*command)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "or --model NAME with --weights FILE"),
        (
            ["--model", "resnet1d20"],
            "a name of the zoo is an untrained model; expected its weights with --weights FILE",
        ),
        (["--model", "resnet1d21"], 'did you mean "resnet1d20"'),
        (["none.safetensors"], "there is no such file"),
        (["w.pt"], "plain weights do not say which model they belong to"),
        (["m.safetensors", "--weights", "w.pt"], "is a file already"),
        (["m.safetensors", "--snr-db", "5:"], "leave out --classes, --snr-db and --split"),
        (["m.safetensors", "--split", "amr-benchmark"], "leave out --classes, --snr-db and --split"),
        (["m.safetensors", "--distillation", "0.3"], "are for a teacher; name it with --teacher"),
        (["m.safetensors", "--teacher", "turned.safetensors"], "its classes are in another order, high, none, low"),
        (["m.safetensors", "--teacher", "others.safetensors"], "its classes are others, a, b, c; the model's are low"),
        (["m.safetensors", "--teacher", "long.safetensors"], "takes frames of 32 samples, and the model 16"),
        (["m.safetensors", "--teacher", "vgg16"], "expected its weights with --teacher-weights FILE"),
        (["m.safetensors", "--teacher", "none.safetensors"], "there is no such file"),
        (["others.safetensors"], "has classes that the model does not know, low, none, high"),
        (["long.safetensors"], "its frames have 16 samples, and the model takes 32"),
        (["m.safetensors", "--batch", "500"], "a batch of 500 frames is more than the 108 training frames"),
        (["m.safetensors", "--threads", "9999"], "this process may use"),
    ],
)
def test_what_cannot_be_trained_further_ends_in_one_message(
    refused_here, files, frames_file, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(files)
    # One message, however the terminal wraps it.
    said = " ".join(
        refused_here("finetune", *options, "--data", frames_file, "--out", tmp_path / "o.safetensors").split()
    )
    assert message in said
    assert not list(tmp_path.glob("o.*"))


def test_finetune_never_writes_over_what_it_reads(refused_here, files, frames_file):
    model = files / "m.safetensors"
    command = ("finetune", model, "--data", frames_file, "--replace", "--out")
    assert "is what is read" in refused_here(*command, model)
    teacher = files / "turned.safetensors"
    assert "is what is read" in refused_here(*command, teacher, "--teacher", teacher)


def test_plain_weights_are_trained_further_and_judged_under_their_name(thinwave_here, files, frames_file, tmp_path):
    plain = ("--model", "resnet1d20", "--weights", files / "w.pt", "--data", frames_file)
    said = thinwave_here("evaluate", *plain, "--json", "--plots", tmp_path / "plots")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert (told["model"], told["part"], told["frames"], told["classes"]) == ("resnet1d20", "all", 180, list(CLASSES))
    same = thinwave_here("evaluate", files / "m.safetensors", "--data", frames_file, "--part", "all", "--json")
    assert json.loads(same.stdout)["accuracy"] == told["accuracy"]
    out = tmp_path / "out.safetensors"
    teacher = ("--teacher", "resnet1d20", "--teacher-weights", files / "w.pt", "--distillation", 0.3)
    said = thinwave_here("finetune", *plain, *teacher, "--snr-db", "5:", "--seed", 7, "--out", out, *QUICK)
    assert said.returncode == 0, said.stderr
    training = load_model(out)[1].training
    assert training["settings"]["distillation"] == 0.3
    assert (training["data"]["use"]["snr_min_db"], training["data"]["use"]["seed"]) == (5.0, 7)


def test_json_before_the_model_is_no_file_to_write(thinwave_here, files, frames_file):
    before = (files / "m.safetensors").read_bytes()
    said = thinwave_here("evaluate", "--data", frames_file, "--json", files / "m.safetensors")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["frames"] == 36
    assert (files / "m.safetensors").read_bytes() == before


def test_a_model_of_ones_own_is_trained_further_and_judged_where_it_is_trusted(
    thinwave_here, refused_here, own, frames_file
):
    said = thinwave_here("train", "--data", frames_file, "--model", "my_tones:build", "--out", "a.safetensors", *QUICK)
    assert said.returncode == 0, said.stderr
    assert f"thinwave evaluate a.safetensors --data {frames_file} --model my_tones:build   judges it" in said.stdout
    assert "say so with --model my_tones:build" in refused_here("evaluate", "a.safetensors", "--data", frames_file)
    further = (
        "finetune",
        "a.safetensors",
        "--data",
        frames_file,
        "--teacher",
        "a.safetensors",
        "--out",
        "b.safetensors",
    )
    assert "say so with --model my_tones:build" in refused_here(*further)
    trusted = ("--model", "my_tones:build")
    said = thinwave_here(*further, *trusted, *QUICK)
    assert said.returncode == 0, said.stderr
    said = thinwave_here("evaluate", "b.safetensors", "--data", frames_file, *trusted, "--json")
    assert json.loads(said.stdout)["part"] == "test"


@pytest.mark.parametrize(
    ("epoch", "told"),
    [(1, "no epoch is finished: the same command starts afresh"), (2, "the same command goes on after epoch 1 of 2")],
)
def test_an_interrupt_tells_what_is_kept_and_the_next_call_what_it_goes_on_from(
    thinwave_here, frames_file, tmp_path, monkeypatch, caplog, epoch, told
):
    command = ("train", "--data", frames_file, "--model", "resnet1d20", "--out", tmp_path / "m.safetensors")
    command = (*command, "--epochs", 2, "--batch", 16)
    step = Learner.step

    def stopped(learner, *arguments):
        if (tmp_path / "m.safetensors.training" / "checkpoint.pt").exists() == (epoch == 2):
            raise KeyboardInterrupt
        return step(learner, *arguments)

    with monkeypatch.context() as changed:
        changed.setattr(Learner, "step", stopped)
        said = thinwave_here(*command)
    assert said.returncode == 130
    assert told in caplog.text
    assert thinwave_here(*command).returncode == 0
    assert ("going on after epoch 1 of 2" in caplog.text) == (epoch == 2)
