import json
import sys
import textwrap

import numpy as np
import pytest
import torch

from toolchain import cli_latency, cli_pruning
from toolchain.data import write_h5
from toolchain.latency_budget import meters
from toolchain.models import ModelCard, build_model, create_model, load_model, save_model
from toolchain.pruning import apply_plan, plan_from_json
from toolchain.pruning.planning import ALLOTMENTS, SCORES, SIGNATURES, SIMILARITIES

CLASSES = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")


@pytest.fixture(scope="module")
def frames_file(tmp_path_factory):
    """400 frames of noise of 64 samples, 5 classes, 4 SNRs."""
    rng = np.random.default_rng(0)
    label = np.tile(np.arange(5), 80)
    snr_db = np.repeat([0.0, 6.0, 12.0, 18.0], 100).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "frames.h5"
    frames = rng.normal(size=(400, 2, 64)).astype(np.float32)
    write_h5(path, iq=frames, label=label, snr_db=snr_db, classes=CLASSES, sample_rate_hz=None, made_by="noise")
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Plain weights of a resnet1d20 for 5 classes."""
    path = tmp_path_factory.mktemp("weights") / "w.pt"
    torch.save(create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1)).state_dict(), path)
    return path


def test_cost_prints_units_and_sums_for_people_and_machines(thinwave_here, tmp_path):
    said = thinwave_here("cost", "resnet1d20", "--json", tmp_path / "cost.json")
    assert said.returncode == 0, said.stderr
    assert "stages.1.0 16x128 -> 32x64 reducible  5,312   327,680   8.3% 24,576" in said.stdout
    assert "3,945,152" in said.stdout
    assert "reducible: stages.1.0, stages.2.0 (its shortcut stays)" in said.stdout
    values = json.loads((tmp_path / "cost.json").read_text())
    assert (values["params"], values["macs"], values["flops"]) == (94_027, 3_945_152, 7_890_304)
    assert [unit["kind"] for unit in values["units"]].count("reducible") == 2
    assert values["uncounted"] == []


def test_cost_refuses_what_the_file_says_otherwise(refused_here, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(
        path, create_model("resnet1d20", 5, 64), ModelCard(architecture="resnet1d20", classes=CLASSES, length=64)
    )
    for option, value in (("--classes", "24"), ("--length", "128"), ("--model", "resnet1d56")):
        assert f"and {option} says {value}; leave it out" in refused_here("cost", path, option, value)
    assert "is a folder, expected a file" in refused_here("cost", tmp_path)
    assert "no module that runs has such a name" in refused_here("cost", path, "--units", "nope*")


def test_cost_of_a_model_in_which_nothing_can_be_dropped_says_so(thinwave_here):
    said = thinwave_here("cost", "lstm2")
    assert said.returncode == 0, said.stderr
    assert "No unit can be dropped" in said.stdout


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the working directory, with several factories."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            from torch import nn, sigmoid

            class Gate(nn.Module):
                def forward(self, x):
                    return x * sigmoid(x)

            class Gated(nn.Sequential):
                def __init__(self, classes=5):
                    row = lambda: nn.Sequential(nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8), Gate())
                    super().__init__(
                        nn.Conv1d(2, 8, 3, padding=1), *[row() for _ in range(4)], nn.AdaptiveAvgPool1d(1), nn.Flatten(),
                        nn.Linear(8, classes))

            class Chain(nn.Sequential):
                def __init__(self, classes=5):
                    row = lambda: nn.Sequential(nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU())
                    super().__init__(
                        nn.Conv1d(2, 8, 3, padding=1), nn.ReLU(), *[row() for _ in range(4)],
                        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, classes))

            def images():
                return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())

            def nothing():
                return 7

            def asking(classes):
                return Chain(classes)

            def leaving():
                raise SystemExit(3)
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("mine", None)


def test_a_users_own_model_is_weighed_and_pruned_with_its_weights(thinwave_here, refused_here, own, frames_file):
    said = thinwave_here("cost", "--model", "mine:Chain", "--length", "64")
    assert said.returncode == 0, said.stderr
    assert "4 of 4 units can be dropped; a plan keeps one at least" in said.stdout
    # A factory that must be told how many classes there are is told the default.
    assert thinwave_here("cost", "mine:asking").returncode == 0

    torch.save(build_model("mine:Chain", 5, 64).state_dict(), own / "chain.pt")
    said = thinwave_here(
        "prune", "--model", "mine:Chain", "--weights", "chain.pt", "--data", frames_file, "--keep", "2", "--out", "out",
        "--json", "out.json",
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "2 of 4 units kept" in said.stdout
    assert (
        json.loads((own / "out.json").read_text())["macs"]["after"]
        < json.loads((own / "out.json").read_text())["macs"]["before"]
    )
    # The file names the user's code, which runs only where the user says so too.
    said = refused_here("cost", "out/model.safetensors")
    assert (
        "built by mine:Chain, code that is not thinwave's; to let that code run, say so with --model mine:Chain" in said
    )
    assert thinwave_here("cost", "out/model.safetensors", "--model", "mine:Chain").returncode == 0
    for name, message in (
        ("mine:images", "the model fails on frames (batch, 2, 128): RuntimeError"),
        ("mine:leaving", "the call failed: SystemExit: 3"),
        ("mine:nothing", "expected a function that gives an nn.Module, it gave int"),
        ("mine:Chian", 'the module mine has no "Chian"'),
        ("mine:nn.Module.__doc__", "is str; expected a function"),
        ("yours:Chain", "cannot be imported: ModuleNotFoundError"),
        ("mine:a b", "expected package.module:factory"),
    ):
        assert message in refused_here("cost", "--model", name), name


def test_prune_leaves_plan_model_and_picture(thinwave_here, refused_here, weights, frames_file, tmp_path):
    out = tmp_path / "out"
    command = (
        "prune",
        "--model",
        "resnet1d20",
        "--weights",
        weights,
        "--data",
        frames_file,
        "--macs-cut",
        "0.6",
        "--out",
        out,
    )
    said = thinwave_here(*command)
    assert said.returncode == 0, said.stderr
    assert sorted(path.name for path in out.iterdir()) == ["model.safetensors", "plan.json", "plan.png"]
    assert (out / "plan.png").read_bytes().startswith(b"\x89PNG")
    plan = plan_from_json(json.loads((out / "plan.json").read_text()))
    assert plan.settings["macs_cut"] == 0.6
    assert plan.macs_left <= 0.4 * plan.macs
    model, card = load_model(out / "model.safetensors")
    assert card.classes == CLASSES
    assert card.dropped == plan.dropped
    whole = create_model("resnet1d20", 5, 64)
    whole.load_state_dict(torch.load(weights, weights_only=True))
    iq = torch.randn(4, 2, 64)
    with torch.no_grad():
        assert torch.equal(model(iq), apply_plan(plan, whole).eval()(iq))
    # What is there is not written over unless that is asked for.
    before = (out / "plan.json").read_bytes()
    assert "holds plan.json, model.safetensors, plan.png already" in refused_here(*command)
    assert (out / "plan.json").read_bytes() == before
    assert thinwave_here(*command, "--replace").returncode == 0
    # Nor what is read, whatever is asked for; nor the plan by what --json writes.
    again = ("prune", out / "model.safetensors", "--data", frames_file, "--keep", "2", "--out", out, "--replace")
    assert "is what is read" in refused_here(*again)
    assert "lies in the folder --out" in refused_here(*command, "--replace", "--json", out / "plan.json")
    assert plan_from_json(json.loads((out / "plan.json").read_text())) == plan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model", "resnet1d20", "--weights", "W"],
            "expected one budget, --keep, --macs-cut, --params-cut, --latency-ms or --speedup; got none",
        ),
        (["W", "--keep", "3", "--speedup", "2"], "got --keep and --speedup"),
        (["W", "--speedup", "2", "--latency-ms", "1"], "got --latency-ms and --speedup"),
        (["W", "--speedup", "1"], "'--speedup': '1' is no number over 1"),
        (["W", "--latency-ms", "nan"], "'--latency-ms': 'nan' is no number over 0"),
        (["W", "--keep", "3", "--target", "x86-cpu"], "--target is for --latency-ms or --speedup"),
        (["W", "--macs-cut", "0.5", "--estimated"], "--estimated is for --latency-ms or --speedup"),
        (["W", "--macs-cut", "0.5", "--allot", "flow"], "--allot is for --latency-ms or --speedup"),
        (["W", "--speedup", "2", "--target", "x86"], 'no target profile is named "x86"'),
        (["W", "--speedup", "2", "--device", "ssh://me@there"], "--device needs --target"),
        (["W", "--speedup", "2", "--device", "there", "--target", "x86-cpu"], "there: is no address of a device"),
        (["W", "--speedup", "2", "--wheels", "w"], "--wheels"),
        (["W", "--speedup", "2", "--runtime", "onnx"], 'no runtime is named "onnx"'),
        (["W", "--speedup", "2", "--target", "jetson-nano", "--runtime", "nope"], '"nope" is none of its runtimes'),
        (
            ["W", "--speedup", "2", "--device", "ssh://there", "--target", "x86-cpu", "--runtime", "openvno"],
            'no runtime is named "openvno", did you mean "openvino"',
        ),
        (
            ["W", "--speedup", "2", "--device", "ssh://there", "--target", "x86-cpu", "--runtime", "best"],
            'no runtime is named "best"',
        ),
        (
            ["W", "--speedup", "2", "--device", "ssh://there", "--target", "jetson-nano"],
            "ssh://there: jetson-nano is measured by its own trtexec",
        ),
        (
            ["W", "--speedup", "2", "--device", "ssh://there", "--target", "x86-cpu", "--wheels", "W"],
            "is a file; --wheels expects a folder of them",
        ),
        (["--model", "resnet1d20", "--weights", "W", "--keep", "half"], "'half' is neither a number of units"),
        (["none.safetensors", "--keep", "0"], "'--keep': '0' is neither a number of units from 1"),
        (["none.safetensors", "--keep", "1.5"], "nor a fraction of them over 0 and up to 1"),
        (["none.safetensors", "--macs-cut", "nan"], "'--macs-cut': 'nan' is no fraction over 0 and under 1"),
        (["none.safetensors", "--params-cut", "1"], "'--params-cut': '1' is no fraction over 0 and under 1"),
        (
            ["none.safetensors", "--keep", "3", "--frames", "2"],
            "compared by their outputs on these; expected 8 to 4096",
        ),
        (["--model", "resnet1d20", "--weights", "W", "--keep", "12"], "keep = 12 asks for 12 units of 9"),
        (
            ["--model", "resnet1d20", "--weights", "W", "--macs-cut", "0.999"],
            "no plan removes that much of this model's MACs; the nearest keeps 1",
        ),
        (
            ["--model", "resnet1d20", "--weights", "W", "--keep", "3", "--blocks", "0"],
            "neither auto nor a number of blocks",
        ),
        (["W", "--keep", "3"], "plain weights do not say which model they belong to"),
        (["--model", "resnet1d56", "--weights", "W", "--keep", "3"], "the weights do not fit the model"),
        (["--keep", "3"], "expected a file that thinwave wrote, or --model NAME"),
        (["resnet1d20", "--keep", "1"], "a name of the zoo is an untrained model"),
        (["--model", "lstm2", "--weights", "L", "--keep", "1"], "has no unit that can be dropped"),
        (["none.safetensors", "--keep", "1"], "there is no such file"),
        (["resnet1d21", "--keep", "1"], 'did you mean "resnet1d20"'),
    ],
)
def test_what_cannot_be_pruned_ends_in_one_message_and_leaves_nothing(
    refused_here, weights, frames_file, tmp_path, options, message
):
    if "L" in options:
        torch.save(create_model("lstm2", 5, 64).state_dict(), tmp_path / "L.pt")
    files = {"W": str(weights), "L": str(tmp_path / "L.pt")}
    given = [files.get(option, option) for option in options]
    assert message in refused_here("prune", *given, "--data", frames_file, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def trained(thinwave_here, weights, frames_file, tmp_path):
    """A model in a file of thinwave's: five units of a resnet1d20, which are written as ONNX one without the other."""
    out = tmp_path / "trained"
    done = thinwave_here(
        "prune", "--model", "resnet1d20", "--weights", weights, "--data", frames_file, "--keep", "5", "--out", out
    )
    assert done.returncode == 0, done.stderr
    return out / "model.safetensors"


