"""A budget of latency that is measured."""

import json

import pytest

from toolchain.compared import read_compared
from toolchain.comparison import within
from toolchain.comparison.recipe import read_comparison
from toolchain.comparison.start import compare
from toolchain.latency_budget import Effort


@pytest.mark.slow
def test_a_comparison_holds_a_latency_that_is_measured(changed, monkeypatch, tmp_path):
    # Readings of a moment: what is held to them is the arithmetic, and the run that times all methods in turns.
    monkeypatch.setattr(within, "THOROUGH", Effort(2, 0.1))
    monkeypatch.setattr(within, "BRIEF", Effort(2, 0.1))
    recipe = changed(("macs_cut = [0.6]", "speedup = [1.5]"), ('"l1", "sfp", ', '"l1", '))
    out = tmp_path / "out"
    assert compare(read_comparison(recipe), out).missing == ()
    cells = {cell.method: cell for cell in read_compared(out).cells}
    assert all(cell.failed is None for cell in cells.values())
    for cell in cells.values():
        assert cell.reached == pytest.approx(1 / cell.latency[0].times_as_fast)
    assert cells["l1"].wanted == cells["layers"].reached
    assert cells["scratch"].reached == cells["layers"].reached < 0.9
    (record,) = (out / ".thinwave" / "records" / "unit-latencies").glob("*.json")
    assert "units" in json.loads(json.loads(record.read_text())["record"]["text"])
