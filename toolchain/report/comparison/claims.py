"""What the figures answer, in sentences: who wins a row, and where channel pruning is ahead of layer pruning or behind it.

Where channels win is listed as plainly as where they lose; where nothing is shown, that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.statistics import Entry, Row
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.verdict import Choice, difference, speed_ratio
from toolchain.report.comparison.wording import (
    budget_in_words,
    in_a_row,
    interval_signed,
    interval_significant,
    percent,
    several,
    signed,
    significant,
)

OURS = "layers"
# Each verdict as it ends "the channel method's accuracy is …".
ACCURACY = {
    "better": "higher",
    "worse": "lower",
    "no difference shown": "not shown to differ",
    "one seed": "from one seed only (which shows nothing)",
    "not compared": "not compared",
}
SPEED = {
    "faster": "faster",
    "slower": "slower",
    "no difference shown": "not shown to differ",
    "one seed": "from one seed only (which shows nothing)",
    "not compared": "not compared",
}
# Methods whose MACs differ by less are said to have equal ones.
ALIKE = 0.02


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a row says of channel pruning beside ``champion``: sentences on accuracy, and on latency by setting.

    Each is a pair: the verdict, from the channels' side, and the methods that it holds of, with their numbers. ``in_short``
    counts them.
    """

    data: str
    model: str
    budget: str
    champion: str
    in_short: str
    accuracy: tuple[tuple[str, str], ...]
    latency: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


def winner_in_words(row: Row, choice: Choice) -> str:
    """One sentence or two: the row's winner, or that none is shown, and who cannot be told from the best."""
    if choice.best is None:
        return f"Nothing to compare: {_left_out(row, choice)}." if choice.left_out else "Nothing to compare."
    best = row.entry(choice.best)
    # It was chosen for it.
    assert best is not None
    assert best.accuracy is not None
    figure = f"{percent(best.accuracy.mean)}, {several(len(best.seeds), 'seed')}"
    rest = f" Left out: {_left_out(row, choice)}." if choice.left_out else ""
    if choice.winner:
        count = len(choice.eligible) - 1
        beaten = "the other method" if count == 1 else f"each of the {count} other methods"
        return f"{choice.winner} ({figure}) is more accurate than {beaten}.{rest}"
    if len(choice.eligible) == 1:
        return f"No winner is shown: {choice.best} ({figure}) is the only method that could be compared.{rest}"
    if len(best.seeds) == 1:
        return f"No winner is shown: one seed. The highest accuracy is that of {choice.best} ({figure}).{rest}"
    others = in_a_row(list(choice.like_best))
    return f"No winner is shown: {choice.best} ({figure}) cannot be told from {others}.{rest}"


def claims(summary: Summary) -> tuple[Claim, ...]:
    """The claim of every row that has channel pruning and something to hold it against."""
    return tuple(claim for row in summary.rows if (claim := _claim(summary, row)) is not None)


def tally(summary: Summary) -> str:
    """One sentence over all rows: how often a channel method was more accurate, less, or not shown to differ."""
    verdicts: Counter[str] = Counter()
    champions = set()
    for row in summary.rows:
        champion = _champion(summary, row)
        if champion is not None:
            champions.add(champion.method)
            verdicts.update(_accuracy_verdict(entry, champion) for entry in _channels(row, champion))
    total = sum(verdicts.values())
    if not total:
        return "No channel method stands beside a layer method under the same budget, so nothing is said of the two."
    parts = [f"{said} in {verdicts[verdict]}" for verdict, said in ACCURACY.items() if verdicts[verdict]]
    return (
        f"Of {several(total, 'pair')} of a channel method and {in_a_row(sorted(champions))} under the same budget, the "
        f"channel method's accuracy is {in_a_row(parts)}."
    )


def chance_in_words(summary: Summary) -> str:
    """A warning of many intervals; nothing where there is none."""
    if summary.comparisons < 2:
        return ""
    return (
        f"{summary.comparisons} paired differences to {summary.baseline} have an interval here. Were no method better than "
        f"another, about {max(1, round(0.05 * summary.comparisons))} of them would still exclude zero by chance: none is "
        "corrected for that, so look for what holds in several rows."
    )


def row_in_words(data: str, model: str, budget: str) -> str:
    """``resnet56 on rml2016, 75 % fewer MACs``."""
    return f"{model} on {data}, {budget_in_words(budget)}"


