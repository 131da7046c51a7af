import json
import os
import signal
import subprocess
import sys

import click
import numpy as np
import pytest

from deploy.cli import DEVICE_COMMANDS, device
from deploy.command_line import run_command_line


def run(*arguments):
    return run_command_line(device, [str(argument) for argument in arguments], program="thinwave-device")


def test_profile_shows_a_table_and_writes_json_and_samples(bundle_folder, tmp_path, capsys):
    slow, fast = bundle_folder("slow", depth=60), bundle_folder("fast", depth=1)
    code = run(
        *("profile", fast, "--against", slow, "--processes", 2, "--seconds", 0.02),
        *("--json", tmp_path / "latency.json", "--samples", tmp_path / "samples.npz"),
    )
    captured = capsys.readouterr()
    assert code == 0
    assert "speed-up" in captured.out
    assert "million IQ samples a second" in captured.out
    assert "note: fewer than 10 processes" in captured.err
    data = json.loads((tmp_path / "latency.json").read_text())
    assert data["speed_up"]["low"] <= data["speed_up"]["ratio"] <= data["speed_up"]["high"]
    with np.load(tmp_path / "samples.npz") as samples:
        assert sorted(samples) == ["against.process0", "against.process1", "bundle.process0", "bundle.process1"]


def test_profile_writes_nothing_but_json_to_stdout_where_asked(bundle_folder, capsys):
    assert run("profile", bundle_folder(), "--processes", 2, "--seconds", 0.02, "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["speed_up"] is None
    assert list(data["models"]) == ["bundle"]


def test_check_tells_each_file(bundle_folder, capsys):
    assert run("check", bundle_folder()) == 0
    shown = capsys.readouterr().out
    assert "fp32.onnx" in shown
    assert "runs in onnxruntime" in shown
    assert run("check", bundle_folder(), "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["precisions"]["fp32"]["executed"] == "fp32"


def test_check_finds_a_damaged_file(bundle_folder, capsys):
    folder = bundle_folder()
    (folder / "fp32.onnx").write_bytes(b"damaged")
    assert run("check", folder) == 2
    assert "has 7 bytes, expected" in capsys.readouterr().err


def test_targets_says_which_is_this_machine(capsys):
    assert run("targets") == 0
    assert "x86-cpu" in capsys.readouterr().out
    assert run("targets", "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["x86-cpu"]["is_here"] == (os.uname().machine == "x86_64")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("profile", "nowhere"), "nowhere: no bundle here"),
        (("profile", "BUNDLE", "--against", "nowhere"), "nowhere: no bundle here"),
        (("profile", "BUNDLE", "--precision", "fp8"), "holds no fp8 model; it holds: fp32"),
        (("profile", "BUNDLE", "--runtime", "onxruntime"), 'did you mean "onnxruntime"?'),
        (("profile", "BUNDLE", "--threads", "100000"), "this process may use"),
        (("profile", "BUNDLE", "--target", "nowhere.toml"), "the target profile cannot be read"),
        (("profile", "BUNDLE", "--target", "x86-cpi"), 'did you mean "x86-cpu"?'),
        (("profile", "BUNDLE", "--seconds", "500"), "at most 120"),
        (("profile", "BUNDLE", "--samples", "nowhere/s.npz"), "there is no folder"),
        (("check", "BUNDLE", "--runtime", "nothing"), 'no runtime is named "nothing"'),
        (("profle", "BUNDLE"), "profile"),
    ],
)
def test_users_mistake_is_told_and_ends_with_code_two(bundle_folder, capsys, arguments, told):
    bundle = str(bundle_folder())
    assert run(*(bundle if argument == "BUNDLE" else argument for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("thinwave: error: ")
    assert told in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("command", DEVICE_COMMANDS, ids=lambda command: command.name)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help_with_an_example(capsys, command, flag):
    assert run(command.name, flag) == 0
    assert f"thinwave {command.name}" in capsys.readouterr().out.split("Example")[1]


def test_commands_can_be_shown_by_another_group(bundle_folder, capsys):
    group = click.Group("thinwave", commands=list(DEVICE_COMMANDS))
    assert run_command_line(group, ["check", str(bundle_folder())]) == 0
    assert "runs in onnxruntime" in capsys.readouterr().out


def test_ctrl_c_ends_with_code_130_and_no_traceback(bundle_folder, children_of):
    # Ctrl-C reaches the whole foreground group, which is why the children are not in it.
    command = [sys.executable, "-m", "deploy.cli", "profile", str(bundle_folder()), "--seconds", "100", "--json", "-"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            while not children_of(process.pid):
                assert process.poll() is None
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1] == "thinwave: stopped"
    assert "Traceback" not in err
