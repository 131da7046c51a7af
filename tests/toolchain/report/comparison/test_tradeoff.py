import pytest

from toolchain.report.comparison.summary import summary_of
from toolchain.report.comparison.tradeoff import against_latency, against_macs, pareto


def test_what_was_timed_in_two_runs_stands_on_one_axis(make):
    # Today the machine takes twice as long; beside the original of its own run the model is as fast as before.
    latency = (make.timed(2.0, p50_ms=1.0, p50_interval_ms=(0.9, 1.1), run="slow"),)
    cells = [make.cell("layers", 1, latency=(make.timed(2.0),)), make.cell("psr", 1, latency=latency)]
    summary = summary_of([make.compared(cells=cells, originals=[make.original(1)])])
    entries = [summary.original("tiny", "net"), *summary.rows[0].entries]
    figure = against_latency(entries, summary.settings[0], "x")
    points = {trace["name"]: trace for trace in figure["data"][1:]}
    assert points["psr"]["x"] == points["<b>layers</b>"]["x"] == [0.5]
    assert points["original"]["x"] == [1.0]
    assert "measured: 1.00 ms [0.900, 1.10]" in points["psr"]["text"][0]
    # Without an original it is what the models say that it was: 1 ms for one, 2 ms for the other.
    figure = against_latency(summary.rows[0].entries, summary.settings[0], "x")
    assert figure["data"][1]["x"][0] == pytest.approx(2**0.5 / 2, rel=1e-4)


def test_one_long_bar_presses_no_others_together(make):
    cells = [make.cell("layers", seed, 0.9 + seed / 1000) for seed in (1, 2)]
    cells += [make.cell("psr", seed, 0.88 + seed / 1000) for seed in (1, 2)]
    cells += [make.cell("l1", 1, 0.7), make.cell("l1", 2, 0.99)]
    figure = against_macs(summary_of([make.compared(cells=cells, originals=[])]).rows[0].entries)
    low, high = figure["layout"]["yaxis"]["range"]
    assert (low > 82, high < 93) == (True, True)


def test_the_front_is_what_nothing_beats():
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (3.0, 7.0), (4.0, 9.0), (1.0, 5.0)]
    assert pareto(points) == [0, 2, 4]
    assert pareto([]) == []


def test_what_missed_its_budget_is_hollow_and_not_on_the_front(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, 0.99, within=False, judged=make.judged(0.99, macs=1))]
    summary = summary_of([make.compared(cells=cells, originals=[])])
    front, *points = against_macs(summary.rows[0].entries)["data"]
    assert front["x"] == [2000]
    symbols = {trace["name"]: trace["marker"]["symbol"] for trace in points}
    assert symbols == {"<b>layers</b>": ["circle"], "l1": ["square-open"]}


def test_intervals_stand_both_ways_and_one_seed_has_that_of_its_run(make):
    summary = summary_of([make.compared()])
    figure = against_latency(summary.rows[0].entries, summary.settings[0], "somewhere <fast>")
    ours = figure["data"][-1]
    assert ours["name"] == "<b>layers</b>"
    assert ours["error_y"]["array"][0] > 4
    assert ours["error_x"]["array"][0] > 0
    assert "somewhere &lt;fast&gt;" in figure["layout"]["xaxis"]["title"]["text"]
    summary = summary_of([make.compared(cells=[make.cell("layers", 1)])])
    (_, ours) = against_latency(summary.rows[0].entries, summary.settings[0], "x")["data"]
    assert ours["error_y"]["array"] == [0]
    assert "says nothing of other seeds" in ours["text"][0]
