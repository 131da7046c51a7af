"""The command line as a person meets it: help, mistakes, an installation without torch."""

import inspect
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import click
import h5py
import numpy as np
import pytest

from toolchain.cli import thinwave as thinwave_command
from toolchain.data import write_h5


@pytest.mark.parametrize(
    "command",
    [
        "",
        "run",
        "quickstart",
        "data inspect",
        "data synth",
        "data convert",
        "train",
        "finetune",
        "evaluate",
        "profile",
        "check",
        "targets",
    ],
)
def test_help_answers_without_importing_what_is_slow(command):
    program = (
        "import sys; from toolchain.cli import thinwave\n"
        "thinwave.main([*sys.argv[1:], '-h'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'matplotlib', 'numpy') if name in sys.modules])"
    )
    call = [sys.executable, "-c", program, *command.split()]
    said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
    assert "Usage: " in said
    assert not command or "Example" in said


def test_help_names_the_commands_that_need_the_toolchain():
    needing = {
        name
        for name, command in thinwave_command.commands.items()
        if "require_extra(" in inspect.getsource(inspect.unwrap(command.callback))
    }
    told = " ".join(thinwave_command.help.split()).split("need the")[0]
    assert set(re.findall(r"`([a-z ]+)`", told)) == needing


def context_of(command, name, parent):
    # By its own settings: commands keep the first help option that they are asked for, also for other tests.
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def every_command(command, context):
    yield command, context
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        below = command.get_command(context, name)
        yield from every_command(below, context_of(below, name, context))


def test_help_is_text_and_nothing_that_steers_a_terminal():
    found = list(every_command(thinwave_command, context_of(thinwave_command, "thinwave", None)))
    assert len(found) > 15
    for command, context in found:
        assert all(letter.isprintable() or letter == "\n" for letter in command.get_help(context)), context.command_path


@pytest.fixture(scope="session")
def without_extra(tmp_path_factory):
    """An environment with the base dependencies only, as a device has it: the packages are this one's, linked."""
    from toolchain.recipe import tomllib

    site = tmp_path_factory.mktemp("device") / "site"
    site.mkdir()
    here = Path(sysconfig.get_paths()["purelib"])
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    brought = {name.split(">")[0].replace("-", "_") for name in project["optional-dependencies"]["toolchain"]}
    extra = brought - {"jinja2"}  # others bring that too
    for entry in here.iterdir():
        name = entry.name.split("-")[0].split(".")[0].lower()
        if name not in extra and not name.startswith(("torchgen", "functorch", "__editable__", "thinwave")):
            (site / entry.name).symlink_to(entry)
    return {**os.environ, "PYTHONPATH": f"{site}:{Path(__file__).parents[2]}"}


def on_device(environment, *arguments):
    # -S: not this environment's own packages, in which torch is.
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_without_the_extra_help_shows_all_and_a_run_ends_in_the_pip_line(without_extra, tmp_path):
    assert on_device(without_extra, "-c", "import torch").returncode == 1
    said = on_device(without_extra, "-m", "toolchain.cli", "--help")
    assert said.returncode == 0, said.stderr
    assert all(command in said.stdout for command in ("profile", "check", "targets", "run", "quickstart"))
    said = on_device(without_extra, "-m", "toolchain.cli", "quickstart", "--out", str(tmp_path / "run"))
    assert said.returncode == 2
    assert 'pip install "thinwave[toolchain]"' in said.stderr
    assert not (tmp_path / "run").exists()


def test_device_commands_work_without_the_extra(without_extra):
    said = on_device(without_extra, "-m", "deploy.cli", "targets", "--json", "-")
    assert said.returncode == 0, said.stderr
    assert "x86-cpu" in json.loads(said.stdout)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text('[run]\nthreads = 1\n[model]\nname = "resnet1d20"\n[train]\nsteps = 2\n[finetune]\nsteps = 2\n')
    return path


def frames_file(path, iq, label, snr_db, classes=("a", "b")):
    write_h5(path, iq=iq, label=label, snr_db=snr_db, classes=classes, sample_rate_hz=None, made_by="test")


def cells(count, length=128):
    rng = np.random.default_rng(0)
    iq = rng.normal(size=(count, 2, length)).astype(np.float32)
    return iq, np.arange(count) % 2, np.full(count, 10, np.float32)


