"""Budgets, numbers and intervals as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.report.comparison.gathering import NO_BUDGET
from toolchain.report.comparison.spread import Spread
from toolchain.report.comparison.statistics import Counted

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
# Methods whose MACs differ by less are said to have equal ones.
ALIKE = 0.02
# The order in which budgets stand, and what each number means.
_BUDGETS = ("macs_cut", "params_cut", "speedup", "latency_ms")


def budget_in_words(budget: str) -> str:
    """``macs_cut=0.75`` as "75 % fewer MACs"; a budget of another kind stays as it is written."""
    name, _, text = budget.partition("=")
    try:
        number = float(text)
    except ValueError:
        return "none (not pruned)" if budget == NO_BUDGET else budget
    return {
        "macs_cut": f"{100 * number:g} % fewer MACs",
        "params_cut": f"{100 * number:g} % fewer parameters",
        "speedup": f"at least {number:g} times as fast",
        "latency_ms": f"at most {number:g} ms",
    }.get(name, budget)


def budget_order(budget: str) -> tuple[int, float, str]:
    """A key that sorts budgets: the originals' first, then by kind, then from the mildest on."""
    if budget == NO_BUDGET:
        return (-1, 0.0, budget)
    name, _, text = budget.partition("=")
    try:
        number = float(text)
    except ValueError:
        return (len(_BUDGETS), 0.0, budget)
    kind = _BUDGETS.index(name) if name in _BUDGETS else len(_BUDGETS)
    # A lower latency asks for more.
    return (kind, -number if name == "latency_ms" else number, budget)


def percent(share: float, digits: int = 2) -> str:
    """0.9312 as "93.12 %"."""
    return f"{100 * share:.{digits}f} %"


def signed(number: float, digits: int = 2) -> str:
    """With its sign, and a minus as wide as the plus; what rounds to zero has none."""
    text = f"{number:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def significant(number: float, digits: int = 3) -> str:
    """A positive number with so many significant digits and never an exponent: 0.0123, 1.23, 1,230."""
    if number >= 10 ** (digits - 1):
        return f"{number:,.0f}"
    text = f"{number:.{digits}g}"
    if "e" in text:
        return f"{number:.{digits + 4}f}".rstrip("0")
    # "1.2" of 1.20 would look less exact than it is.
    whole, _, fraction = text.partition(".")
    shown = len(fraction.lstrip("0")) if whole == "0" else len(whole) + len(fraction)
    return text if shown >= digits else f"{whole}.{fraction}{'0' * (digits - shown)}"


def interval_of_shares(spread: Spread, digits: int = 2) -> str:
    """Both ends in percent, in brackets; nothing where there is no interval."""
    if spread.low is None or spread.high is None:
        return ""
    return f"[{100 * spread.low:.{digits}f}, {100 * spread.high:.{digits}f}]"


def interval_signed(spread: Spread, digits: int = 2) -> str:
    """Both ends with their signs, in brackets; nothing where there is no interval."""
    if spread.low is None or spread.high is None:
        return ""
    return f"[{signed(spread.low, digits)}, {signed(spread.high, digits)}]"


def interval_lost(spread: Spread) -> str:
    """Both ends without their sign, the nearer to zero first, in brackets; nothing where there is no interval."""
    if spread.low is None or spread.high is None:
        return ""
    near, far = sorted((abs(spread.low), abs(spread.high)))
    return f"[{near:.2f}, {far:.2f}]"


def interval_significant(spread: Spread) -> str:
    """Both ends with three significant digits, in brackets; nothing where there is no interval."""
    if spread.low is None or spread.high is None:
        return ""
    return f"[{significant(spread.low)}, {significant(spread.high)}]"


def counted(number: Counted) -> str:
    """The mean of a count with four digits; in full where all seeds have the same."""
    return f"{number.least:,}" if number.least == number.most else short_count(number.mean)


def range_of(number: Counted) -> str:
    """From the least seed to the most; nothing where all have the same."""
    return "" if number.least == number.most else f"{short_count(number.least)} to {short_count(number.most)}"


def short_count(number: float) -> str:
    """12,345,678 as "12.35 M"."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{significant(number / size, 4)}{unit}"
    return significant(number, 4)


def beside(one: Counted | None, other: Counted | None) -> str:
    """``5 % more MACs`` where ``one`` has so many more than ``other``; nothing where they have about as many."""
    if one is None or other is None:
        return ""
    more = one.mean / other.mean - 1
    return "" if abs(more) < ALIKE else f"{percent(abs(more), 0)} {'more' if more > 0 else 'fewer'} MACs"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending ``numbers`` in short: ``0 to 3, 7, 9 to 11``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def several(count: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def in_a_row(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def seeds_in_words(seeds: Sequence[int]) -> str:
    """``seed 1``, ``seeds 1, 2``."""
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
