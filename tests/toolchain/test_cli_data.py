"""`thinwave data`, `train` and `evaluate` as a person meets them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deploy.command_line import run_command_line
from toolchain.cli import thinwave as command
from toolchain.data import open_dataset
from toolchain.errors import ToolchainError


@pytest.fixture
def said(capsys):
    """What the command printed, run in this process: exit code, stdout, stderr."""

    def run(*arguments):
        code = run_command_line(command, [str(argument) for argument in arguments], user_errors=(ToolchainError,))
        done = capsys.readouterr()
        return code, done.out, done.err

    return run


@pytest.fixture
def made(tmp_path, said):
    """A generated set: 11 classes x 3 SNRs x 12 frames."""
    path = tmp_path / "set.h5"
    code, out, err = said("data", "synth", path, "--frames-per-cell", 12, "--snr-db", "0:10:5", "--seed", 2)
    assert code == 0, err
    assert "12 frames of each class at 3 SNRs" in out
    return path


def test_synth_makes_what_was_asked_for(made):
    dataset = open_dataset(made)
    assert (len(dataset), dataset.length, len(dataset.classes)) == (396, 128, 11)
    assert np.unique(dataset.snr_db).tolist() == [0, 5, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--snr-db", "a"], 'SNRs "a": expected'),
        (["--snr-db", "500"], "expected finite numbers from -100 to 100 dB"),
        (["--preset", "rml2017"], "'rml2017' is not one of"),
        (["--frames-per-cell", "0"], "0 is not in the range"),
        (["--workers", "0"], "0 is not in the range"),
        (["--seed", "-1"], "-1 is not in the range"),
    ],
)
def test_synth_refuses_what_cannot_be_meant(said, tmp_path, arguments, message):
    code, _, err = said("data", "synth", tmp_path / "set.h5", *arguments)
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_written_over_unasked(said, made):
    before = made.read_bytes()
    for arguments, message in (
        (["synth", made, "--frames-per-cell", 3], "is there already"),
        (["convert", made, made], "is what is read"),
        (["convert", made, made, "--replace"], "is what is read"),
    ):
        code, _, err = said("data", *arguments)
        assert code == 2
        assert message in err
        assert made.read_bytes() == before
    assert said("data", "synth", made, "--frames-per-cell", 3, "--snr-db", 0, "--replace")[0] == 0
    assert len(open_dataset(made)) == 33


def test_inspect_tells_people_and_machines(said, made, tmp_path):
    code, out, _ = said("data", "inspect", made)
    assert code == 0
    assert "12 frames in each of 11 x 3 cells" in out
    for arguments in (["inspect", made, "--json"], ["inspect", "--json", made], ["inspect", made, "--json", "-"]):
        code, out, _ = said("data", *arguments)
        told = json.loads(out)
        assert code == 0
        assert (told["format"], told["frames"], told["length"]) == ("thinwave-frames", 396, 128)
        assert told["classes"] == list(open_dataset(made).classes)
        assert told["snr_db"] == [0, 5, 10]
        assert (told["per_cell_min"], told["per_cell_max"]) == (12, 12)
        assert told["fingerprint"] == open_dataset(made).fingerprint
        assert isinstance(told["warnings"], list)
    assert said("data", "inspect", made, "--json", tmp_path / "told.json")[0] == 0
    assert json.loads((tmp_path / "told.json").read_text()) == told


def test_json_never_writes_over_a_set(said, made, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(made.read_bytes())
    code, _, err = said("data", "inspect", "--json", other, made)
    assert code == 2
    assert err.startswith("thinwave: error: ")
    assert other.read_bytes() == made.read_bytes()


def test_inspect_draws(said, made, tmp_path):
    code, out, err = said("data", "inspect", made, "--classes", "BPSK,QPSK", "--plots", tmp_path / "plots")
    assert code == 0
    assert "12 frames in each of 2 x 3 cells" in out
    assert "pictures in" in err
    assert {"overview.png", "class-0-BPSK.png", "class-1-QPSK.png"} <= {
        path.name for path in (tmp_path / "plots").iterdir()
    }


@pytest.mark.parametrize("command", ["data inspect {set}", "evaluate none.safetensors --data {set}"])
def test_a_folder_that_cannot_be_is_said_before_the_work(said, made, command):
    code, out, err = said(*command.format(set=made).split(), "--plots", made / "plots")
    assert (code, out) == (2, "")
    assert "cannot be made a folder" in err


def test_convert_keeps_a_part(said, made, tmp_path):
    part = tmp_path / "part.h5"
    code, out, err = said("data", "convert", made, part, "--classes", "QPSK,BPSK", "--snr-db", "5:")
    assert code == 0, err
    assert "48 frames of 128 samples, 2 classes" in out
    whole, dataset = open_dataset(made), open_dataset(part)
    assert dataset.classes == ("QPSK", "BPSK")
    first = np.flatnonzero((whole.labels == whole.classes.index("QPSK")) & (whole.snr_db >= 5))
    np.testing.assert_array_equal(dataset.frames(np.flatnonzero(dataset.labels == 0)), whole.frames(first))
    code, _, err = said("data", "convert", made, tmp_path / "none.h5", "--classes", "BPSK,QPKS")
    assert code == 2
    assert 'did you mean "QPSK"' in err
    assert not (tmp_path / "none.h5").exists()


def test_train_then_evaluate(said, made, tmp_path):
    model = tmp_path / "m.safetensors"
    options = ["--model", "resnet1d20", "--epochs", 1, "--batch", 8, "--classes", "AM-DSB,BPSK,WBFM"]
    code, out, err = said("train", "--data", made, "--out", model, *options)
    assert code == 0, err
    assert "3 classes; of 1 epoch the best was number 1" in out
    code, out, err = said("evaluate", model, "--data", made, "--json")
    assert code == 0, err
    told = json.loads(out)
    # 12 frames a cell: 7, 3 and 2 for training, validation and test; 3 classes x 3 SNRs.
    assert (told["part"], told["frames"], told["classes"]) == ("test", 18, ["AM-DSB", "BPSK", "WBFM"])
    assert set(told["accuracy_by_snr"]) == {"0", "5", "10"}
    assert np.array(told["confusion"]).sum() == 18
    assert told["accuracy"] == pytest.approx(np.trace(told["confusion"]) / 18)
    assert "sensitivity_db" in told
    code, out, _ = said("evaluate", model, "--data", made, "--part", "train", "--plots", tmp_path / "plots")
    assert code == 0
    taken = "of which the training took the classes AM-DSB, BPSK, WBFM alone"
    assert f"63 frames of set.h5, {taken}: the training split" in out
    assert (tmp_path / "plots" / "confusion.png").is_file()
    code, _, err = said("train", "--data", made, "--out", model, *options)
    assert code == 2
    assert "is there already" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "{set}", "--model", "resnet1d21", "--out", "{new}"], 'did you mean "resnet1d20"'),
        (["train", "--data", "nowhere.h5", "--model", "resnet1d20", "--out", "{new}"], "there is no such file"),
        (["train", "--data", "{set}", "--model", "resnet1d20", "--out", "{set}", "--replace"], "ends in .safetensors"),
        (["train", "--data", "{set}", "--model", "resnet1d20", "--out", "{new}", "--threads", "9999"], "this process may use"),
        (["data", "synth", "/dev/full", "--replace"], "is no regular file"),
        (["data", "convert", "{set}", "{set}", "--replace"], "is what is read"),
        (["data", "synth", "{new}.h5", "--frames-per-cell", "100000000"], "GiB are free. Ask for fewer frames"),
        (["data", "synth", "{new}.pkl"], "expected a name that ends in .h5 or .hdf5, as"),
        (["data", "convert", "{set}", "{new}.npz"], "HDF5 is what is written; expected a name that ends in .h5"),
        (["data", "inspect", "{set}", "--snr-db", "99:"], "no frame has an SNR from 99 dB up; the file has 0 to 10 dB"),
        (["train", "--data", "{set}", "--model", "resnet1d20", "--out", "none/m.safetensors"], "there is no folder none"),
        (["train", "--data", "{set}", "--model", "resnet1d20", "--out", "{new}", "--split", "own"], "no test part of its own"),
        (["train", "--data", "{set}", "--model", "resnet1d20", "--out", "{new}", "--length", "64"], "expected 64"),
        (["evaluate", "{set}", "--data", "{set}"], "not a readable"),
        (["evaluate", "nowhere.safetensors", "--data", "{set}"], "there is no such file"),
        (["data", "inspect", "nowhere.h5"], "there is no such file"),
        (["data", "inspect", "{set}", "--unknown-snr-db", "3"], "this is none; leave it out"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_message(said, made, tmp_path, arguments, message):
    new = tmp_path / "new.safetensors"
    code, _, err = said(*(argument.format(set=made, new=new) for argument in arguments))
    assert code == 2
    assert message in err
    assert err.startswith("thinwave: error: ")
    assert not list(tmp_path.glob("new*"))


def test_a_run_does_not_test_a_model_on_frames_that_it_was_trained_on(said, made, tmp_path):
    model, recipe = tmp_path / "m.safetensors", tmp_path / "r.toml"
    code, _, err = said(*("train", "--data", made, "--model", "resnet1d20", "--out", model, "--epochs", 1, "--seed", 2))
    assert code == 0, err
    recipe.write_text(f"[data]\nfile = {str(made)!r}\n[model]\nweights = {str(model)!r}\n[finetune]\nbatch = 9999\n")
    code, _, err = said("run", recipe, "--out", tmp_path / "run")
    assert code == 2
    assert "of this run's test split" in err
    assert "run.seed = 2" in err
    # With the seed that it was trained with, it is let by, and the next mistake is told.
    code, _, err = said("run", recipe, "--out", tmp_path / "run", "--set", "run.seed=2")
    assert code == 2
    assert "finetune.batch = 9999" in err