@pytest.mark.slow
def test_a_model_is_pruned_to_a_latency_that_is_estimated(
    thinwave_here, refused_here, trained, frames_file, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    out = tmp_path / "out"
    # A target that is not here, and its own speed-up of 2.
    command = ("prune", trained, "--data", frames_file, "--target", "raspberry-pi-5", "--out")
    said = thinwave_here(*command, out, "--json", tmp_path / "said.json")
    assert said.returncode == 0, said.stderr
    assert "raspberry-pi-5 is not this machine: latencies are estimated" in caplog.text
    assert "pruned to be 2 times as fast, the default of raspberry-pi-5" in caplog.text
    assert "estimated on raspberry-pi-5, onnxruntime, fp32" in " ".join(said.stdout.split())
    told = json.loads((out / "latency.json").read_text())
    assert json.loads((tmp_path / "said.json").read_text())["latency"] == told
    assert told["kind"] == told["unit_latencies"]["kind"] == "estimated"
    assert told["reading"]["times_as_fast"] >= 2
    assert told["pruned"]["interval"] == "assumed"
    assert told["pruned"]["low_ms"] < told["pruned"]["estimated_ms"] == told["reading"]["ms"]
    plan = plan_from_json(json.loads((out / "plan.json").read_text()))
    model, _ = load_model(out / "model.safetensors")
    assert model(torch.zeros(1, 2, 64)).shape == (1, 5)
    kept = set(plan.kept)
    slow = [set(each["kept"]) for each in told["attempts"] if not each["fits"]]
    assert any(each > kept and len(each) == len(kept) + 1 for each in slow)
    # The unit latencies serve a smaller budget; those of one target are not those of another.
    known = ("--unit-latencies", out / "latency.json")
    again = thinwave_here(*command, tmp_path / "smaller", "--speedup", "3", *known)
    assert again.returncode == 0, again.stderr
    smaller = json.loads((tmp_path / "smaller/latency.json").read_text())
    saved, before = ([unit["saved_ms"] for unit in each["unit_latencies"]["units"]] for each in (smaller, told))
    assert saved == pytest.approx(before)
    assert smaller["reading"]["times_as_fast"] >= 3
    other = ("prune", trained, "--data", frames_file, "--target", "raspberry-pi-4", "--out", tmp_path / "o", *known)
    assert "target is raspberry-pi-5 there and raspberry-pi-4 here" in refused_here(*other)
    # A plan of another budget in the same folder has no latency.
    assert (
        thinwave_here("prune", trained, "--data", frames_file, "--keep", "3", "--out", out, "--replace").returncode == 0
    )
    assert not (out / "latency.json").exists()


@pytest.mark.slow
def test_a_model_is_pruned_to_a_latency_that_is_measured(thinwave_here, trained, frames_file, monkeypatch, tmp_path):
    # Of a moment each: what is held to them is the plan.
    monkeypatch.setattr(meters, "THOROUGH", meters.Effort(3, 0.1, footprints=True))
    monkeypatch.setattr(meters, "BRIEF", meters.Effort(2, 0.1))
    out = tmp_path / "out"
    said = thinwave_here("prune", trained, "--data", frames_file, "--speedup", "1.5", "--out", out)
    assert said.returncode == 0, said.stderr
    told = json.loads((out / "latency.json").read_text())
    assert told["kind"] == "measured"
    assert told["reading"]["at_least_times"] >= 1.5
    assert told["pruned"]["kind"] == told["original"]["kind"] == "measured"
    kept = set(json.loads((out / "plan.json").read_text())["kept"])
    assert 0 < len(kept) < len(told["unit_latencies"]["units"])
    slow = [set(each["kept"]) for each in told["attempts"] if not each["fits"]]
    assert any(each > kept and len(each) == len(kept) + 1 for each in slow)


def test_prune_says_where_fewer_frames_are_compared_than_asked_for(
    thinwave_here, weights, frames_file, tmp_path, caplog
):
    command = ("prune", "--model", "resnet1d20", "--weights", weights, "--data", frames_file, "--keep", "3", "--out")
    assert thinwave_here(*command, tmp_path / "a", "--frames", "4096").returncode == 0
    assert "the training split has 240 frames, not 4,096: all are compared" in caplog.text
    caplog.clear()
    assert thinwave_here(*command, tmp_path / "b", "--frames", "240").returncode == 0
    assert "all are compared" not in caplog.text


def test_a_folder_that_cannot_be_made_is_said_before_the_work(refused_here, frames_file, tmp_path, monkeypatch):
    command = ("prune", "none.safetensors", "--data", frames_file, "--keep", "3", "--out")
    assert f"cannot be made: {frames_file} is no folder" in refused_here(*command, frames_file / "a" / "b")
    # Root may write everywhere.
    monkeypatch.setattr("os.access", lambda place, mode: place != tmp_path)
    said = refused_here(*command, tmp_path / "a" / "b")
    assert f"cannot be made: {tmp_path} may not be written to; name another folder with --out" in said
    assert list(tmp_path.iterdir()) == []


def test_the_command_offers_what_the_method_has():
    # The tables are not imported for --help, because torch would come with them.
    assert tuple(SIMILARITIES) == cli_pruning.SIMILARITIES
    assert tuple(SIGNATURES) == cli_pruning.SIGNATURES
    assert tuple(SCORES) == cli_pruning.SCORES
    assert cli_latency.ALLOTMENTS == ALLOTMENTS


def test_flow_that_is_not_known_is_told_before_anything_is_measured(refused_here, own, frames_file, monkeypatch):
    monkeypatch.setattr("toolchain.pruning_job.unit_latencies", lambda *_, **__: pytest.fail("it was measured"))
    said = refused_here(
        "prune", "--model", "mine:Gated", "--data", frames_file, "--out", "out", "--speedup", "1.5", "--allot", "flow"
    )
    assert 'allot "flow": no flow is known of' in said


def test_a_name_that_is_no_model_is_told_how_ones_own_is_named(refused_here):
    assert "nor package.module:factory" in refused_here("cost", "--model", "mypackage.models")
