from toolchain.report.comparison.remarks import LONGEST, remarks, short_remarks
from toolchain.report.comparison.summary import summary_of


def remarks_on(make, *cells, missing=()):
    summary = summary_of([make.compared(cells=cells, missing=missing)])
    return next(line.entry for line in summary.lines if line.entry.method == cells[0].method)


def test_a_sound_method_has_none(make):
    assert remarks(remarks_on(make, make.cell("l1", 1))) == []


def test_a_missed_budget_says_what_was_wanted_and_what_reached(make):
    cells = [make.cell("l1", seed, within=False, reached=0.5 + seed / 10) for seed in (1, 2)]
    assert remarks(remarks_on(make, *cells)) == [
        "budget not reached with seeds 1, 2: wanted 50.0 %, reached 60.0 % to 70.0 % of the MACs"
    ]
    slow = make.cell("layers", 1, budget="speedup=2", within=False, wanted=None, reached=0.6)
    assert remarks(remarks_on(make, slow)) == ["budget not reached: reached 60.0 % of the latency"]
    assert remarks(remarks_on(make, make.cell("l1", 1, within=False, wanted=None, reached=None))) == [
        "budget not reached"
    ]


def test_each_reason_is_there_once(make):
    cells = [make.cell("l1", seed, judged=None, latency=(), failed=why) for seed, why in enumerate("aba", 1)]
    assert remarks(remarks_on(make, *cells)) == ["failed with seeds 1, 3: a", "failed with seed 2: b"]


def test_what_was_not_timed_did_not_fail(make):
    cell = make.cell("l1", 1, latency=(), unmeasured="openvino: cannot be compiled")
    assert remarks(remarks_on(make, cell)) == ["latency not measured: openvino: cannot be compiled"]


def test_only_the_inside_of_blocks_is_said(make):
    assert remarks(remarks_on(make, make.cell("l1", 1, inner=True))) == ["only channels inside of blocks could go"]


def test_seeds_not_done_yet_are_named(make):
    entry = remarks_on(make, make.cell("l1", 2), missing=make.missing("l1", 3, 1))
    assert remarks(entry) == ["seeds 1, 3 not done yet"]


def test_a_long_reason_is_cut_in_a_cell_alone(make):
    entry = remarks_on(make, make.cell("l1", 1, judged=None, latency=(), failed="x" * 500), make.cell("layers", 1))
    assert len(remarks(entry)[0]) > 500
    assert len(short_remarks(entry)) == LONGEST
