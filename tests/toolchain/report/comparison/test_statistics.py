import pytest
from scipy import stats

from toolchain.report.comparison.gathering import gathered
from toolchain.report.comparison.latency import settings_of
from toolchain.report.comparison.statistics import rows_of


def row_of(compared, budget="macs_cut=0.5"):
    found = gathered([compared])
    rows = rows_of(found, settings_of(found.results, found.runtimes))
    return next(row for row in rows if row.budget == budget)


def test_figures_are_means_over_seeds(make):
    entry = row_of(make.compared()).entry("layers")
    expected = stats.t.interval(0.95, 2, loc=0.92, scale=stats.sem([0.90, 0.92, 0.94]))
    assert entry.accuracy.mean == pytest.approx(0.92)
    assert entry.accuracy.interval == pytest.approx(expected)
    assert {snr_db: round(spread.mean, 6) for snr_db, spread in entry.by_snr.items()} == {-10: 0.46, 0: 0.87, 10: 0.92}
    assert (entry.macs.mean, entry.macs.least, entry.macs.most) == (2010, 2000, 2020)
    assert entry.confusion.tolist() == [[1350, 150], [450, 1050]]
    assert entry.original_confusion.tolist() == [[1350, 150], [450, 1050]]
    assert entry.sound


def test_the_worst_class_has_the_lowest_mean_recall(make):
    matrices = [((10, 0, 0), (4, 6, 0), (0, 0, 0)), ((5, 5, 0), (0, 10, 0), (0, 0, 0))]
    cells = [make.cell("l1", seed, judged=make.judged(0.8, confusion=c)) for seed, c in enumerate(matrices, 1)]
    entry = row_of(make.compared(cells=cells)).entry("l1")
    # 75 % and 80 %; the third class has no frame.
    assert (entry.worst.name, entry.worst.recall.mean) == ("BPSK", 0.75)
    assert entry.worst.recall.by_seed == {1: 1.0, 2: 0.5}


def test_sensitivity_lost_is_against_the_original_of_the_same_seed(make):
    originals = [
        make.original(1, judged=make.judged(0.9, sensitivity_db=-4.0)),
        make.original(2, judged=make.judged(0.9, sensitivity_db=-2.0)),
        make.original(3, judged=make.judged(0.9, sensitivity_db=None)),
    ]
    cells = [make.cell("l1", seed, judged=make.judged(0.8, sensitivity_db=-1.0)) for seed in (1, 2, 3)]
    entry = row_of(make.compared(cells=cells, originals=originals)).entry("l1")
    # Of fewer seeds it would be the mean of the better ones.
    assert (entry.sensitivity_lost_db, entry.uncrossed) == (None, {"original": 1})
    entry = row_of(make.compared(cells=cells[:2], originals=originals)).entry("l1")
    assert (entry.sensitivity_lost_db.by_seed, entry.uncrossed) == ({1: 3.0, 2: 1.0}, {})


def test_a_model_always_above_the_level_is_told_from_one_that_never_gets_there(make):
    above = make.judged(0.9, sensitivity_db=None).model_copy(update={"accuracy_by_snr": {"0": 0.6, "9": 0.5}})
    below = above.model_copy(update={"accuracy_by_snr": {"0": 0.6, "9": 0.49}})
    cells = [make.cell("l1", 1, judged=above), make.cell("l1", 2, judged=below), make.cell("l1", 3, judged=below)]
    assert row_of(make.compared(cells=cells)).entry("l1").uncrossed == {"above": 1, "below": 2}


def test_seeds_outside_of_the_budget_are_counted_with_none(make):
    cells = [
        make.cell("l1", 1, 0.9),
        make.cell("l1", 2, 0.1, within=False),
        make.cell("l1", 3, judged=None, failed="no"),
    ]
    entry = row_of(make.compared(cells=cells)).entry("l1")
    assert (entry.seeds, entry.accuracy.mean, entry.within) == ((1,), 0.9, True)
    assert (entry.not_within, entry.failed, entry.sound) == ((2,), {3: "no"}, False)


def test_a_method_that_never_meets_its_budget_is_shown_and_marked(make):
    cells = [make.cell("l1", seed, 0.9, within=False) for seed in (1, 2)]
    entry = row_of(make.compared(cells=cells)).entry("l1")
    assert (entry.seeds, entry.within, entry.sound) == ((1, 2), False, False)


def test_a_method_of_which_all_failed_has_no_figure(make):
    entry = row_of(make.compared(cells=[make.cell("l1", 1, judged=None, latency=(), failed="no")])).entry("l1")
    assert (entry.accuracy, entry.macs, entry.worst, entry.confusion, entry.by_snr) == (None, None, None, None, {})


def test_the_original_that_two_comparisons_hold_is_one_model(make):
    one = make.compared(originals=[make.original(1, latency=())], cells=[])
    found = gathered([one, make.compared(name="other", originals=[make.original(1)], cells=[])])
    (row,) = rows_of(found, settings_of(found.results, found.runtimes))
    (entry,) = row.entries
    assert entry.seeds == (1,)
    # The one that was timed stands for both.
    assert len(entry.timings) == 2


def test_a_finished_original_stands_for_one_that_is_not(make):
    one = make.compared(originals=[make.original(1, judged=None, latency=())], cells=[])
    found = gathered([one, make.compared(name="other", originals=[make.original(1, latency=())], cells=[])])
    (row,) = rows_of(found, ())
    assert row.entries[0].seeds == (1,)


def test_seeds_that_were_asked_for_and_are_not_there_are_unfinished(make):
    cells = [make.cell("layers", 1), make.cell("l1", 2, judged=None, failed="no")]
    missing = (*make.missing("layers", 2, 3), *make.missing("l1", 3, 1), *make.missing("psr", 1, 2, 3))
    row = row_of(make.compared(cells=cells, missing=missing))
    assert row.unfinished == {"layers": 2, "l1": 2, "psr": 3}
    assert (row.entry("layers").unfinished, row.entry("l1").unfinished) == ((2, 3), (1, 3))
    assert row_of(make.compared(cells=cells)).unfinished == {}


def test_equal_accuracies_are_as_exact_as_their_frames(make):
    entry = row_of(make.compared(cells=[make.cell("l1", 1, 0.9), make.cell("l1", 2, 0.9)])).entry("l1")
    half = stats.t.ppf(0.975, 1) / (1000 * 12**0.5) / 2**0.5
    assert entry.accuracy.interval == pytest.approx((0.9 - half, 0.9 + half))
    # Each of three SNRs has a third of them.
    half = stats.t.ppf(0.975, 1) / (333 * 12**0.5) / 2**0.5
    assert entry.by_snr[10.0].interval == pytest.approx((0.9 - half, 0.9 + half))
