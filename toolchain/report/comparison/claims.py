"""Where channel pruning is ahead of layer pruning and where behind it, row by row.

Where channels win is listed as plainly as where they lose; where nothing is shown, that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolchain.compared import OURS
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.remarks import why_left_out
from toolchain.report.comparison.statistics import Entry, Row
from toolchain.report.comparison.verdict import Difference, SpeedRatio, difference, speed_ratio
from toolchain.report.comparison.wording import (
    beside,
    interval_lost,
    interval_signed,
    interval_significant,
    signed,
    significant,
)

NOT_COMPARED = "not compared"
# Each verdict as it ends "the channel method's accuracy is …".
ACCURACY = {
    "better": "higher",
    "worse": "lower",
    "no difference shown": "not shown to differ",
    "one seed": "of one seed only, which shows nothing",
    NOT_COMPARED: NOT_COMPARED,
}
SPEED = {
    "faster": "faster",
    "slower": "slower",
    "no difference shown": "not shown to differ",
    "faster in its one run": "faster in its one run",
    "slower in its one run": "slower in its one run",
    "no difference shown in its one run": "not shown to differ in its one run",
    NOT_COMPARED: NOT_COMPARED,
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a row says of channel pruning beside ``champion``: sentences on accuracy, and on latency by setting.

    Each is a pair: the verdict, from the channels' side, and the methods that it holds of, with their numbers. ``in_short``
    counts them. ``verdicts`` are those on accuracy, keys of ACCURACY, one a channel method.
    """

    data: str
    model: str
    budget: str
    champion: str
    in_short: str
    accuracy: tuple[tuple[str, str], ...]
    latency: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    verdicts: tuple[str, ...]


def claims_of(rows: Sequence[Row], labels: Mapping[Setting, str], baseline: str) -> tuple[Claim, ...]:
    """The claim of every row that has channel pruning and layer pruning to hold it against."""
    return tuple(claim for row in rows if (claim := _claim(row, labels, baseline)) is not None)


def _claim(row: Row, labels: Mapping[Setting, str], baseline: str) -> Claim | None:
    champion = _champion(row, baseline)
    channels = [entry for entry in row.entries if entry.kind == "channels"]
    if champion is None or not channels:
        return None
    differences = [(entry, difference(entry, champion)) for entry in channels]
    accuracy: dict[str, list[str]] = {verdict: [] for verdict in ACCURACY}
    for entry, found in differences:
        accuracy[found.verdict if found else NOT_COMPARED].append(_accuracy_text(entry, champion, found))
    latency, counts = [], []
    for setting, label in labels.items():
        if setting not in champion.timings:
            continue
        speed: dict[str, list[str]] = {verdict: [] for verdict in SPEED}
        for entry in channels:
            ratio = speed_ratio(entry, champion, setting)
            speed[ratio.verdict if ratio else NOT_COMPARED].append(_speed_text(entry, champion, setting, ratio))
        latency.append((label, _said(speed, SPEED)))
        counts.append(f"; {label}: {_in_short(speed, SPEED)}")
    return Claim(
        data=row.data,
        model=row.model,
        budget=row.budget,
        champion=champion.method,
        in_short=f"accuracy {_in_short(accuracy, ACCURACY | {'one seed': 'of one seed only'})}{''.join(counts)}",
        accuracy=_said(accuracy, ACCURACY),
        latency=tuple(latency),
        verdicts=tuple(found.verdict if found else NOT_COMPARED for _, found in differences),
    )


def _champion(row: Row, baseline: str) -> Entry | None:
    """What channels are held against: our method, or else the baseline, or else the first one that takes out layers.

    One that can be compared comes before one that cannot.
    """
    layers = [entry for entry in row.entries if entry.kind == "layers"]
    preferred = sorted(layers, key=lambda entry: (entry.method != OURS, entry.method != baseline))
    return next((entry for entry in preferred if _comparable(entry)), preferred[0] if preferred else None)


def _comparable(entry: Entry) -> bool:
    return bool(entry.counted) and entry.within


def _said(found: Mapping[str, list[str]], words: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((words[verdict], "; ".join(texts)) for verdict, texts in found.items() if texts)


def _in_short(found: Mapping[str, list[str]], words: Mapping[str, str]) -> str:
    return ", ".join(f"{words[verdict]} in {len(texts)}" for verdict, texts in found.items() if texts)


def _accuracy_text(entry: Entry, champion: Entry, found: Difference | None) -> str:
    if found is None:
        return f"{entry.method} ({_why_not(entry, champion)})"
    points = found.points
    if found.verdict in ("better", "worse"):
        # Which of the two it is stands before it.
        text = f"{entry.method} by {abs(points.mean):.2f} points {interval_lost(points)}"
    else:
        text = f"{entry.method}, {signed(points.mean)} points {interval_signed(points)}"
    aside = beside(entry.macs, champion.macs)
    return f"{text.rstrip()}{f' with {aside}' if aside else ''}"


def _speed_text(entry: Entry, champion: Entry, setting: Setting, found: SpeedRatio | None) -> str:
    if found is None:
        return f"{entry.method} ({_why_not(entry, champion, setting)})"
    return f"{entry.method}, {significant(found.times.mean)} times as fast {interval_significant(found.times)}".rstrip()


def _why_not(entry: Entry, champion: Entry, setting: Setting | None = None) -> str:
    if not _comparable(entry):
        return why_left_out(entry)
    if not _comparable(champion):
        return f"{champion.method}: {why_left_out(champion)}"
    return "not measured" if setting is not None and setting not in entry.timings else "no seed in common"
