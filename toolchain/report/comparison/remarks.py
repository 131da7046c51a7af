"""What keeps a method from being compared, or has to be known of it, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolchain.report.comparison.gathering import Result
from toolchain.report.comparison.statistics import Entry
from toolchain.report.comparison.wording import percent, seeds_in_words, several

# A table's cell has no room for more of a reason.
LONGEST = 160
# What a budget is a part of.
_OF = {"macs_cut": "MACs", "params_cut": "parameters", "speedup": "latency", "latency_ms": "latency"}


def why_left_out(entry: Entry) -> str:
    """Why a method cannot win, in few words; nothing where it can."""
    if entry.sound:
        return ""
    many = len(entry.results) > 1
    reasons = []
    if entry.failed:
        reasons.append(f"failed with {several(len(entry.failed), 'seed')}" if many else "failed")
    if entry.not_within:
        reasons.append(f"budget not reached{f' with {seeds_in_words(entry.not_within)}' if many else ''}")
    return ", ".join(reasons) or "not finished"


def remarks(entry: Entry) -> list[str]:
    """All that has to be known of a method's line beside its numbers, a text each, reasons in full."""
    many = len(entry.results) > 1
    found = [f"failed{place}: {why}" for place, why in _by_reason(entry.failed, many)]
    missed = [result for result in entry.results if result.seed in entry.not_within]
    if missed:
        found.append(
            f"budget not reached{f' with {seeds_in_words(entry.not_within)}' if many else ''}{_how_far(missed)}"
        )
    if entry.unfinished:
        found.append(f"{seeds_in_words(entry.unfinished)} not done yet")
    found += [f"latency not measured{place}: {why}" for place, why in _by_reason(entry.unmeasured, many)]
    if entry.inner:
        found.append("only channels inside of blocks could go")
    return found


def short_remarks(entry: Entry) -> str:
    """The remarks as a cell of a table holds them: long ones cut."""
    return "; ".join(text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …" for text in remarks(entry))


def _by_reason(whys: Mapping[int, str], many: bool) -> list[tuple[str, str]]:
    """Each reason once, with the seeds that it holds of."""
    return [
        (f" with {seeds_in_words([seed for seed, other in whys.items() if other == why])}" if many else "", why)
        for why in dict.fromkeys(whys.values())
    ]


def _how_far(missed: Sequence[Result]) -> str:
    """What was wanted and what was reached, as parts of the original's figure."""
    of = _OF.get(missed[0].budget.partition("=")[0], "original's figure")
    wanted = _shares([result.wanted for result in missed])
    reached = _shares([result.reached for result in missed])
    told = [f"wanted {wanted}"] if wanted else []
    told += [f"reached {reached}"] if reached else []
    return f": {', '.join(told)} of the {of}" if told else ""


def _shares(shares: Sequence[float | None]) -> str:
    """``50.0 %``, or from the least to the most."""
    known = sorted(
        {percent(share, 1): share for share in shares if share is not None}.items(), key=lambda item: item[1]
    )
    return "" if not known else known[0][0] if len(known) == 1 else f"{known[0][0]} to {known[-1][0]}"
