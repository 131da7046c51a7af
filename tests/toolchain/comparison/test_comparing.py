"""Whole comparisons, small: real training, Torch-Pruning, ONNX Runtime, and processes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from toolchain.compared import read_compared
from toolchain.cost import cost
from toolchain.models import load_model

METHODS = ["layers", "l1", "sfp", "scratch"]


@pytest.fixture(scope="module")
def finished(thinwave, recipe_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparisons") / "whole"
    done = thinwave("compare", recipe_file, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def compared(finished):
    return read_compared(finished[0])


def test_every_cell_is_there_once_and_its_file_is_the_model_that_the_table_tells_of(finished, compared):
    folder, _ = finished
    places = [(cell.method, cell.budget, cell.model, cell.data, cell.seed) for cell in compared.cells]
    assert sorted(places) == sorted((name, "macs_cut=0.6", "resnet1d20", "tiny", 1) for name in METHODS)
    assert compared.missing == ()
    alike = []
    for cell in compared.cells:
        assert cell.failed is None
        file = folder / "models" / f"tiny.resnet1d20.seed{cell.seed}.macs_cut=0.6.{cell.method}.safetensors"
        model, card = load_model(file)
        whole = cost(model, (2, card.length))
        assert (whole.macs, whole.params) == (cell.judged.macs, cell.judged.params)
        alike.append({**card.training["settings"], "steps": 2 * 4 if cell.method == "sfp" else 8})
        assert card.training["settings"]["steps"] == (4 if cell.method == "sfp" else 8)
        assert 0 <= cell.judged.accuracy <= 1
        # 11 classes, 3 SNRs, of 12 frames a fifth, rounded as the split does it.
        assert np.sum(cell.judged.confusion) == compared.originals[0].frames["test"] == 66
        right = sum(row[number] for number, row in enumerate(cell.judged.confusion))
        assert cell.judged.accuracy == pytest.approx(right / np.sum(cell.judged.confusion))
    assert all(settings == alike[0] for settings in alike)


def test_channel_methods_are_brought_to_the_macs_of_the_layer_plan(compared):
    (original,) = compared.originals
    whole = original.judged.macs
    found = {cell.method: cell for cell in compared.cells}
    layers = found["layers"]
    assert layers.asked == pytest.approx(0.4)
    assert layers.reached == pytest.approx(layers.judged.macs / whole)
    assert layers.reached <= 0.4
    for method in ("l1", "sfp"):
        cell = found[method]
        assert cell.wanted == layers.reached
        assert cell.within
        assert abs(cell.judged.macs - layers.judged.macs) <= 0.02 * whole
        assert 0 < cell.ratio < 1
    assert found["scratch"].judged.macs == layers.judged.macs


def test_latencies_are_of_one_run_a_row_and_equal_layers_are_timed_once(compared):
    row = {cell.method: cell.latency[0] for cell in compared.cells}
    assert len({latency.run for latency in row.values()}) == 1
    assert row["scratch"].same_as == "layers"
    assert row["sfp"].same_as == "l1"
    assert row["layers"].same_as is None
    assert row["scratch"].p50_ms == row["layers"].p50_ms
    for latency in row.values():
        low, high = latency.times_interval
        assert low <= latency.times_as_fast <= high
        assert latency.percentiles_ms == tuple(sorted(latency.percentiles_ms))
        assert latency.processes == 2
    original = compared.originals[0].latency[0]
    assert original.times_as_fast == pytest.approx(1.0)
    assert row["layers"].times_as_fast == pytest.approx(original.p50_ms / row["layers"].p50_ms, rel=1e-6)


def test_the_report_is_beside_it(finished):
    folder, said = finished
    assert {"report.html", "report.md", "report.csv", "report.json"} <= {path.name for path in folder.iterdir()}
    assert "60 % fewer MACs" in said


def stamps(folder):
    places = ("originals", "models", ".thinwave/pruned", ".thinwave/records")
    return {path: path.stat().st_mtime_ns for place in places for path in (folder / place).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_finished_comparison_does_nothing_and_more_methods_add_only_their_cells(
    finished, thinwave_here, recipe_file, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    before = stamps(folder)
    assert thinwave_here("compare", recipe_file, "--out", folder, "--measure-again").returncode == 0
    changed = {path for path, stamp in stamps(folder).items() if before[path] != stamp}
    assert changed
    assert all(path.parent == folder / ".thinwave/records/latency" for path in changed)
    before, table = stamps(folder), read_compared(folder)
    assert thinwave_here("compare", recipe_file, "--out", folder).returncode == 0
    assert stamps(folder) == before
    assert read_compared(folder).cells == table.cells
    methods = ("--set", 'compare.methods=["layers","l1","random-channels"]')
    more = thinwave_here("compare", recipe_file, "--out", folder, *methods)
    assert more.returncode == 0, more.stderr
    after = stamps(folder)
    new = {path.name for path in after if path not in before}
    assert {name.split(".macs_cut=0.6.")[1].split(".")[0] for name in new} == {"random-channels"}
    # The row was timed anew, with the new one in turns; nothing else changed.
    again = {path.relative_to(folder).parts[:3] for path in before if after[path] != before[path]}
    assert again == {(".thinwave", "records", "latency")}
    assert {cell.method for cell in read_compared(folder).cells} == {"layers", "l1", "random-channels"}
    # Another seed draws other frames, and is another original; what is there stays.
    more = thinwave_here("compare", recipe_file, "--out", folder, *methods, "--set", "compare.seeds=[1,2]")
    assert more.returncode == 0, more.stderr
    now = stamps(folder)
    assert {path: now[path] for path in after} == after
    first, second = read_compared(folder).originals
    assert first.judged.confusion != second.judged.confusion
    assert len(read_compared(folder).cells) == 6


def test_another_recipe_is_refused_and_nothing_is_lost(finished, refused, recipe_file):
    folder, _ = finished
    before = stamps(folder)
    said = refused("compare", recipe_file, "--out", folder, "--set", "finetune.steps=9")
    assert "holds the comparison of another recipe, which differs in" in said
    assert "finetune.steps: 8 -> 9" in said
    assert "--replace" in said
    assert stamps(folder) == before


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on_and_comes_to_the_same(finished, recipe_file, tmp_path):
    folder = tmp_path / "interrupted"
    command = [sys.executable, "-m", "toolchain.cli", "compare", str(recipe_file), "--out", str(folder)]
    interruptions = 0
    for wanted in ("originals", "models"):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not any((folder / wanted).glob("*.safetensors")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        interruptions += process.returncode == 130
        assert "the same command goes on from there" in said
        # What there is by then is in the table.
        table = read_compared(folder)
        assert table.missing
        places = [
            (cell.method, cell.budget, cell.model, cell.data, cell.seed) for cell in (*table.cells, *table.missing)
        ]
        assert sorted(places) == sorted((name, "macs_cut=0.6", "resnet1d20", "tiny", 1) for name in METHODS)
    assert interruptions == 2
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = read_compared(finished[0]), read_compared(folder)
    assert [cell.judged for cell in first.cells] == [cell.judged for cell in second.cells]
    assert [original.judged for original in first.originals] == [original.judged for original in second.originals]


@pytest.mark.slow
def test_no_process_is_left_when_the_comparison_is_killed(recipe_file, tmp_path):
    command = [sys.executable, "-m", "toolchain.cli", "compare", str(recipe_file), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--set", "train.steps=100000"], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (children := children_of(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3)
    children = children_of(process.pid)
    assert children
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path("/proc", child).exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children_of(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text().split() if path.exists() else []


BROKEN = """
from torch import nn