def _claim(summary: Summary, row: Row) -> Claim | None:
    champion = _champion(summary, row)
    channels = _channels(row, champion) if champion is not None else []
    if champion is None or not channels:
        return None
    accuracy: dict[str, list[str]] = {verdict: [] for verdict in ACCURACY}
    for entry in channels:
        accuracy[_accuracy_verdict(entry, champion)].append(_accuracy_text(entry, champion))
    latency, counts = [], []
    for setting in summary.settings:
        if setting not in champion.timings:
            continue
        speed: dict[str, list[str]] = {verdict: [] for verdict in SPEED}
        for entry in channels:
            found = speed_ratio(entry, champion, setting)
            speed[found.verdict if found else "not compared"].append(_speed_text(entry, champion, setting))
        latency.append((summary.labels[setting], _said(speed, SPEED)))
        counts.append((summary.labels[setting], _in_short(speed, "", SPEED)))
    return Claim(
        data=row.data,
        model=row.model,
        budget=row.budget,
        champion=champion.method,
        in_short=_in_short(accuracy, "accuracy ", ACCURACY) + "".join(f"; {label}: {short}" for label, short in counts),
        accuracy=_said(accuracy, ACCURACY),
        latency=tuple(latency),
    )


def _said(found: dict[str, list[str]], words: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((words[verdict], "; ".join(texts)) for verdict, texts in found.items() if texts)


def _in_short(found: dict[str, list[str]], what: str, words: dict[str, str]) -> str:
    return what + ", ".join(f"{words[verdict]} in {len(texts)}" for verdict, texts in found.items() if texts)


def _champion(summary: Summary, row: Row) -> Entry | None:
    """What channels are held against: our method, or else the baseline, or else the first one that takes out layers."""
    entry = row.entry(OURS) or row.entry(summary.baseline)
    if entry is not None and entry.kind != "channels":
        return entry
    return next((each for each in row.entries if each.kind == "layers"), None)


def _channels(row: Row, champion: Entry) -> list[Entry]:
    return [entry for entry in row.entries if entry.kind == "channels" and entry is not champion]


def _accuracy_verdict(entry: Entry, champion: Entry) -> str:
    found = difference(entry, champion)
    return found.verdict if found else "not compared"


def _accuracy_text(entry: Entry, champion: Entry) -> str:
    found = difference(entry, champion)
    if found is None:
        return f"{entry.method} ({_why_not(entry, champion)})"
    text = f"{entry.method} by {signed(found.points.mean)} points {interval_signed(found.points)}".rstrip()
    return f"{text}{_macs_aside(entry, champion)}"


def _macs_aside(entry: Entry, champion: Entry) -> str:
    """A budget is a bound: what a method leaves less than another costs it accuracy."""
    if entry.macs is None or champion.macs is None:
        return ""
    more = entry.macs.mean / champion.macs.mean - 1
    return "" if abs(more) < ALIKE else f" with {percent(abs(more), 0)} {'more' if more > 0 else 'fewer'} MACs"


def _speed_text(entry: Entry, champion: Entry, setting: Setting) -> str:
    found = speed_ratio(entry, champion, setting)
    if found is None:
        return f"{entry.method} ({_why_not(entry, champion, setting)})"
    return f"{entry.method}, {significant(found.times.mean)} times as fast {interval_significant(found.times)}".rstrip()


def _why_not(entry: Entry, champion: Entry, setting: Setting | None = None) -> str:
    if setting is not None and entry.counted and entry.within and setting not in entry.timings:
        return "not measured"
    return why_left_out(entry) or why_left_out(champion) or "no seed in common"


def why_left_out(entry: Entry) -> str:
    """Why a method is not among those that may win; nothing where it is."""
    if entry.whole:
        return ""
    many = len(entry.results) > 1
    reasons = []
    if entry.failed:
        reasons.append(f"failed with {several(len(entry.failed), 'seed')}" if many else "failed")
    if entry.not_within:
        count = f" with {several(len(entry.not_within), 'seed')}" if many else ""
        reasons.append(f"budget not reached{count}")
    return ", ".join(reasons) or "not finished"


def _left_out(row: Row, choice: Choice) -> str:
    entries: Sequence[Entry] = [entry for entry in row.entries if entry.method in choice.left_out]
    return ", ".join(f"{entry.method} ({why_left_out(entry)})" for entry in entries)
