import math

import numpy as np
import pytest
from scipy import stats

from deploy.interval import resolution, share_interval, student_t_quantile, t_interval


@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 3, 4, 5, 9, 10, 29, 100, 999, 1000])
@pytest.mark.parametrize("probability", [0.001, 0.05, 0.3, 0.5, 0.6, 0.9, 0.975, 0.999])
def test_quantile_is_that_of_scipy(probability, degrees_of_freedom):
    expected = stats.t.ppf(probability, degrees_of_freedom)
    assert student_t_quantile(probability, degrees_of_freedom) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("probability", "degrees_of_freedom"), [(0.0, 3), (1.0, 3), (0.5, 0), (math.nan, 3)])
def test_quantile_outside_the_distribution_is_refused(probability, degrees_of_freedom):
    with pytest.raises(ValueError, match="no t quantile"):
        student_t_quantile(probability, degrees_of_freedom)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_interval_is_that_of_scipy(level):
    values = np.random.default_rng(3).normal(size=7)
    low, high = stats.t.interval(level, 6, loc=values.mean(), scale=stats.sem(values))
    assert t_interval(list(values), level) == pytest.approx((values.mean(), low, high))


def test_interval_by_hand():
    # Mean 2, standard deviation sqrt(2), standard error 1, and t(0.975, 1) = tan(0.475 pi) = 12.7062.
    assert t_interval([1.0, 3.0]) == pytest.approx((2.0, 2.0 - 12.70620474, 2.0 + 12.70620474))


def test_interval_of_equal_values_has_no_width():
    assert t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_interval_of_one_value_is_refused():
    with pytest.raises(ValueError, match="at least 2 values, got 1"):
        t_interval([1.0])


@pytest.mark.parametrize(("correct", "count"), [(0, 1), (1, 1), (50, 100), (3, 352), (352, 352), (9123, 10_000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_of_a_share_is_that_of_scipy(correct, count, level):
    expected = stats.binomtest(correct, count).proportion_ci(level, method="wilson")
    assert share_interval(correct / count, count, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("share", "count"), [(-0.1, 5), (1.1, 5), (0.5, 0)])
def test_what_is_no_share_has_no_interval(share, count):
    with pytest.raises(ValueError, match="no interval of a share"):
        share_interval(share, count)


def test_values_that_agree_are_as_exact_as_their_floor():
    assert t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)
    mean, low, high = t_interval([0.5, 0.5, 0.5], floor=0.01)
    assert (mean, high - mean) == (0.5, pytest.approx(mean - low))
    assert high - mean == pytest.approx(stats.t.ppf(0.975, 2) * 0.01 / math.sqrt(3))
    assert t_interval([0.1, 0.5], floor=0.01) == t_interval([0.1, 0.5])


def test_the_resolution_of_a_share_is_that_of_rounding_it():
    drawn = np.random.default_rng(0).uniform(size=200_000)
    rounded = np.round(drawn * 50) / 50 - drawn
    assert resolution(50) == pytest.approx(np.std(rounded), rel=0.01)
    assert resolution(50, shares=2) == pytest.approx(np.std(rounded[1:] - rounded[:-1]), rel=0.01)
    with pytest.raises(ValueError, match="no share"):
        resolution(0)