def test_a_recipe_that_is_missing_or_wrong(refused_here, tmp_path, small):
    assert "there is no such recipe" in refused_here("run", tmp_path / "none.toml")
    said = refused_here("run", small, "--set", "plan.kep=1", "--set", "trian.steps=1")
    assert 'plan.kep: unknown key, did you mean "keep"?' in said
    assert 'trian: unknown key, did you mean "train"?' in said


def test_an_option_that_is_unknown_is_shown_the_help(refused_here, small):
    said = refused_here("run", small, "--outt", "x")
    assert "--outt" in said
    assert "--help" in said


def test_a_data_file_that_is_missing(refused_here, tmp_path):
    said = refused_here("quickstart", "--data", tmp_path / "none.pkl", "--out", tmp_path / "run")
    assert "none.pkl" in said
    assert not (tmp_path / "run").exists()


def test_a_data_file_of_another_format(refused_here, tmp_path):
    (tmp_path / "a.pkl").write_text("modulation,snr\nBPSK,3\n")
    said = refused_here("quickstart", "--data", tmp_path / "a.pkl", "--out", tmp_path / "run")
    assert "a.pkl" in said


def test_a_pickle_that_would_run_code_is_refused_before_it_does(refused_here, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({("BPSK", 0): Evil()}))
    said = refused_here("quickstart", "--data", tmp_path / "evil.pkl", "--out", tmp_path / "run")
    assert "system" in said
    assert not (tmp_path / "ran").exists()


def test_frames_with_nan(refused_here, tmp_path, small):
    iq, label, snr_db = cells(40)
    frames_file(tmp_path / "f.h5", iq, label, snr_db)
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        file["iq"][7, 0, 3] = np.nan
    said = refused_here("run", small, "--set", f"data.file={tmp_path / 'f.h5'}", "--out", tmp_path / "run")
    assert "NaN" in said
    assert "frame 7" in said


def test_frames_of_the_wrong_length_for_the_model_that_was_brought(refused_here, tmp_path, small):
    import torch

    from toolchain.models import ModelCard, create_model, save_model

    generator = torch.Generator().manual_seed(0)
    card = ModelCard(architecture="resnet1d20", classes=("a", "b"), length=64)
    save_model(tmp_path / "m.safetensors", create_model("resnet1d20", 2, 64, generator=generator), card)
    frames_file(tmp_path / "f.h5", *cells(40))
    small.write_text("")
    said = refused_here(
        "run", small, "--set", f"data.file={tmp_path / 'f.h5'}", "--set", f"model.weights={tmp_path / 'm.safetensors'}",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert "128 samples; expected 64" in said


def test_one_class_only(refused_here, tmp_path, small):
    iq, label, snr_db = cells(40)
    frames_file(tmp_path / "f.h5", iq, label * 0, snr_db)
    said = refused_here("run", small, "--set", f"data.file={tmp_path / 'f.h5'}", "--out", tmp_path / "run")
    assert "one class" in said


def test_an_output_folder_that_holds_something_else(refused_here, tmp_path, small):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    assert "no run of thinwave" in refused_here("run", small, "--out", tmp_path / "mine")
    assert "this is a file" in refused_here("run", small, "--out", tmp_path / "mine" / "thesis.tex")


def test_a_target_or_a_thread_count_that_is_not_this_machines(refused_here, tmp_path, small):
    said = refused_here("run", small, "--set", "profile.target=x86-cpi", "--out", tmp_path / "run")
    assert 'did you mean "x86-cpu"' in said
    said = refused_here("run", small, "--set", "run.threads=9999", "--out", tmp_path / "run")
    assert "run.threads = 9999: this process may use" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"run.seed={'9' * 5000}", "run.seed"),
        (b"data.preset=\xff", "no UTF-8 text"),
        ("plan.keep=10", "plan.keep = 10 asks for 10 units of 9"),
        (
            "plan.macs_cut=0.99",
            "plan.macs_cut = 0.99: no plan removes that much of this model's MACs; the nearest keeps 1 of",
        ),
        ('plan.units=["layers.*"]', "no module that runs has a name like layers.*"),
        (
            "plan.blocks=5",
            "plan.keep = 0.25 keeps 2 of 9 units, but each of 5 blocks keeps one at least; expected 5 to 9",
        ),
        ("profile.threads=9999", "9999 threads"),
        ('profile.runtime="onnxruntime-cuda"', "no CUDAExecutionProvider; install"),
        ("data.file=/", "data.file = /: this is no file"),
        ('data.file="a\\u0000b"', "this cannot be the name of a file"),
        ("data.file=~nosuchuser/x", "this cannot be the name of a file"),
        ("data.snr_min_db=-1000000000000000000000", "data.snr_min_db"),
        ("data.frames_per_cell=1000000000", "data.frames_per_cell"),
        ("model.weights=none.pt", "there is no such file"),
        ("train.batch=5000", "train.batch = 5000: more than the"),
        ("finetune.batch=5000", "finetune.batch = 5000: more than the"),
    ],
)
def test_what_can_be_known_at_the_start_is_said_at_the_start(refused_here, small, tmp_path, change, said):
    told = refused_here("run", small, "--set", "data.frames_per_cell=20", "--set", "data.snr_min_db=18", "--set", change,
                   "--out", tmp_path / "run")  # fmt: skip
    assert said in told
    assert not (tmp_path / "run" / "original.safetensors").exists()


