"""What the figures answer, in sentences: who wins a row, how often channel methods are ahead, what chance does."""

from __future__ import annotations

from collections import Counter

from toolchain.report.comparison.claims import ACCURACY, NOT_COMPARED
from toolchain.report.comparison.remarks import why_left_out
from toolchain.report.comparison.statistics import Row
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.verdict import Choice
from toolchain.report.comparison.wording import beside, budget_in_words, in_a_row, percent, several

# More methods than these are counted, not named.
MOST_NAMED = 4


def row_in_words(data: str, model: str, budget: str) -> str:
    """``resnet56 on rml2016, 75 % fewer MACs``."""
    return f"{model} on {data}, {budget_in_words(budget)}"


def winner_in_words(row: Row, choice: Choice) -> str:
    """Who wins a row, or why nobody is said to, who is left out, and whose MACs are others."""
    left_out = [f"{entry.method} ({why_left_out(entry)})" for entry in row.entries if entry.method in choice.left_out]
    rest = f" Left out: {', '.join(left_out)}." if left_out else ""
    if choice.best is None or choice.accuracy is None:
        return f"Nothing to compare: {', '.join(left_out)}."
    rest = f"{_macs_beside(row, choice)}{rest}"
    figure = f"{percent(choice.accuracy)}, {several(len(choice.seeds), 'seed')}"
    if row.unfinished:
        some = list(row.unfinished)
        lacking = in_a_row(some) if len(some) <= MOST_NAMED else several(len(some), "method")
        return (
            f"No winner is named before all is done: {lacking} {'is' if len(some) == 1 else 'are'} not. So far "
            f"{choice.best} ({figure}) has the highest mean.{rest}"
        )
    if len(choice.eligible) == 1:
        return f"No winner is shown: {choice.best} ({figure}) is the only method that could be compared.{rest}"
    if choice.winner is not None:
        others = "the other method" if len(choice.eligible) == 2 else "every other method"
        return f"{choice.winner} ({figure}) is more accurate than {others}.{rest}"
    if len(choice.seeds) == 1:
        return (
            "No winner is shown: there is one seed that all have, which shows nothing; with it the highest accuracy is that "
            f"of {choice.best} ({figure}).{rest}"
        )
    others = in_a_row(choice.like_best)
    return f"No winner is shown: {choice.best} ({figure}) cannot be told from {others}.{rest}"


def _macs_beside(row: Row, choice: Choice) -> str:
    """A budget is a bound: what a method leaves more than another helps its accuracy."""
    best = row.entry(choice.best or "")
    others = [(entry, beside(entry.macs, best.macs if best else None)) for entry in row.entries]
    told = [f"{entry.method} has {aside}" for entry, aside in others if aside and entry.method in choice.eligible]
    if not told:
        return ""
    if len(told) > MOST_NAMED:
        return f" {len(told)} of the others have more or fewer MACs than {choice.best}: see the table."
    return f" Beside {choice.best}, {in_a_row(told)}."


def tally(summary: Summary) -> str:
    """One sentence over all rows: how often a channel method was more accurate, less, or not shown to differ."""
    verdicts = Counter(verdict for claim in summary.claims for verdict in claim.verdicts)
    champions = sorted({claim.champion for claim in summary.claims})
    total = sum(verdicts.values())
    if not total:
        return "No channel method stands beside a layer method under the same budget, so nothing is said of the two."
    shown = [
        f"{said} in {verdicts[verdict]}"
        for verdict, said in ACCURACY.items()
        if verdicts[verdict] and verdict not in ("one seed", NOT_COMPARED)
    ]
    parts = [f"the channel method's accuracy is {in_a_row(shown)}"] if shown else []
    if count := verdicts["one seed"]:
        parts.append(f"{count} {'has' if count == 1 else 'have'} one seed only, which shows nothing")
    if count := verdicts[NOT_COMPARED]:
        parts.append(f"{count} {'is' if count == 1 else 'are'} not compared")
    pairs = f"{several(total, 'pair')} of a channel method and {in_a_row(champions)} under the same budget"
    return f"Of {pairs}, {'; '.join(parts)}."


def chance_in_words(summary: Summary) -> str:
    """A warning of many intervals; nothing where there is none."""
    if summary.comparisons < 2:
        return ""
    return (
        f"{summary.comparisons} paired differences in accuracy to {summary.baseline} have an interval here. Were no method "
        f"better than another, {0.05 * summary.comparisons:.1f} of them on average would still exclude zero by chance; "
        "differences in speed are not counted. None is corrected for that, so look for what holds in several rows."
    )
