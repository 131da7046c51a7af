import json

import pytest

from toolchain.compared import FILE


@pytest.fixture
def folder(tmp_path):
    """A folder of a comparison of one cell with the ``name`` and ``method``."""

    def write(name, method="layers", **changes):
        judged = {
            "accuracy": 0.9,
            "validation_accuracy": 0.9,
            "accuracy_by_snr": {"0": 0.9},
            "confusion": [[9, 1], [1, 9]],
            "sensitivity_db": -1.0,
            "params": 10,
            "macs": 100,
        }
        cell = {"method": method, "kind": "layers", "data": "d", "model": "m", "budget": "macs_cut=0.5", "seed": 1}
        values = {
            "schema": 2, "name": name, "recipe": {}, "host": {}, "baseline": "layers", "level": 0.5,
            "runtimes": ["onnxruntime"], "originals": [], "cells": [{**cell, "judged": judged}], "missing": [],
        }  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(json.dumps({**values, **changes}))
        return tmp_path / name

    return write


def test_a_report_is_written_beside_its_comparison(thinwave_here, folder):
    place = folder("one")
    said = thinwave_here("report", place)
    assert said.returncode == 0, said.stderr
    assert "50 % fewer MACs" in said.stdout
    assert f"report    {place / 'report.html'}" in said.stdout
    assert sorted(path.name for path in place.iterdir()) == [
        FILE, "report.csv", "report.html", "report.json", "report.md",
    ]  # fmt: skip
    # The file itself may be named too.
    assert thinwave_here("report", place / FILE).returncode == 0


def test_several_are_one_report_elsewhere(thinwave_here, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = thinwave_here("report", folder("one"), folder("two", "psr"), "--json")
    assert said.returncode == 0, said.stderr
    assert {row["method"] for row in json.loads(said.stdout)["rows"]} == {"layers", "psr"}
    assert (tmp_path / "runs" / "report" / "report.html").exists()
    said = thinwave_here("report", tmp_path / "one", tmp_path / "two", "--out", "both", "--baseline", "psr")
    assert said.returncode == 0, said.stderr
    assert "held against psr" in (tmp_path / "both" / "report.md").read_text()


def test_mistakes_are_told(refused_here, folder, tmp_path):
    place = folder("one")
    assert "holds no compare.json" in refused_here("report", tmp_path)
    assert "holds no compare.json" in refused_here("report", tmp_path / "nowhere")
    assert "one and twin both hold layers" in refused_here("report", place, folder("twin"), "--out", tmp_path / "out")
    assert "baseline 'l1': no cell has this method" in refused_here("report", place, "--baseline", "l1")
    assert "cannot be made a folder" in refused_here("report", place, "--out", place / FILE)
    (place / FILE).write_text('{"schema": 2, "name"')
    assert "cannot be read" in refused_here("report", place)
    assert "Missing argument" in refused_here("report")