def test_a_folder_in_which_nothing_was_finished_takes_another_recipe(refused_here, thinwave, small, tmp_path):
    refused_here(
        "run", small, "--set", "train.batch=5000", "--set", "data.frames_per_cell=20", "--out", tmp_path / "run"
    )
    said = refused_here(
        "run", small, "--set", "data.frames_per_cell=20", "--set", "train.batch=6000", "--out", tmp_path / "run"
    )
    assert "train.batch = 6000" in said


def test_an_empty_name_is_not_taken_for_no_name(refused_here, tmp_path):
    assert "data.file" in refused_here("quickstart", "--data", "", "--out", tmp_path / "run")
    assert "2016: there is no such file" in refused_here("quickstart", "--data", "2016", "--out", tmp_path / "run")
    assert "this is no UTF-8 text" in refused_here("quickstart", "--data", b"\xff.pkl", "--out", tmp_path / "run")


def test_a_name_that_is_too_long_is_said(refused_here, small, tmp_path):
    assert "name too long" in refused_here("run", small, "--out", tmp_path / ("x" * 300))


def test_a_cell_with_too_few_frames_is_named(refused_here, small, tmp_path):
    iq, label, snr_db = cells(40)
    snr_db[0] = 12
    frames_file(tmp_path / "f.h5", iq, label, snr_db, classes=("BPSK", "QPSK"))
    said = refused_here("run", small, "--set", f"data.file={tmp_path / 'f.h5'}", "--out", tmp_path / "run")
    assert "BPSK at 12 dB" in said


def test_an_unknown_preset_or_model(refused_here, tmp_path, small):
    assert "rml2016a" in refused_here("run", small, "--set", "data.preset=rml2016", "--out", tmp_path / "run")
    said = refused_here(
        "run", small, "--set", "model.name=resnet1d65", "--set", "data.frames_per_cell=10", "--out", tmp_path / "r"
    )
    assert 'did you mean "resnet1d56"?' in said


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a given size: a real full disk. Mounting one needs root."""
    folder = tmp_path / "full"
    folder.mkdir()

    def mount(size):
        if (
            os.geteuid() != 0
            or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "x", folder], check=False).returncode
        ):
            pytest.skip("needs the right to mount a small tmpfs")
        return folder

    yield mount
    subprocess.run(["umount", folder], check=False)


@pytest.mark.parametrize(("size", "finished"), [("100k", set()), ("600k", {"data"})])
def test_no_room_on_the_disk_is_said_and_what_was_finished_stays(refused_here, small, small_disk, size, finished):
    run = small_disk(size) / "run"
    said = refused_here("run", small, "--set", "data.frames_per_cell=20", "--set", "data.snr_min_db=18", "--out", run)
    assert "No space left on device" in said
    assert {file.stem for file in (run / ".thinwave" / "stages").glob("*.json")} == finished
    assert not list((run / ".thinwave" / "work").glob("*/out"))


def _examples(command):
    """The commands in the ends of all help texts, as words."""
    for below in getattr(command, "commands", {}).values():
        yield from _examples(below)
    for line in re.findall(r"thinwave .*", command.epilog or ""):
        yield shlex.split(line)


@pytest.mark.parametrize("words", list(_examples(thinwave_command)), ids=" ".join)
def test_every_example_of_the_help_is_a_command_that_is_understood(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, (_, *words) = thinwave_command, words
    while isinstance(command, click.Group):
        if not words:
            return  # a group that does something itself
        name, *words = words
        command = command.commands[name]
    command.make_context(command.name, words)
