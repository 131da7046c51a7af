import pytest

from toolchain.report.comparison.spread import over_seeds
from toolchain.report.comparison.wording import (
    budget_in_words,
    budget_order,
    interval_signed,
    short_count,
    signed,
    significant,
)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("macs_cut=0.75", "75 % fewer MACs"),
        ("params_cut=0.125", "12.5 % fewer parameters"),
        ("speedup=2", "at least 2 times as fast"),
        ("latency_ms=0.1", "at most 0.1 ms"),
        ("none", "none (not pruned)"),
        ("keep=0.5", "keep=0.5"),
        ("odd", "odd"),
    ],
)
def test_budgets_are_said_in_words(budget, words):
    assert budget_in_words(budget) == words


def test_budgets_stand_from_the_mildest_on():
    budgets = ["latency_ms=0.1", "odd", "macs_cut=0.9", "latency_ms=0.2", "none", "macs_cut=0.5", "speedup=2"]
    assert sorted(budgets, key=budget_order) == [
        *("none", "macs_cut=0.5", "macs_cut=0.9", "speedup=2", "latency_ms=0.2", "latency_ms=0.1", "odd")
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((0.0123456, "0.0123"), (0.5, "0.500"), (1.0, "1.00"), (12.0, "12.0"), (99.96, "100"), (1234.5, "1,234")),
        (1e-6, "0.000001"),
    ],
)
def test_significant_digits_without_exponents(number, text):
    assert significant(number) == text


def test_counts_and_signs():
    assert (short_count(12_345_678), short_count(999), short_count(2010)) == ("12.35 M", "999.0", "2.010 k")
    assert (signed(0.004), signed(-0.004), signed(-1.5), signed(2)) == ("0.00", "0.00", "\N{MINUS SIGN}1.50", "+2.00")
    assert interval_signed(over_seeds({1: 1.0})) == ""
