import pytest
from scipy import stats

from toolchain.report.comparison.summary import summary_of
from toolchain.report.comparison.verdict import choose, difference, speed_ratio


def first(compared):
    summary = summary_of([compared])
    return summary, summary.rows[0]


def test_differences_are_paired_by_seed(make):
    _, row = first(make.compared())
    found = difference(row.entry("l1"), row.entry("layers"))
    expected = stats.t.interval(0.95, 2, loc=-5 / 3, scale=stats.sem([-2, -1, -2]))
    assert found.points.mean == pytest.approx(-5 / 3)
    assert found.points.interval == pytest.approx(expected)
    assert found.verdict == "worse"
    assert difference(row.entry("layers"), row.entry("l1")).verdict == "better"
    assert difference(row.entry("psr"), row.entry("layers")).verdict == "no difference shown"


def test_only_seeds_that_both_have_are_pairs(make):
    cells = [*(make.cell("layers", seed) for seed in (1, 2)), *(make.cell("l1", seed) for seed in (2, 3))]
    _, row = first(make.compared(cells=cells))
    found = difference(row.entry("l1"), row.entry("layers"))
    assert (list(found.points.by_seed), found.verdict) == ([2], "one seed")
    assert difference(row.entry("l1"), row.entry("l1")).verdict == "no difference shown"


def test_two_equal_differences_are_no_proof(make):
    # A frame of a thousand is a tenth of a point: rounded to it twice, the difference may well be none.
    cells = [make.cell(method, seed, 0.9 + 0.0001 * (method == "l1")) for method in ("layers", "l1") for seed in (1, 2)]
    _, row = first(make.compared(cells=cells))
    found = difference(row.entry("l1"), row.entry("layers"))
    half = 100 * stats.t.ppf(0.975, 1) * 2**0.5 / (1000 * 12**0.5) / 2**0.5
    assert found.points.interval == pytest.approx((0.01 - half, 0.01 + half))
    assert found.verdict == "no difference shown"
    # How many frames it was is not known.
    bare = [cell.model_copy(update={"judged": cell.judged.model_copy(update={"confusion": ()})}) for cell in cells]
    _, row = first(make.compared(cells=bare, originals=[]))
    found = difference(row.entry("l1"), row.entry("layers"))
    assert (found.points.interval, found.verdict) == (None, "no difference shown")


def test_a_difference_is_no_more_than_there_can_be(make):
    cells = [make.cell("layers", seed, 0.5) for seed in (1, 2)] + [make.cell("l1", 1, 0.1), make.cell("l1", 2, 0.9)]
    _, row = first(make.compared(cells=cells))
    assert difference(row.entry("l1"), row.entry("layers")).points.interval == (-100, 100)


def test_the_best_is_so_over_the_seeds_that_all_have(make):
    cells = [make.cell("layers", 1, 0.8), make.cell("layers", 2, 0.9), make.cell("l1", 1, 0.85)]
    _, row = first(make.compared(cells=cells))
    choice = choose(row)
    assert (choice.best, choice.accuracy, choice.seeds) == ("l1", 0.85, (1,))
    # Where there is none, over its own.
    cells = [make.cell("layers", 2, 0.9), make.cell("l1", 1, 0.85)]
    _, row = first(make.compared(cells=cells))
    assert (choose(row).best, choose(row).seeds, choose(row).like_best) == ("layers", (2,), ("l1",))


def test_what_missed_its_budget_is_compared_with_none(make):
    cells = [*(make.cell("layers", seed) for seed in (1, 2)), *(make.cell("l1", s, within=False) for s in (1, 2))]
    summary, row = first(make.compared(cells=cells))
    assert difference(row.entry("l1"), row.entry("layers")) is None
    assert speed_ratio(row.entry("l1"), row.entry("layers"), summary.settings[0]) is None


def test_a_winner_is_better_than_each_other(make):
    summary = summary_of([make.compared()])
    shown, found = summary.choices
    # psr is best by its mean, and layers and l1 are not shown to be worse.
    assert (shown.winner, shown.best, shown.like_best) == (None, "psr", ("layers", "l1"))
    assert (found.winner, found.best, found.like_best) == ("layers", "layers", ())


@pytest.mark.parametrize("changes", [{"within": False}, {"judged": None, "failed": "no"}])
def test_a_method_with_a_bad_seed_neither_wins_nor_stands_in_the_way(make, changes):
    cells = [make.cell(method, seed, 0.9 - 0.1 * (method == "l1")) for method in ("layers", "l1") for seed in (1, 2)]
    cells += [make.cell("sfp", 1, 0.99), make.cell("sfp", 2, 0.99, **changes)]
    _, row = first(make.compared(cells=cells))
    choice = choose(row)
    assert (choice.winner, choice.left_out) == ("layers", ("sfp",))


def test_nobody_wins_alone_or_by_one_seed(make):
    _, row = first(make.compared(cells=[make.cell("layers", seed) for seed in (1, 2)]))
    assert (choose(row).winner, choose(row).best) == (None, "layers")
    _, row = first(make.compared(cells=[make.cell("layers", 1, 0.9), make.cell("l1", 1, 0.5)]))
    assert (choose(row).winner, choose(row).like_best) == (None, ("l1",))
    _, row = first(make.compared(cells=[make.cell("l1", 1, judged=None, failed="no")]))
    assert (choose(row).best, choose(row).left_out) == (None, ("l1",))


def test_speed_is_held_against_the_original_of_the_same_processes(make):
    summary, row = first(make.compared())
    for setting in summary.settings:
        found = speed_ratio(row.entry("l1"), row.entry("layers"), setting)
        ratios = [1.25 * (1 + 0.012 * seed) / (2 * (1 + 0.01 * seed)) for seed in (1, 2, 3)]
        assert (found.times.mean, found.verdict) == (pytest.approx(stats.gmean(ratios)), "slower")
    assert speed_ratio(row.entry("psr"), row.entry("layers"), setting).verdict == "no difference shown"


def test_intervals_are_counted(make):
    # Three methods beside the baseline in the first row, one in the second.
    assert summary_of([make.compared()]).comparisons == 4
    assert summary_of([make.compared(cells=[make.cell("layers", 1), make.cell("l1", 1)])]).comparisons == 0
