import pytest

from toolchain.errors import RunError
from toolchain.report.comparison.gathering import gathered


def test_originals_and_cells_are_results_of_one_form(make):
    found = gathered([make.compared()])
    assert [result.budget for result in found.results[:3]] == ["none"] * 3
    assert found.results[-1].original is found.results[2].original
    assert found.results[-1].classes == ("BPSK", "8PSK")


def test_two_comparisons_are_one_where_their_originals_are(make):
    one = make.compared(name="one", cells=[make.cell("layers", 1)])
    # The same model, timed again.
    again = make.original(1, latency=(make.timed(1.0, run="another"),))
    other = make.compared(name="other", cells=[make.cell("l1", 1)], originals=[again], runtimes=("openvino", "trt"))
    found = gathered([one, other])
    assert found.runtimes == ("onnxruntime", "openvino", "trt")
    assert {result.method for result in found.results} == {"original", "layers", "l1"}


def test_an_original_that_is_not_done_is_no_other_model(make):
    one = make.compared(originals=[make.original(1, judged=None, classes=(), latency=())], cells=[])
    done = make.compared(name="done", cells=[make.cell("l1", 1)], originals=[make.original(1)])
    for both in ([one, done], [done, one]):
        assert len(gathered(both).results) == 3
    other = make.compared(name="other", cells=[], originals=[make.original(1, accuracy=0.1)])
    with pytest.raises(RunError, match="done and other both hold the original"):
        gathered([one, done, other])


def test_folders_of_the_same_name_are_told_apart(make):
    with pytest.raises(RunError, match=r"first and first \(2\) both hold"):
        gathered([make.compared(), make.compared()])


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"cells": "same"}, "first and other both hold layers of net on tiny, macs_cut=0.5, seed 1"),
        ({"originals": "other"}, "first and other both hold the original net on tiny, seed 1"),
        ({"level": 0.6}, "50% in first, 60% in other"),
        ({"baseline": "l1"}, "layers in first, l1 in other"),
    ],
)
def test_what_cannot_be_taken_together_is_refused_by_name(make, second, said):
    values = {"cells": [make.cell("sfp", 1)], **second}
    if values["cells"] == "same":
        values["cells"] = [make.cell("layers", 1)]
    if "originals" in values:
        values["originals"] = [make.original(1, accuracy=0.94)]
    with pytest.raises(RunError, match=said):
        gathered([make.compared(), make.compared(name="other", **values)])


def test_a_baseline_that_is_named_settles_it(make):
    other = make.compared(name="other", cells=[make.cell("sfp", 1)], baseline="sfp")
    assert gathered([make.compared(), other], "l1").baseline == "l1"


def test_a_baseline_that_no_cell_has_is_refused(make):
    with pytest.raises(RunError, match=r"'lamp'.*there is l1, layers, psr, scratch"):
        gathered([make.compared()], "lamp")
    with pytest.raises(RunError, match="there is no cell at all"):
        gathered([make.compared(cells=[])], "lamp")
    # Its own baseline may not be done yet.
    assert gathered([make.compared(cells=[])]).baseline == "layers"


def test_what_another_comparison_has_is_not_missing(make):
    one = make.compared(cells=[make.cell("layers", 1)], missing=(*make.missing("l1", 1), *make.missing("psr", 1)))
    other = make.compared(name="other", cells=[make.cell("l1", 1)], missing=make.missing("psr", 1))
    assert gathered([one, other]).missing == make.missing("psr", 1)
