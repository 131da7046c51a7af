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
        assert (found.times.mean, found.verdict) == (pytest.approx(1.25 / 2), "slower")
    assert speed_ratio(row.entry("psr"), row.entry("layers"), setting).verdict == "no difference shown"


def test_intervals_are_counted(make):
    # Three methods beside the baseline in the first row, one in the second.
    assert summary_of([make.compared()]).comparisons == 4
    assert summary_of([make.compared(cells=[make.cell("layers", 1), make.cell("l1", 1)])]).comparisons == 0
