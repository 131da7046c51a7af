"""The sensitivity that pruning costs, in dB, and why there is none for some models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from toolchain.report.comparison.gathering import Result

Uncrossed = Literal["below", "above", "original"]


def uncrossed_because(result: Result, level: float) -> Uncrossed | None:
    """Why a model has no sensitivity beside that of its original; None where it has."""
    judged, before = result.judged, result.original.judged if result.original else None
    if judged is not None and judged.sensitivity_db is None:
        by_snr = judged.accuracy_by_snr.values()
        return "above" if by_snr and min(by_snr) >= level else "below"
    return "original" if before is None or before.sensitivity_db is None else None


def sensitivity_lost_db(counted: Sequence[Result]) -> dict[int, float]:
    """By seed, how many dB more the model needs than the original of its seed, where both cross the level."""
    lost = {}
    for result in counted:
        before = result.original.judged if result.original else None
        if result.judged is None or before is None:
            continue
        if result.judged.sensitivity_db is not None and before.sensitivity_db is not None:
            lost[result.seed] = result.judged.sensitivity_db - before.sensitivity_db
    return lost
