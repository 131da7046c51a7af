import plotly.graph_objects as go
import pytest

from toolchain.report.comparison.figures import figures_of
from toolchain.report.comparison.plans import plans
from toolchain.report.comparison.summary import summary_of


@pytest.fixture(scope="module")
def figures(make):
    return figures_of(summary_of([make.compared()]))


def test_there_is_a_figure_for_each_choice(figures):
    kinds = {}
    for key in figures:
        kinds[key.split("/")[0]] = kinds.get(key.split("/")[0], 0) + 1
    # Two budgets, two runtimes; six methods and as many times their originals.
    assert kinds == {"macs": 3, "latency": 6, "snr": 2, "plan": 2, "distribution": 4, "confusion": 12}


def test_plotly_takes_each_figure(figures):
    for figure in figures.values():
        go.Figure(figure)


def test_accuracy_by_snr_has_the_bands_of_the_emphasised(figures):
    traces = figures["snr/0/0"]["data"]
    bands = {trace["name"]: trace["visible"] for trace in traces if trace.get("meta") == "band"}
    assert bands == {"original": True, "<b>layers</b>": True, "psr": False, "l1": False, "scratch": False}
    lines = {trace["name"]: trace["y"] for trace in traces if trace.get("meta") != "band"}
    assert lines["<b>layers</b>"] == [46, 87, 92]


def test_accuracies_far_from_nothing_have_an_axis_of_their_own(make):
    assert figures_of(summary_of([make.compared()]))["snr/0/0"]["layout"]["yaxis"]["range"][0] > 30
    low = make.judged(0.9).model_copy(update={"accuracy_by_snr": {"-20": 0.1, "18": 0.9}})
    figures = figures_of(summary_of([make.compared(cells=[make.cell("l1", 1, judged=low)])]))
    assert figures["snr/0/0"]["layout"]["yaxis"]["range"] == [-2, 102]


def test_one_budget_alone_has_its_methods_and_the_original(figures):
    names = {trace["name"] for trace in figures["macs/0/1"]["data"]}
    assert names == {"original", "<b>layers</b>", "l1", "Pareto front of the means"}
    assert all(len(trace["x"]) == 1 for trace in figures["latency/0/0/1"]["data"] if trace["mode"] == "markers")


def test_a_half_percent_of_confusion_is_written_as_one(make):
    judged = make.judged(0.9, confusion=((199, 1), (4, 996)))
    figures = figures_of(summary_of([make.compared(cells=[make.cell("l1", 1, judged=judged)])]))
    assert figures["confusion/0/0/l1"]["data"][0]["text"] == [["100", "1"], ["", "100"]]


def test_one_seed_has_no_band(make):
    figures = figures_of(summary_of([make.compared(cells=[make.cell("layers", 1)], originals=[make.original(1)])]))
    assert [trace.get("meta") for trace in figures["snr/0/0"]["data"]] == [None, None]


def test_confusion_is_in_percent_of_the_true_class(figures):
    assert figures["confusion/0/0/l1"]["data"][0]["z"] == [[90, 10], [30, 70]]


def test_a_plan_is_a_strip_a_method_and_seed(figures):
    cells, marks = figures["plan/0/0"]["data"]
    assert cells["y"] == [f"{method}, seed {seed}" for method in ("layers", "psr") for seed in (1, 2, 3)]
    assert cells["z"][0] == [1, 0, 0, 1]
    assert cells["text"][0][3] == "d: kept<br>block 2, chosen by synflow"
    assert marks["x"][:2] == [1.5, 1.5]


def test_where_no_layer_is_removed_there_is_no_plan(make):
    summary = summary_of([make.compared(cells=[make.cell("l1", 1)])])
    assert plans(summary.rows[0].entries) is None


def test_nothing_measured_is_nothing_drawn(make):
    cells = [make.cell("layers", 1, latency=())]
    figures = figures_of(summary_of([make.compared(cells=cells, originals=[make.original(1, latency=())])]))
    assert not [key for key in figures if key.startswith(("latency", "distribution"))]
    assert figures_of(summary_of([make.compared(cells=[], originals=[])])) == {}


def test_a_method_looks_the_same_everywhere(figures):
    def of_l1(key, what):
        (found,) = {t[what]["color"] for t in figures[key]["data"] if t["name"] == "l1" and "meta" not in t}
        return found

    assert of_l1("snr/0/0", "line") == of_l1("distribution/0/0/1", "line") == of_l1("macs/0", "marker")
