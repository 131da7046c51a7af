"""Whole runs, small: two SNRs, a resnet1d20, a few steps; real training, a real ONNX Runtime, real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import onnxruntime
import pytest
import torch

from toolchain.models import load_model, save_model

STAGES = ["data", "train", "plan", "finetune", "export", "profile", "report"]
RECIPE = """
[run]
threads = 1
[data]
frames_per_cell = 20
snr_min_db = 10
snr_max_db = 12
[model]
name = "resnet1d20"
[train]
steps = 8
batch = 64
[plan]
keep = 3
frames = 64
[finetune]
steps = 6
batch = 64
[export]
parity_frames = 40
# Of a model that knows next to nothing.
most_drop = 0.5
[profile]
processes = 2
seconds = 0.05
"""
# Where it is not about the bundles: the other precisions take as long as all else.
FP32 = ("--set", 'export.precisions=["fp32"]')


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(thinwave, recipe, tmp_path_factory):
    """A finished run: its folder and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = thinwave("run", recipe, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def without_times(results):
    results = json.loads(json.dumps(results))
    del results["seconds"], results["host"], results["speedup"]
    for model in results["models"].values():
        del model["latency"]
    return results


def test_the_stages_run_in_their_order_and_the_table_ends_it(finished):
    _, said = finished
    lines = said.splitlines()
    starts = [line.split()[0] for line in lines if line.split() and line.split()[0] in STAGES]
    assert starts[:7] == STAGES
    for row in (
        "parameters",
        "MACs a frame",
        "FLOPs a frame (2 a MAC)",
        "accuracy",
        "sensitivity",
        "ONNX bytes",
        "p50",
        "p95",
    ):
        assert row in said


def test_results_have_the_promised_names_and_agree_with_each_other(finished):
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    assert list(results["seconds"]) == STAGES
    assert results["schema"] == 1
    assert results["dataset"]["frames"] == {"train": 264, "validation": 88, "test": 88}
    assert results["dataset"]["source"] == "generated: rml2016a"
    assert len(results["dataset"]["classes"]) == 11
    plan = results["plan"]
    assert len(plan["units"]) == 9
    assert len(plan["kept"]) == 3
    assert [index for block in plan["blocks"] for index in block] == list(range(9))
    assert plan["fixed"] == []
    assert results["parity"]["agreement"] == 1.0
    assert 0 <= results["parity"]["max_abs_diff"] <= 1e-4
    original, pruned = results["models"]["original"], results["models"]["pruned"]
    assert (original["params"], original["macs"]) == (94_027, 3_945_152)
    assert pruned["macs"] < original["macs"]
    for model in (original, pruned):
        assert model["flops"] == 2 * model["macs"]
        assert list(model["accuracy_by_snr"]) == ["10", "12"]
        # 44 test frames at either SNR: the whole is the mean of the two.
        assert model["accuracy"] == pytest.approx(np.mean(list(model["accuracy_by_snr"].values())))
        file = folder / model["onnx"]["file"]
        assert file.stat().st_size == model["onnx"]["bytes"]
        (record,) = model["latency"]
        assert record["kind"] == "measured"
        assert (record["target"], record["runtime"], record["precision"]) == ("x86-cpu", "onnxruntime", "fp32")
        assert (record["batch"], record["threads"]) == (1, 1)
        assert 0 < record["p50_ms"] <= record["p90_ms"] <= record["p95_ms"] <= record["p99_ms"] <= record["max_ms"]
        assert record["runs"] >= 2 * 1024
    speedup = results["speedup"]
    assert speedup["low"] <= speedup["ratio"] <= speedup["high"]
    ratio = original["latency"][0]["p50_ms"] / pruned["latency"][0]["p50_ms"]
    assert speedup["ratio"] == pytest.approx(ratio, rel=1e-9)


def test_accuracy_is_that_of_the_onnx_file_on_frames_that_nothing_was_chosen_on(finished):
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    with np.load(folder / "data" / "split.npz") as file:
        splits = {name: file[name] for name in file}
    assert len(set(np.concatenate(list(splits.values())))) == 440
    with h5py.File(folder / "data" / "frames.h5") as file:
        iq, label = file["iq"][:][splits["test"]], file["label"][:][splits["test"]]
    for name in ("original", "pruned"):
        session = onnxruntime.InferenceSession(
            folder / "bundles" / name / "fp32.onnx", providers=["CPUExecutionProvider"]
        )
        (logits,) = session.run(None, {"iq": iq})
        assert results["models"][name]["accuracy"] == (logits.argmax(axis=1) == label).mean()
        manifest = json.loads((folder / "bundles" / name / "manifest.json").read_text())
        assert manifest["precisions"]["fp32"]["accuracy"]["overall"] == results["models"][name]["accuracy"]
        for precision, entry in results["models"][name]["precisions"].items():
            assert entry["bytes"] == (folder / entry["file"]).stat().st_size
            assert entry["accuracy"] == manifest["precisions"][precision]["accuracy"]["overall"]
        assert list(results["models"][name]["precisions"]) == ["fp32", "fp16", "int8"]


def test_the_pruned_model_loads_by_itself_and_remembers_its_plan(finished):
    folder, _ = finished
    model, card = load_model(folder / "pruned.safetensors")
    assert model(torch.zeros(2, 2, 128)).shape == (2, 11)
    assert len(card.dropped) == 6
    assert card.plan == json.loads((folder / "plan.json").read_text())


def test_pictures_and_the_report_are_there(finished):
    folder, _ = finished
    for name in ("accuracy", "plan", "confusion"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"figures/{name}.png" in (folder / "report.md").read_text()


def test_a_finished_run_says_so_and_recomputes_nothing(thinwave, finished, recipe):
    folder, said = finished
    before = {
        file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and ".thinwave" not in file.parts
    }
    again = thinwave("run", recipe, "--out", folder)
    assert again.returncode == 0
    assert again.stdout.count("finished before,") == 7
    assert "This run was finished before; nothing was computed again." in again.stdout
    assert said[said.index("parameters") :] == again.stdout[again.stdout.index("parameters") :]
    assert before == {file: file.stat().st_mtime_ns for file in before}


@pytest.mark.slow
def test_another_recipe_is_refused_with_the_differences_and_replace_keeps_what_fits(
    thinwave, finished, recipe, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    other = ("run", recipe, "--out", folder, "--set", "plan.keep=4", *FP32)
    refused_here = thinwave(*other)
    assert refused_here.returncode == 2
    assert "plan.keep: 3 -> 4" in refused_here.stderr
    assert "Traceback" not in refused_here.stderr
    replaced = thinwave(*other, "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert replaced.stdout.count("finished before,") == 2
    assert len(json.loads((folder / "results.json").read_text())["plan"]["kept"]) == 4
    first = (finished[0] / "original.safetensors").read_bytes()
    assert (folder / "original.safetensors").read_bytes() == first


@pytest.mark.slow
def test_a_model_that_is_trained_already_is_not_trained_again(thinwave, finished, recipe, tmp_path):
    weights = finished[0] / "original.safetensors"
    changes = ("--set", f"model.weights={weights}", "--set", "plan.keep=0.5", *FP32)
    done = thinwave("run", recipe, "--out", tmp_path / "run", *changes)
    assert done.returncode == 0, done.stderr
    assert "resnet1d20 from original.safetensors, not trained here" in done.stdout
    mine, theirs = load_model(tmp_path / "run" / "original.safetensors")[0], load_model(weights)[0]
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in mine.state_dict().items())
    before, after = (json.loads((run / "results.json").read_text()) for run in (finished[0], tmp_path / "run"))
    assert before["models"]["original"]["accuracy"] == after["models"]["original"]["accuracy"]
    assert after["settings"]["model"]["weights"] == "original.safetensors"


@pytest.mark.slow
def test_plain_weights_in_another_order_of_classes_give_the_same_accuracy(thinwave, finished, recipe, tmp_path):
    weights = load_model(finished[0] / "original.safetensors")[0].state_dict()
    classes = json.loads((finished[0] / "results.json").read_text())["dataset"]["classes"]
    for name in ("head.2.weight", "head.2.bias"):
        weights[name] = weights[name].flip(0)
    torch.save(weights, tmp_path / "mine.pt")
    changes = ("--set", f"model.weights={tmp_path / 'mine.pt'}", "--set", f"model.classes={json.dumps(classes[::-1])}")
    changes += FP32
    done = thinwave("run", recipe, "--out", tmp_path / "run", *changes)
    assert done.returncode == 0, done.stderr
    before, after = (json.loads((run / "results.json").read_text()) for run in (finished[0], tmp_path / "run"))
    assert before["models"]["original"]["accuracy"] == after["models"]["original"]["accuracy"]
    assert after["dataset"]["classes"] == classes[::-1]


def test_the_model_file_and_the_recipe_must_name_the_same_architecture(thinwave, finished, recipe, tmp_path):
    changes = ("--set", f"model.weights={finished[0] / 'original.safetensors'}", "--set", "model.name=resnet1d56")
    refused_here = thinwave("run", recipe, "--out", tmp_path / "run", *changes)
    assert refused_here.returncode == 2
    assert "holds a resnet1d20" in refused_here.stderr


def wait_for(condition, process, limit_s=300.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def at_work(folder, stage):
    return any((folder / ".thinwave" / "work").glob(f"{stage}-*/out"))


@pytest.mark.slow
def test_a_kill_in_every_stage_ends_in_the_same_numbers_and_files(thinwave, finished, recipe, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "toolchain.cli", "run", str(recipe), "--out", str(folder)]
    for stage in STAGES:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda stage=stage: at_work(folder, stage), process)
            if stage in ("train", "finetune"):
                wait_for(lambda: any((folder / ".thinwave" / "work").glob("*/checkpoint.pt")), process)
            os.kill(process.pid, signal.SIGKILL)
    done = thinwave("run", recipe, "--out", folder)
    assert done.returncode == 0, done.stderr
    # A kill that came too late found its stage finished; none was ever half there.
    assert done.stdout.count("finished before,") >= 6
    first, second = (json.loads((run / "results.json").read_text()) for run in (finished[0], folder))
    assert without_times(first) == without_times(second)
    for name in ("original.safetensors", "pruned.safetensors", "plan.json", "similarity.npy", "bundles/confusion.json",
                 "bundles/original/fp32.onnx", "bundles/pruned/fp32.onnx", "figures/accuracy.png"):  # fmt: skip
        assert (finished[0] / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_keeps_what_was_finished(recipe, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "toolchain.cli", "run", str(recipe), "--out", str(folder)]
    for stage in ("train", "profile"):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda stage=stage: at_work(folder, stage), process)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate()
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
        assert "the same command goes on from there" in stderr
        assert stderr.strip().splitlines()[-1].startswith("thinwave: stopped")
        assert not at_work(folder, stage)
    assert (folder / "bundles" / "pruned" / "manifest.json").is_file()


@pytest.mark.slow
def test_the_quickstart_learns_from_a_real_file(thinwave, real_file, tmp_path):
    # 300 steps instead of the whole recipe: enough to see that frames, labels and SNRs belong together.
    changes = ("--set", "train.steps=300", "--set", "finetune.steps=200", "--set", "profile.seconds=0.2")
    done = thinwave("quickstart", "--data", real_file, "--out", tmp_path / "run", *changes)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["dataset"]["source"] == "RML2016.10a_dict.pkl"
    assert results["dataset"]["frames"] == {"train": 6864, "validation": 2288, "test": 2288}
    high = {name: np.mean([share for snr, share in model["accuracy_by_snr"].items() if int(snr) >= 10])
            for name, model in results["models"].items()}  # fmt: skip
    assert high["original"] > 0.5
    assert high["pruned"] > 0.5


def test_every_stage_names_itself_in_the_design_order():
    from toolchain.pipeline import STAGES as TABLE

    assert [stage.name for stage in TABLE] == STAGES
    names = [name for stage in TABLE for name in stage.outputs]
    assert len(set(names)) == len(names)


def test_a_chain_of_keys_changes_from_the_first_stage_that_a_setting_decides():
    from toolchain.pipeline import _keys
    from toolchain.recipe import Recipe

    def keys(**tables):
        return _keys(Recipe.model_validate(tables).model_dump(mode="json"), {})

    before = keys()
    for stage, tables in {
        "data": {"run": {"threads": 2}},
        "train": {"train": {"steps": 3}},
        "plan": {"plan": {"keep": 3}},
        "finetune": {"finetune": {"steps": 3}},
        "export": {"export": {"parity_frames": 3}},
        "profile": {"profile": {"seconds": 1.0}},
    }.items():
        after = keys(**tables)
        changed = [name for name in STAGES if before[name] != after[name]]
        assert changed == STAGES[STAGES.index(stage) :]


@pytest.mark.slow
def test_the_same_frames_under_another_name_are_the_same_run(finished, recipe, thinwave, tmp_path):
    """The content of a file counts, not its name."""
    frames = finished[0] / "data" / "frames.h5"
    shutil.copy(frames, tmp_path / "a.h5")
    changes = ("--set", "train.steps=1", "--set", "finetune.steps=1")
    first = thinwave("run", recipe, "--out", tmp_path / "run", *changes, "--set", f"data.file={tmp_path / 'a.h5'}")
    assert first.returncode == 0, first.stderr
    (tmp_path / "a.h5").rename(tmp_path / "[red]b.h5")
    second = thinwave(
        "run", recipe, "--out", tmp_path / "run", *changes, "--set", f"data.file={tmp_path / '[red]b.h5'}"
    )
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("finished before,") == 7


def test_a_dead_model_ends_with_what_is_wrong(finished, recipe, refused_here, tmp_path):
    model, card = load_model(finished[0] / "original.safetensors")
    torch.nn.init.zeros_(model.head[2].weight)
    save_model(tmp_path / "dead.safetensors", model, card)
    said = refused_here(
        "run", recipe, "--out", tmp_path / "run", "--set", f"model.weights={tmp_path / 'dead.safetensors'}"
    )
    assert "no synaptic flow passes the network (log-flow -inf)" in said


def test_a_file_that_computes_something_else_fails_the_run(finished, recipe, tmp_path):
    """A real run whose exporter is bent: the parity check must stop it, and leave no bundle."""
    program = (
        "import sys, torch; import toolchain.export.origin as origin; from toolchain.cli import main\n"
        "export = origin.export_onnx\n"
        "def bent(model, *rest, **named):\n"
        "    with torch.no_grad(): model.head[2].bias[0] += 0.01\n"
        "    export(model, *rest, **named)\n"
        "    with torch.no_grad(): model.head[2].bias[0] -= 0.01\n"
        "origin.export_onnx = bent\n"
        "main()\n"
    )
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    # As if it had been interrupted before the export.
    for stage, outputs in {
        "export": ["bundles"],
        "profile": ["latency"],
        "report": ["figures", "report.md", "results.json"],
    }.items():
        (folder / ".thinwave" / "stages" / f"{stage}.json").unlink()
        for name in outputs:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    command = [sys.executable, "-c", program, "run", str(recipe), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "does not compute what the model does" in done.stderr
    assert not (folder / "bundles").exists()
    assert not (folder / "results.json").exists()
    assert (folder / "pruned.safetensors").exists()


def test_the_report_says_what_the_results_say(finished):
    folder, _ = finished
    text = (folder / "report.md").read_text()
    results = json.loads((folder / "results.json").read_text())
    for model in results["models"].values():
        for value in (
            f"{model['params']:,}",
            f"{model['macs']:,}",
            f"{model['accuracy']:.2%}",
            f"{model['onnx']['bytes']:,}",
        ):
            assert value in text
        for precision, entry in model["precisions"].items():
            assert f"| {precision} | {entry['bytes']:,} | {entry['accuracy']:.2%} |" in text
    assert f"{results['speedup']['ratio']:.2f}x faster" in text
    assert "1 MAC" not in text
    assert all(f"{index} (stages." in text for index in results["plan"]["kept"])


def test_a_replacement_that_fails_leaves_the_run_that_was_there(finished, recipe, refused_here, thinwave, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (tmp_path / "junk.h5").write_text("no frames")
    refused_here("run", recipe, "--out", folder, "--replace", "--set", f"data.file={tmp_path / 'junk.h5'}")
    again = thinwave("run", recipe, "--out", folder)
    assert again.stdout.count("finished before,") == 7, again.stderr


def test_a_pruned_model_can_be_pruned_again(finished, thinwave_here, tmp_path):
    folder, _ = finished
    done = thinwave_here(
        "prune",
        folder / "pruned.safetensors",
        "--data",
        folder / "data" / "frames.h5",
        "--keep",
        "2",
        "--out",
        tmp_path / "out",
    )
    assert done.returncode == 0, done.stderr
    before, after = (
        load_model(path)[1] for path in (folder / "pruned.safetensors", tmp_path / "out" / "model.safetensors")
    )
    assert after.edits[: len(before.edits)] == before.edits
    assert len(after.dropped) > len(before.dropped)
    assert after.training["data"] == before.training["data"]
