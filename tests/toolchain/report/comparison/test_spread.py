import numpy as np
import pytest
from scipy import stats

from toolchain.report.comparison.spread import over_seeds, ratio_over_seeds


def test_a_mean_has_the_t_interval_of_its_seeds():
    found = over_seeds({1: 0.90, 2: 0.92, 3: 0.94})
    expected = stats.t.interval(0.95, 2, loc=0.92, scale=stats.sem([0.90, 0.92, 0.94]))
    assert (found.mean, found.basis) == (pytest.approx(0.92), "seeds")
    assert found.interval == pytest.approx(expected)


def test_an_interval_ends_where_nothing_can_be():
    found = over_seeds({1: 0.9, 2: 1.0}, least=0, most=1)
    assert found.high == 1
    assert found.low == pytest.approx(0.95 - 0.05 * stats.t.ppf(0.975, 1))


def test_one_seed_has_no_interval_and_none_has_no_mean():
    assert over_seeds({7: 0.5}).interval is None
    assert over_seeds({7: 0.5}).basis == "none"
    assert over_seeds({}) is None
    assert ratio_over_seeds({}) is None


def test_equal_values_are_exact_only_as_far_as_is_known():
    assert (over_seeds({1: 0.1 + 0.2, 2: 0.3}).interval, over_seeds({1: 0.3, 2: 0.3}).basis) == (None, "equal")
    assert (ratio_over_seeds({1: 9.09, 2: 9.09}).interval, ratio_over_seeds({1: 2, 2: 2}).basis) == (None, "equal")
    low, high = over_seeds({1: 0.5, 2: 0.5}, floor=0.01).interval
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 1) * 0.01 / 2**0.5)
    # What varies more is not narrowed.
    assert over_seeds({1: 0.4, 2: 0.6}, floor=0.01) == over_seeds({1: 0.4, 2: 0.6})


def test_a_ratio_is_a_geometric_mean_with_an_interval_of_the_logarithms():
    found = ratio_over_seeds({1: 1.0, 2: 4.0, 3: 2.0})
    logs = np.log([1.0, 4.0, 2.0])
    expected = np.exp(stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs)))
    assert (found.mean, found.basis) == (pytest.approx(2.0), "ratios")
    assert found.interval == pytest.approx(expected)


def test_a_ratio_of_one_seed_has_the_interval_of_its_run_and_says_so():
    found = ratio_over_seeds({1: 2.0}, of_run=(1.9, 2.1))
    assert (found.interval, found.basis) == ((1.9, 2.1), "processes")
    assert ratio_over_seeds({1: 2.0}).basis == "none"
