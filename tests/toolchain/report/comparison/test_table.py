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
    assert (l1["times_as_fast_as_baseline"], l1["speed_verdict"]) == (pytest.approx(0.625), "slower")
    assert (l1["latency_runs"], l1["comparisons"]) == (["vino-1", "vino-2", "vino-3"], ["first"])


def test_csv_holds_the_same_and_unknown_is_empty(make):
    cells = [make.cell("layers", 1, latency=()), make.cell("l1", 1, judged=None, latency=(), failed="no, never")]
    summary = summary_of([make.compared(cells=cells, originals=[])])
    layers, l1 = csv.DictReader(io.StringIO(to_csv(summary)))
    assert (layers["accuracy"], layers["accuracy_low"], layers["runtime"], layers["seeds"]) == ("0.9", "", "", "1")
    assert (l1["accuracy"], l1["seeds_failed"], l1["within"]) == ("", "1", "")


def test_json_says_who_wins_and_what_channels_do(make):
    found = json.loads(json.dumps(to_json(summary_of([make.compared()])), allow_nan=False))
    assert [row["winner"] for row in found["winners"]] == [None, "layers"]
    assert found["winners"][0]["not_told_from_the_best"] == ["layers", "l1"]
    assert found["channels_beside_layers"]["rows"][1]["accuracy"][0]["is"] == "lower"
    assert found["comparisons"][0]["recipe"]["compare"]["seeds"] == [1, 2, 3]
    assert {"snr_db": -10.0, "method": "layers"}.items() <= found["accuracy_by_snr"][3].items()
