"""SNRs as people type them: ``-20:18:2``, ``0,10,20``, ``10:``."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from toolchain.errors import DatasetError

MOST_SNRS = 1000
# In a message.
MOST_SHOWN = 12


class SnrChoice(NamedTuple):
    """SNRs to keep, in dB: from ``low_db`` to ``high_db``, both included (None: no end), or exactly ``values_db``."""

    low_db: float | None
    high_db: float | None
    values_db: tuple[float, ...] | None


def snrs_in(text: str) -> tuple[float, ...]:
    """Read a list of SNRs in dB: ``low:high:step``, both ends included, or numbers with commas between.

    Raises :class:`DatasetError` for anything else.
    """
    expected = "expected low:high:step in dB, both ends included, as -20:18:2, or numbers, as 0,10,20"
    try:
        if ":" not in text:
            numbers = tuple(_number(part) for part in text.split(","))
        else:
            low, high, step = (_number(part) for part in text.split(":"))
            if step <= 0 or (high - low) / step > MOST_SNRS:
                raise ValueError("a step that is not above 0, or too many")
            _require_order(text, low, high)
            # A little past the end, for 18 is -20 + 19 x 2 and 0.3 is a little more than 0 + 3 x 0.1.
            numbers = tuple(float(number) + 0.0 for number in np.arange(low, high + step * 1e-6, step).round(9))
    except ValueError as error:
        raise DatasetError(f'SNRs "{text}": {expected}') from error
    if len(set(numbers)) < len(numbers):
        raise DatasetError(f'SNRs "{text}": one is there twice; {expected}')
    return numbers


def snr_choice(text: str) -> SnrChoice:
    """Read which SNRs to keep: ``low:high`` with either end left out, or a list as :func:`snrs_in` reads it.

    Raises :class:`DatasetError` for anything else.
    """
    low, colon, high = text.partition(":")
    if not colon or ":" in high:
        return SnrChoice(None, None, snrs_in(text))
    try:
        ends = [_number(end) if end.strip() else None for end in (low, high)]
        if ends == [None, None]:
            raise ValueError("no end")
    except ValueError as error:
        raise DatasetError(
            f'SNRs "{text}": expected low:high in dB, as 10:18, 10: or :0; low:high:step; or numbers, as 0,10,20'
        ) from error
    _require_order(text, *ends)
    return SnrChoice(ends[0], ends[1], None)


def range_in_words(low_db: float | None, high_db: float | None) -> str:
    """Say a range of which one end may be open: "from 10 dB up", "up to 0 dB", "from 10 to 18 dB"."""
    if high_db is None:
        return f"from {low_db:g} dB up"
    return f"up to {high_db:g} dB" if low_db is None else f"from {low_db:g} to {high_db:g} dB"


def snrs_in_words(snrs_db: ArrayLike, of_db: ArrayLike) -> str:
    """Say which SNRs these are of a file that has ``of_db``: "10 to 18 dB" where they are a run of them, or "-4, 0, 18 dB"."""
    snrs, of = np.unique(snrs_db), np.unique(of_db)
    if not snrs.size:
        return "none"
    if snrs.size > 2 and snrs.size == np.count_nonzero((of >= snrs[0]) & (of <= snrs[-1])):
        return f"{snrs[0]:g} to {snrs[-1]:g} dB"
    more = f" and {snrs.size - MOST_SHOWN} more" if snrs.size > MOST_SHOWN else ""
    return f"{', '.join(f'{snr:g}' for snr in snrs[:MOST_SHOWN])}{more} dB"


def _require_order(text: str, low_db: float | None, high_db: float | None) -> None:
    if low_db is not None and high_db is not None and low_db > high_db:
        low, high, *step = (part.strip() for part in text.split(":"))
        raise DatasetError(
            f'SNRs "{text}": {low} is above {high}; expected the lower end first, as {":".join([high, low, *step])}'
        )


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number + 0.0  # no -0.0
