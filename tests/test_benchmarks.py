"""The programs that make the README's figures start, whatever else is called as they are."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_program_tells_what_it_does(program, tmp_path):
    # From elsewhere: what is imported must be the installed packages, not what happens to lie beside the program.
    said = subprocess.run(
        [sys.executable, program, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "usage:" in said.stdout


@pytest.fixture
def comparing(monkeypatch):
    """The program that compares, as a module."""
    # It takes its own folder off the path.
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    path = next(program for program in PROGRAMS if program.stem == "compare")
    spec = importlib.util.spec_from_file_location("benchmark_compare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KINDS = {"layers": "layers", "psr": "layers", "l1": "channels", "l2": "channels", "rfp": "channels"}


def row(method, seed, accuracy, *, budget="macs_cut=0.75", times=2.0, within=True, failed=None):
    return {
        "method": method, "budget": budget, "model": "m", "data": "d", "seed": seed, "accuracy": accuracy,
        "test_frames": 1000, "macs": 100 if method == "original" else 25, "within": within, "failed": failed,
        "seconds": 3600, "kind": KINDS.get(method),
        "latency": {} if accuracy is None else {"onnxruntime": {"times_as_fast": times}},
    }  # fmt: skip


def test_the_comparisons_tables_mark_what_is_shown_and_say_what_there_is_not(comparing):
    originals = [row("original", seed, 0.6, budget="none", times=1.0) for seed in (1, 2)]
    # The third original could not be trained, so its cells have failed too.
    rows = [*originals, row("original", 3, None, budget="none", failed="nan")]
    rows += [row("layers", seed, accuracy, times=4.0) for seed, accuracy in ((1, 0.50), (2, 0.52))]
    rows += [row("l1", seed, accuracy, times=1.0) for seed, accuracy in ((1, 0.40), (2, 0.422))]
    rows += [row("l2", seed, accuracy) for seed, accuracy in ((1, 0.501), (2, 0.521))]
    rows += [row("rfp", 1, 0.3, within=False), row("psr", 1, None, failed="no plan"), row("taylor", 1, None)]
    lines = comparing.tables({"rows": rows}).splitlines()
    assert lines[0] == "m, 75 % fewer MACs"
    told = {
        line.split("|")[1].strip(): [part.strip() for part in line.split("|")[2:4]] for line in lines if "|" in line
    }
    accuracy = {method: one for method, (one, _) in told.items()}
    speed = {method: other for method, (_, other) in told.items()}
    assert (accuracy["method"], speed["method"]) == (
        "accuracy, %",
        "times as fast as the original in onnxruntime (MACs left)",
    )
    assert (accuracy["original"], speed["original"]) == ("60.0", "1.00 (100 %)")
    assert accuracy["layers"] == "51.0"
    # By 10 and by 9.8 points, which shows; and twice by 0.1 point, which 1,000 frames cannot tell.
    assert accuracy["l1"] == "41.1 -"
    assert accuracy["l2"] == "51.1"
    assert accuracy["rfp"] == "30.0 *"
    assert (accuracy["psr"], accuracy["taylor"]) == ("failed", "not run yet")
    # Geometric means over the seeds, and the part of the MACs that is left.
    assert speed["layers"] == "4.00 (25 %)"
    assert speed["l1"] == "1.00 (25 %)"
    assert "m: 12.0 hours of training" in lines[-1]
    # Of several budgets each is a column, of two tables.
    rows += [row("layers", seed, 0.4, budget="speedup=8") for seed in (1, 2)]
    lines = comparing.tables({"rows": rows}).splitlines()
    assert lines.count("| method | 75 % fewer MACs | at least 8 times as fast |") == 2
    assert "| layers | 51.0 | 40.0 |" in lines


def test_the_comparisons_picture_has_the_means_and_tells_what_lies_below_its_edge(comparing):
    rows = [row("original", seed, 0.6, budget="none", times=1.0) for seed in (1, 2)]
    rows += [row("layers", seed, accuracy, times=4.0) for seed, accuracy in ((1, 0.50), (2, 0.52))]
    rows += [row("l1", 1, 0.55), row("l1", 1, 0.11, budget="macs_cut=0.9"), row("l1", 1, 0.12, budget="macs_cut=0.95")]
    rows += [row("rfp", 1, 0.5, within=False), row("psr", 1, None, failed="no plan")]
    by_macs, by_speed = comparing.draw(rows, "m").axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in by_speed.get_lines()}
    assert drawn["layers"] == [[pytest.approx(4.0), pytest.approx(51.0)]]
    assert drawn["l1"] == [[2.0, pytest.approx(55.0)]]
    assert drawn["rfp"] == []
    assert "psr" not in drawn
    assert "1 below: 11 to 12 %" in by_macs.texts[0].get_text()
    assert comparing.draw(rows, "another") is None


def test_results_keep_what_is_not_there_any_more(comparing, tmp_path, capsys):
    results = tmp_path / "compare.json"
    rows = [row("layers", 1, 0.5) | {"model": "vgg1d16"}]
    results.write_text(json.dumps({"host": {"vgg1d16": {}}, "recipes": {}, "missing": {"vgg1d16": 0}, "rows": rows}))
    comparing.write(results, tmp_path / "empty")
    found = json.loads(results.read_text())
    assert found["rows"] == rows
    assert found["host"] == {"vgg1d16": {}}
    assert "holds no compare.json" in capsys.readouterr().err
