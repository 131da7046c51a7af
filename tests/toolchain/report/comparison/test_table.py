import csv
import io
import json

import pytest

from toolchain.report.comparison.summary import summary_of
from toolchain.report.comparison.table import COLUMNS, flat_rows, to_csv, to_json


def test_a_row_for_each_method_budget_and_setting(make):
    rows = flat_rows(summary_of([make.compared()]))
    assert len(rows) == 2 * (1 + 4 + 2)
    assert all(tuple(row) == COLUMNS for row in rows)
    l1 = next(row for row in rows if (row["method"], row["runtime"], row["budget"]) == ("l1", "openvino", "speedup=2"))
    assert (l1["points_to_baseline"], l1["verdict"]) == (pytest.approx(-5), "worse")
    assert (l1["times_as_fast_as_baseline"], l1["speed_verdict"]) == (pytest.approx(0.6275, abs=2e-4), "slower")
    assert (l1["latency_runs"], l1["comparisons"]) == (["vino-1", "vino-2", "vino-3"], ["first"])


def test_csv_holds_the_same_and_unknown_is_empty(make):
    cells = [make.cell("layers", 1, latency=()), make.cell("l1", 1, judged=None, latency=(), failed="no, never")]
    summary = summary_of([make.compared(cells=cells, originals=[])])
    layers, l1 = csv.DictReader(io.StringIO(to_csv(summary)))
    assert (layers["accuracy"], layers["accuracy_low"], layers["runtime"], layers["seeds"]) == ("0.9", "", "", "1")
    assert (l1["accuracy"], l1["seeds_failed"], l1["within"]) == ("", "1", "")
    assert l1["failed_because"] == "no, never"


def test_lists_in_csv_are_told_apart_though_names_hold_blanks(make):
    latencies = (make.timed(2.0, run="a run"), make.timed(2.1, run="another run"))
    cells = [make.cell("layers", seed, latency=(one,)) for seed, one in enumerate(latencies, 1)]
    (layers,) = csv.DictReader(io.StringIO(to_csv(summary_of([make.compared(cells=cells, originals=[])]))))
    assert layers["latency_runs"] == "a run; another run"
    assert layers["seeds"] == "1; 2"


def test_what_budgets_wanted_and_what_was_not_timed_is_there(make):
    cells = [make.cell("l1", 1, within=False, reached=0.6, inner=True, latency=(), unmeasured="why, oh")]
    (row,) = flat_rows(summary_of([make.compared(cells=cells, originals=[])]))
    assert (row["wanted"], row["reached"], row["inner_only"]) == ([0.5], [0.6], True)
    assert (row["unmeasured_because"], row["failed_because"]) == (["why, oh"], [])
    assert (row["seeds_below_level"], row["seeds_original_not_at_level"]) == (0, 1)


def test_json_has_what_the_plots_are_drawn_from(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, judged=None, latency=(), failed="no")]
    compared = make.compared(cells=cells, missing=make.missing("psr", 1))
    found = json.loads(json.dumps(to_json(summary_of([compared])), allow_nan=False))
    layers = {"data": "tiny", "model": "net", "budget": "macs_cut=0.5", "method": "layers"}
    (confusion,) = (one for one in found["confusion"] if one["method"] == "layers")
    assert confusion == {**layers, "classes": ["BPSK", "8PSK"], "counts": [[450, 50], [150, 350]]}
    assert found["plans"] == [
        {**layers, "seed": 1, "units": ["a", "b", "c", "d"], "kept": [0, 3], "boundaries": [0, 2],
         "scored_by": ["synflow", "synflow"]}
    ]  # fmt: skip
    percentiles = next(one for one in found["latency_percentiles"] if one["method"] == "layers")
    assert percentiles["runtime"] == "onnxruntime"
    assert len(percentiles["percentiles_ms"]) == 101
    assert found["failed"] == [{**layers, "method": "l1", "seed": 1, "because": "no"}]
    assert found["missing"] == [{**layers, "method": "psr", "seed": 1}]


def test_json_says_who_wins_and_what_channels_do(make):
    found = json.loads(json.dumps(to_json(summary_of([make.compared()])), allow_nan=False))
    assert [row["winner"] for row in found["winners"]] == [None, "layers"]
    assert found["winners"][0]["not_told_from_the_best"] == ["layers", "l1"]
    assert found["channels_beside_layers"]["rows"][1]["accuracy"][0]["is"] == "lower"
    assert found["comparisons"][0]["recipe"]["compare"]["seeds"] == [1, 2, 3]
    assert {"snr_db": -10.0, "method": "layers"}.items() <= found["accuracy_by_snr"][3].items()