class Broken(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(256, classes)

    def forward(self, iq):
        if self.training:
            raise FloatingPointError("of the user's own")
        return self.layer(iq.flatten(1))


def build(classes):
    return Broken(classes)
"""
UNTRACEABLE = """
from torch import nn


class Untraceable(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.hidden, self.layer = nn.Linear(256, 16), nn.Linear(16, classes)

    def forward(self, iq):
        # By the values: no exporter can trace it.
        factor = 1.0 if iq.sum().item() > 1e9 else 2.0
        return factor * self.layer(self.hidden(iq.flatten(1)).relu())


def build(classes):
    return Untraceable(classes)
"""


@pytest.mark.slow
def test_what_cannot_be_done_is_named_with_its_reason_and_the_rest_goes_on(thinwave, changed, tmp_path, monkeypatch):
    (tmp_path / "own_broken.py").write_text(BROKEN)
    (tmp_path / "own_untraceable.py").write_text(UNTRACEABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ("own_untraceable:build", "resnet1d20", "lstm2", "own_broken:build")
    recipe = changed(
        ('["layers", "l1", "sfp", "scratch"]', '["layers", "l1"]'),
        ('[[models]]\nname = "resnet1d20"', "\n".join(f'[[models]]\nname = "{name}"' for name in names)),
    )
    done = thinwave("compare", recipe, "--out", tmp_path / "out", "--json")
    assert done.returncode == 1, done.stderr
    found = {(cell["model"], cell["method"]): cell for cell in json.loads(done.stdout)["cells"]}
    assert len(found) == 4 * 2
    for method in ("layers", "l1"):
        good = found["resnet1d20", method]
        assert good["failed"] is good["unmeasured"] is None
        assert good["latency"]
        broken = found["own_broken:build", method]
        assert broken["failed"] == "there is no original: FloatingPointError: of the user's own"
        assert broken["judged"] is None
    assert "has no unit that can be dropped" in found["lstm2", "layers"]["failed"]
    assert "cannot be pruned by Torch-Pruning" in found["lstm2", "l1"]["failed"]
    # What cannot be written as ONNX was trained all the same.
    untraceable = found["own_untraceable:build", "l1"]
    assert untraceable["failed"] is None
    assert untraceable["judged"]["accuracy"] > 0
    assert untraceable["latency"] == []
    assert "failed: l1, macs_cut=0.6, lstm2 on tiny, seed 1: Lstm2: its channels cannot be pruned" in done.stderr
    assert "failed: own_broken:build on tiny, seed 1: FloatingPointError" in done.stderr
    assert "its latency cannot be measured: Untraceable cannot be written as ONNX" in done.stderr
    assert "Traceback" not in done.stderr
    (trace,) = (tmp_path / "out" / ".thinwave" / "failures").iterdir()
    assert "in forward" in trace.read_text()
    report = (tmp_path / "out" / "report.md").read_text()
    assert "of the user's own" in report
    assert "Untraceable cannot be written as ONNX" in report


@pytest.mark.slow
def test_what_could_not_be_measured_is_tried_again(thinwave, changed, tmp_path, monkeypatch):
    (tmp_path / "own_untraceable.py").write_text(UNTRACEABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    recipe = changed(
        ('["layers", "l1", "sfp", "scratch"]', '["l1"]'), ('name = "resnet1d20"', 'name = "own_untraceable:build"')
    )
    for _ in range(2):
        done = thinwave("compare", recipe, "--out", tmp_path / "out")
        assert done.returncode == 1, done.stderr
        assert "its latency cannot be measured: Untraceable cannot be written as ONNX" in done.stderr


@pytest.mark.slow
def test_a_cell_that_diverges_is_named_and_tried_again(finished, thinwave_here, changed, recipe_file, tmp_path):
    # A temperature at which the teacher's answers overflow: the loss is no number.
    recipe = changed(("[finetune]", "[finetune]\ntemperature = 1e-38"))
    folder = tmp_path / "out"
    shutil.copytree(finished[0], folder)
    only = ("--set", 'compare.methods=["layers", "l1"]')
    done = thinwave_here("compare", recipe, "--out", folder, "--replace", *only)
    assert done.returncode == 1
    assert "the loss became nan" in done.stderr
    assert "The same command tries again what failed." in done.stderr
    cells = read_compared(folder).cells
    assert [cell.failed for cell in cells] == [cells[0].failed] * 2
    assert "the loss became nan" in cells[0].failed
    # Originals and pruned models still fit: only the fine-tuning of the others is done again.
    done = thinwave_here("compare", recipe_file, "--out", folder, "--replace", *only)
    assert done.returncode == 0, done.stderr
    again = {cell.method: cell.judged for cell in read_compared(folder).cells}
    first = {cell.method: cell.judged for cell in read_compared(finished[0]).cells}
    assert again == {name: first[name] for name in ("layers", "l1")}
