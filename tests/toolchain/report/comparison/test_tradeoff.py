from toolchain.report.comparison.summary import summary_of
from toolchain.report.comparison.tradeoff import against_latency, against_macs, pareto


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
