import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import click
import numpy as np
import pytest

from deploy.bundle import write_manifest
from deploy.cli import DEVICE_COMMANDS, device
from deploy.command_line import run_command_line
from deploy.runtimes import RUNTIMES


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
    assert [row["kind"] for row in data["latency"]] == ["measured", "measured"]
    with np.load(tmp_path / "samples.npz") as samples:
        assert sorted(samples) == ["against.process0", "against.process1", "bundle.process0", "bundle.process1"]


def test_profile_writes_nothing_but_json_to_stdout_where_asked(bundle_folder, capsys):
    assert run("profile", bundle_folder(), "--processes", 2, "--seconds", 0.02, "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["speed_up"] is None
    (row,) = data["latency"]
    assert (row["runtime"], row["precision"], row["batch"], row["threads"]) == ("onnxruntime", "fp32", 1, 1)


def test_profile_takes_somebody_elses_onnx_and_shows_its_layers(mean_model, capsys):
    options = ("--processes", 2, "--seconds", 0.02, "--layers", "--runtime", "onnxruntime", "--batch", 2)
    assert run("profile", mean_model("theirs.onnx", depth=1), *options) == 0
    shown = capsys.readouterr().out
    assert "onnxruntime" in shown
    assert "batch 2" in shown
    assert "while watched" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--quick", "--seconds", 1), "--quick and --seconds"),
        (("--seconds", 1, "--official"), "--official and --seconds"),
        (("--quick", "--official"), "--quick and --official"),
    ],
)
def test_profile_takes_one_word_on_how_long(bundle_folder, capsys, words, told):
    assert run("profile", bundle_folder(), *words) == 2
    assert f"{told} each say how long; give one" in capsys.readouterr().err


def test_profile_of_no_seconds_is_refused(bundle_folder, capsys):
    # So many threads are refused too, after the seconds: nothing is measured here.
    assert run("profile", bundle_folder(), "--seconds", 0, "--threads", 100_000) == 2
    assert "got 0.0 seconds" in capsys.readouterr().err


def test_check_tells_each_file(three_precisions, capsys):
    assert run("check", three_precisions) == 0
    shown = capsys.readouterr().out
    told = f"{three_precisions}: whole, and in onnxruntime it answers as it did at export"
    # Where a line is broken, within a path or between words, depends on how long the path is.
    assert "".join(told.split()) in "".join(shown.split())
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in table_rows(shown)}
    assert rows["bytes"] == [f"{(three_precisions / f'{p}.onnx').stat().st_size:,}" for p in ("fp32", "fp16", "int8")]
    assert rows["same class as the original"] == ["100.00%"] * 3
    assert rows["accuracy, 6 frames"] == ["83.33%"] * 3
    assert rows["against the original"] == ["+0.00 points"] * 3
    assert (rows["at 0 dB"], rows["at 10 dB"]) == (["66.67%"] * 3, ["100.00%"] * 3)


def table_rows(shown):
    return [line.strip("│ ").split("│") for line in shown.splitlines() if line.startswith("│")]


