from toolchain.report.comparison.cells import judged_numbers, macs_aside, seeds_in_words
from toolchain.report.comparison.summary import summary_of


def line_of(compared, method):
    return next(line for line in summary_of([compared]).lines if line.entry.method == method)


def test_seeds_are_of_how_many_were_asked_for(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, judged=None, failed="no"), make.cell("l1", 2)]
    missing = (*make.missing("layers", 2, 3), *make.missing("l1", 3))
    originals = [make.original(1), *(make.original(seed, judged=None, latency=()) for seed in (2, 3))]
    compared = make.compared(cells=cells, missing=missing, originals=originals)
    assert [seeds_in_words(line_of(compared, method)) for method in ("layers", "l1", "original")] == ["1 of 3"] * 3
    assert seeds_in_words(line_of(make.compared(), "l1")) == "3"


def test_the_difference_has_no_note_for_its_verdict_stands_elsewhere(make):
    assert judged_numbers(line_of(make.compared(), "l1"))["points"].note == ""


def test_why_there_is_no_sensitivity_is_told(make):
    above = make.judged(0.9, sensitivity_db=None).model_copy(update={"accuracy_by_snr": {"0": 0.6, "9": 0.7}})
    cells = [make.cell("l1", 1, judged=above), make.cell("l1", 2)]
    number = judged_numbers(line_of(make.compared(cells=cells), "l1"))["sensitivity"]
    assert (number.value, number.note) == (None, "above the level at every SNR: 1 of 2 seeds")
    number = judged_numbers(line_of(make.compared(cells=cells[:1]), "l1"))["sensitivity"]
    assert number.note == "above the level at every SNR"


def test_other_macs_than_the_baseline_are_told_beside_a_verdict(make):
    cells = [make.cell("layers", 1), make.cell("psr", 1, judged=make.judged(0.9, macs=3000))]
    compared = make.compared(cells=cells)
    assert macs_aside(line_of(compared, "psr")) == "with 50 % more MACs"
    assert [macs_aside(line_of(compared, method)) for method in ("layers", "original")] == ["", ""]