def test_check_writes_json_and_of_one_file_where_asked(three_precisions, capsys):
    assert run("check", three_precisions, "--precision", "int8", "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["runtime"], list(data["precisions"])) == ("onnxruntime", ["int8"])
    assert data["precisions"]["int8"]["executed"] == "int8"


@pytest.mark.parametrize("json_option", [(), ("--json", "-")])
def test_check_of_a_file_that_answers_otherwise_ends_with_code_two(
    bundle_folder, write_reference, manifest_for, capsys, json_option
):
    folder = bundle_folder()
    write_reference(folder, logits=np.tile(np.array([0, 0, 2.5], np.float32), (6, 1)))
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    assert run("check", folder, *json_option) == 2
    captured = capsys.readouterr()
    assert "in onnxruntime it does not compute what it did where it was exported" in captured.err
    assert "fp32.onnx: its logits differ by" in captured.err
    assert "answers as it did" not in captured.out
    if json_option:
        assert len(json.loads(captured.out)["precisions"]["fp32"]["problems"]) == 2


def test_check_of_logits_that_are_not_finite_writes_json(mean_model, write_reference, manifest_for, capsys):
    folder = mean_model("b/fp32.onnx", head=np.full((2, 3), np.nan, dtype=np.float32)).parent
    write_reference(folder)
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    assert run("check", folder, "--json", "-") == 2
    assert json.loads(capsys.readouterr().out)["precisions"]["fp32"]["problems"] == ["its logits are not finite"]


def test_check_without_reference_frames_is_told(bundle_folder, capsys):
    assert run("check", bundle_folder(reference=None)) == 2
    assert "the bundle holds no reference frames; export it again" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_build_leaves_an_engine_a_precision_and_the_bundle_whole(three_precisions, capsys, tmp_path, monkeypatch):
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs the TensorRT-RTX wheels", exc_type=ImportError)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run("build", three_precisions, "--runtime", "tensorrt-rtx") == 0
    captured = capsys.readouterr()
    built = sorted((three_precisions / "engines").glob("*.engine"))
    assert len(built) == 3
    lines = captured.out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["fp32", "fp16", "int8"]
    for path in built:
        assert any(f"{path}, {path.stat().st_size:,} bytes" in line for line in lines)
    assert captured.err == ""
    # Once more: they are there.
    assert run("build", three_precisions, "--runtime", "tensorrt-rtx", "--precision", "int8") == 0
    assert capsys.readouterr().out == f"{lines[2]}\n"
    assert run("check", three_precisions) == 0


def test_build_without_tensorrt_says_what_to_install(bundle_folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    folder = bundle_folder()
    assert run("build", folder) == 2
    assert 'pip install "thinwave[tensorrt]"' in capsys.readouterr().err
    assert not (folder / "engines").exists()


def test_classify_names_the_frames(bundle_folder, capsys, tmp_path):
    folder = bundle_folder()
    assert run("classify", folder, folder / "reference.npz", "--json", tmp_path / "answers.json") == 0
    shown = capsys.readouterr().out
    assert "83.33% of the frames as they are labelled" in shown
    assert [cell.strip() for cell in table_rows(shown)[0]] == ["BPSK", "3", "50.0%", "66.5%"]
    data = json.loads((tmp_path / "answers.json").read_text())
    assert data["predicted"] == ["BPSK", "QPSK", "BPSK", "BPSK", "QPSK", "16QAM"]


def test_classify_of_frames_without_labels_writes_nothing_but_json(bundle_folder, capsys, tmp_path, steady_frames):
    np.savez(tmp_path / "air.npz", iq=steady_frames([(0, 1)]))
    assert run("classify", bundle_folder(), tmp_path / "air.npz", "--json", "-", "--runtime", "openvino") == 0
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert (data["predicted"], data["correct"], captured.err) == (["QPSK"], None, "")


def test_doctor_tells_of_every_runtime_and_what_can_be_measured(capsys):
    assert run("doctor", "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert list(data["runtimes"]) == list(RUNTIMES)
    assert data["runtimes"]["onnxruntime"] == {"version": version("onnxruntime"), "problem": None}
    assert {"target", "GPU", "clocks", "energy"} <= set(data["measuring"])
    assert data["host"]["machine"] == os.uname().machine
    assert run("doctor") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in RUNTIMES)


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


def test_targets_show_tells_every_figure_with_its_source(capsys):
    assert run("targets", "show", "jetson-orin-nano-8gb") == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"accelerator\.peaks .* fp16_gflops +16,712 GFLOP/s +computed: 8 SM x clock x 2,048", shown, re.DOTALL
    )
    assert "power mode 15W: 15 W, 6 cores" in shown
    assert "pruned by default: to be 2 times as fast" in shown
    assert run("targets", "show", "jetson-orin-nano-8gb", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["accelerator"]["cores"] == {"value": 1024, "source": "vendor", "note": "data sheet of the module"}


def test_targets_check_reads_a_profile_strictly(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nruntime = ["onnxruntime"]\n')
    assert run("targets", "check", path) == 2
    told = capsys.readouterr().err
    assert "runtime: unknown key" in told
    assert "processor: missing" in told
    path.write_text(str(files("targets").joinpath("raspberry-pi-5.toml").read_text()))
    assert run("targets", "check", path) == 0
    assert "holds the profile raspberry-pi-5; it is not this machine" in capsys.readouterr().out


def test_targets_here_says_how_it_knows(capsys):
    assert run("targets", "here") == 0
    assert "its architecture is" in capsys.readouterr().out
    assert run("targets", "here", "--json") == 0
    assert json.loads(capsys.readouterr().out)["processor"]["cores"] == os.cpu_count()


@pytest.mark.parametrize("words", [("here",), ("show", "raspberry-pi-5"), ("check", "my.toml")])
def test_json_of_all_targets_takes_no_command_for_a_file(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert run("targets", "--json", *words) == 2
    assert f"--json goes behind {words[0]}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["ssh://board", "ssh://me@board/elsewhere"])
def test_one_device_is_not_measured_twice_at_once(bundle_folder, capsys, other):
    # Not even connected to.
    assert run("profile", bundle_folder(), "--device", "ssh://board", "--device", other) == 2
    told = f"ssh://board and {other} are one device; one measurement runs on a device at a time"
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def times(tmp_path):
    """A file as trtexec --exportTimes leaves it."""
    path = tmp_path / "times.json"
    path.write_text(json.dumps([{"latencyMs": each, "computeMs": each / 2} for each in (1.0, 2.0, 3.0)]))
    return path


def test_profile_reads_what_trtexec_measured(bundle_folder, times, capsys):
    words = ("profile", bundle_folder(), "--from-trtexec", times, "--target", "jetson-nano", "--precision", "fp16")
    assert run(*words, "--batch", 4, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["latency"]
    assert (row["runtime"], row["target"], row["precision"], row["batch"]) == ("trtexec", "jetson-nano", "fp16", 4)
    assert row["p50_ms"] == 2.0
    assert "without the host's call" in row["conditions"]["latency_is"]
    assert run(*words) == 0
    shown = capsys.readouterr()
    assert "jetson-nano: trtexec" in shown.out
    assert "fp16, as asked for" in shown.out
    notes = " ".join(shown.err.split())
    assert "trtexec was asked for fp16 and chooses by layer" in notes
    assert "these times are transfers and work by the GPU's clock, without the host's call" in notes


@pytest.mark.parametrize("option", [("--runtime", "onnxruntime"), ("--layers",), ("--official",), ("--processes", 5)])
def test_profile_refuses_options_of_measuring_where_it_reads(bundle_folder, times, capsys, option):
    words = ("profile", bundle_folder(), "--from-trtexec", times, "--target", "jetson-nano", "--precision", "fp16")
    assert run(*words, *option) == 2
    assert f"{option[0]} is for measuring, and --from-trtexec reads" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("profile", "nowhere"), "nowhere: no bundle here"),
        (("profile", "BUNDLE", "--against", "nowhere"), "nowhere: no bundle here"),
        (("profile", "BUNDLE", "--precision", "fp8"), "'fp8' is not one of 'fp32', 'fp16', 'int8'"),
        (("profile", "BUNDLE", "--precision", "int8"), "holds no int8 model; it holds: fp32"),
        (
            ("profile", "BUNDLE", "--runtime", "onxruntime"),
            'no runtime is named "onxruntime", did you mean "onnxruntime"?',
        ),
        (("profile", "BUNDLE", "--runtime", "onnxruntime-cuda"), "has no CUDAExecutionProvider; install"),
        (("profile", "none.onnx"), "none.onnx: there is no such file"),
        (("profile", "BUNDLE", "--threads", "0"), "0 is not in the range x>=1"),
        (("profile", "BUNDLE", "--batch", "0"), "0 is not in the range 1<=x<=65536"),
        (("profile", "BUNDLE", "--batch", "65537"), "65537 is not in the range 1<=x<=65536"),
        (("check", "BUNDLE", "--threads", "100000"), "this process may use"),
        (("check", "BUNDLE/fp32.onnx"), "give the bundle's folder"),
        (("check", "BUNDLE", "--json", "/dev/full"), "/dev/full: No space left on device"),
        (("classify", "BUNDLE", "BUNDLE/reference.npz", "--threads", "100000"), "this process may use"),
        (("profile", "BUNDLE", "--threads", "100000"), "this process may use"),
        (("profile", "BUNDLE", "--target", "nowhere.toml"), "the target profile cannot be read"),
        (("profile", "BUNDLE", "--target", "x86-cpi"), 'did you mean "x86-cpu"?'),
        (("profile", "BUNDLE", "--seconds", "500"), "at most 120"),
        (("profile", "BUNDLE", "--samples", "nowhere/s.npz"), "there is no folder"),
        (("check", "BUNDLE", "--runtime", "nothing"), 'no runtime is named "nothing"'),
        (("check", "BUNDLE", "--runtime", "onxruntime"), 'did you mean "onnxruntime"?'),
        (("check", "BUNDLE", "--precision", "int8"), "holds no int8 model; it holds: fp32"),
        (("check", "BUNDLE", "--threads", "0"), "0 is not in the range x>=1"),
        (("build", "nowhere"), "nowhere: no bundle here"),
        (("build", "BUNDLE", "--runtime", "openvino"), "'openvino' is not one of 'tensorrt', 'tensorrt-rtx'"),
        (("build", "BUNDLE", "--batch", "65"), "65 is not in the range 1<=x<=64"),
        (("classify", "BUNDLE"), "Missing argument 'FRAMES'"),
        (("classify", "BUNDLE", "nowhere.npz"), "nowhere.npz: cannot be read: No such file"),
        (("classify", "BUNDLE", "BUNDLE/manifest.json"), "manifest.json: expected an .npz with iq (n, 2, 32)"),
        (("profle", "BUNDLE"), "profile"),
    ],
)
def test_users_mistake_is_told_and_ends_with_code_two(bundle_folder, capsys, arguments, told):
    bundle = str(bundle_folder())
    assert run(*(argument.replace("BUNDLE", bundle) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("thinwave: error: ")
    assert told in captured.err
    assert captured.err.count("error:") == 1
    assert captured.out == ""


@pytest.mark.parametrize("command", DEVICE_COMMANDS, ids=lambda command: command.name)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help_with_an_example(capsys, command, flag):
    assert run(command.name, flag) == 0
    assert f"thinwave {command.name}" in capsys.readouterr().out.split("Example")[1]


def test_commands_can_be_shown_by_another_group(bundle_folder, capsys):
    group = click.Group("thinwave", commands=list(DEVICE_COMMANDS))
    assert run_command_line(group, ["check", str(bundle_folder())]) == 0
    assert "in onnxruntime it answers as it did at export" in capsys.readouterr().out


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
