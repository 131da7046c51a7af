"""Pulses that carry symbols, as tables that are looked up by time.

A waveform is a sum of pulses, one a symbol: ``x(t) = sum_i symbol_i * pulse(t - i)``, with time in symbol periods. The
tables hold each pulse at 1024 instants a symbol, so that the sum can be taken at any instants: a random timing, a
clock that drifts and an echo delayed by part of a sample are then only other instants, and nothing is resampled.
Looking up the nearest entry moves an instant by at most 1/2048 of a symbol, which is an error 65 dB below the signal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

# A power of two: instant -> (symbol, table row) is then one shift and one mask.
INSTANTS_PER_SYMBOL_LOG2 = 10
INSTANTS_PER_SYMBOL = 1 << INSTANTS_PER_SYMBOL_LOG2

# A root-raised-cosine pulse never ends; cut at 8 symbols to either side, what is lost is 44 dB below the peak or more at
# a roll-off of 0.2, and 37 dB at 0.1, where symbols then interfere 38 dB below their power.
ROOT_RAISED_COSINE_SPAN = 16
# Beyond 2 symbols from its middle the Gaussian frequency pulse is below 1e-4 of its peak at BT = 0.35, 5e-4 at 0.3.
GAUSSIAN_SPAN = 4

# Pulse values that are gathered together, 4 bytes each. With megabytes instead, the memory is asked of the system and
# given back at each call, which took six times as long as the sums.
GATHERED_AT_ONCE = 100_000


@dataclass(frozen=True)
class PulseTable:
    """Pulses of one length, sampled at 1024 instants a symbol.

    ``values`` is float32 ``(pulses * 1024, span)``. Row ``p * 1024 + u`` belongs to pulse ``p`` at ``u / 1024`` of a
    symbol after a symbol's start; its columns weigh the ``span`` symbols whose pulses are under way, oldest first.
    """

    values: NDArray[np.float32]
    span: int


def root_raised_cosine(time_symbols: NDArray[np.float64], roll_off: float) -> NDArray[np.float64]:
    """Give the root-raised-cosine pulse around time 0, with energy 1 over time in symbols.

    With energy 1, symbols of mean power 1 make a waveform of mean power 1. ``roll_off`` lies in (0, 1].
    Source: Proakis and Salehi, Digital Communications, 5th edition, section 9.2.
    """
    t = np.asarray(time_symbols, dtype=np.float64)
    beta = roll_off
    at_zero = np.abs(t) < 1e-9
    at_pole = np.abs(np.abs(t) - 1 / (4 * beta)) < 1e-9
    # Both places are 0/0 in the formula; any other instant stands in, and the limits are put there afterwards.
    safe = np.where(at_zero | at_pole, 0.1234 / beta, t)
    numerator = np.sin(np.pi * safe * (1 - beta)) + 4 * beta * safe * np.cos(np.pi * safe * (1 + beta))
    pulse = numerator / (np.pi * safe * (1 - (4 * beta * safe) ** 2))
    corner = np.pi / (4 * beta)
    limit_at_pole = beta / math.sqrt(2) * ((1 + 2 / np.pi) * np.sin(corner) + (1 - 2 / np.pi) * np.cos(corner))
    limits = np.where(at_zero, 1 - beta + 4 * beta / np.pi, limit_at_pole)
    return np.where(at_zero | at_pole, limits, pulse)


def rectangular_phase(time_symbols: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the phase pulse of a frequency held for one symbol: a ramp from 0 at time 0 to 1/2 at time 1."""
    return np.clip(np.asarray(time_symbols, dtype=np.float64), 0.0, 1.0) / 2


def gaussian_phase(time_symbols: NDArray[np.float64], bandwidth_time: float) -> NDArray[np.float64]:
    """Give the phase pulse of a Gaussian-filtered frequency: from 0 to 1/2, passing 1/4 at time 0.

    The frequency pulse is one symbol of constant frequency, centred on 0, through a Gaussian filter whose 3 dB
    bandwidth is ``bandwidth_time`` symbol rates; this is its integral in closed form.
    Source: Murota and Hirade, GMSK modulation for digital mobile radio telephony, IEEE Trans. Commun. 29(7), 1981.
    """
    sigma = math.sqrt(math.log(2)) / (2 * math.pi * bandwidth_time)

    def integral_of_normal_cdf(x: float) -> float:
        z = x / sigma
        cdf = math.erfc(-z / math.sqrt(2)) / 2
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return sigma * (z * cdf + density)

    flat = [
        (integral_of_normal_cdf(t + 0.5) - integral_of_normal_cdf(t - 0.5)) / 2 for t in np.ravel(time_symbols).tolist()
    ]
    return np.reshape(np.array(flat, dtype=np.float64), np.shape(time_symbols))


@cache
def root_raised_cosine_table(roll_offs: tuple[float, ...]) -> PulseTable:
    """Tabulate one root-raised-cosine pulse a roll-off; a pulse peaks 8 symbols after it starts."""
    time_symbols = _table_instants(ROOT_RAISED_COSINE_SPAN) - ROOT_RAISED_COSINE_SPAN / 2
    return _table([root_raised_cosine(time_symbols, roll_off) for roll_off in roll_offs])


@cache
def rectangular_phase_table() -> PulseTable:
    """Tabulate the phase pulse of plain frequency shift keying; it lasts one symbol."""
    return _table([rectangular_phase(_table_instants(1))])


@cache
def gaussian_phase_table(bandwidth_time: float) -> PulseTable:
    """Tabulate the phase pulse of Gaussian frequency shift keying; it lasts four symbols and is at 1/4 after two."""
    return _table([gaussian_phase(_table_instants(GAUSSIAN_SPAN) - GAUSSIAN_SPAN / 2, bandwidth_time)])


def _table_instants(span: int) -> NDArray[np.float64]:
    """Give the time since each pulse's start, in symbols: (1024, span), the oldest pulse first."""
    within_symbol = np.arange(INSTANTS_PER_SYMBOL)[:, None] / INSTANTS_PER_SYMBOL
    return within_symbol + np.arange(span)[::-1]


def _table(pulses: Sequence[NDArray[np.float64]]) -> PulseTable:
    values = np.concatenate(pulses).astype(np.float32)
    # The table is shared by every caller of a cached function.
    values.flags.writeable = False
    return PulseTable(values=values, span=values.shape[1])


def symbols_needed(table: PulseTable, time_symbols: NDArray[np.float64]) -> int:
    """Count the symbols that :func:`superpose` needs to reach the latest of ``time_symbols``."""
    # One more than the floor asks for: the nearest instant in the table may be the next symbol's first.
    return int(np.floor(time_symbols.max())) + 1 + table.span


def locate(time_symbols: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split times in symbols into the symbol's number and the nearest of 1024 instants within it."""
    instant = np.rint(time_symbols * INSTANTS_PER_SYMBOL).astype(np.int64)
    return instant >> INSTANTS_PER_SYMBOL_LOG2, instant & (INSTANTS_PER_SYMBOL - 1)


def superpose(
    table: PulseTable,
    symbols: NDArray[np.float32],
    time_symbols: NDArray[np.float64],
    pulse: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Sum the pulses of ``symbols`` at the instants ``time_symbols``.

    ``symbols`` is float32 ``(frames, n)``; symbol ``i`` starts its pulse at time ``i - (span - 1)``, so that at time 0
    a full span of pulses is under way. ``time_symbols`` is ``(frames, instants)``, none negative, and the result has
    its shape. ``pulse`` (frames,) chooses each frame's pulse in the table (the first, if not given).
    """
    number, row = locate(time_symbols)
    if pulse is not None:
        row += pulse[:, None] * INSTANTS_PER_SYMBOL
    windows = np.lib.stride_tricks.sliding_window_view(symbols, table.span, axis=1)
    frames, starts, _ = windows.shape
    under_way = windows.reshape(frames * starts, table.span)
    number += np.arange(frames)[:, None] * starts
    summed = np.empty(time_symbols.shape, dtype=np.float32)
    block = max(1, GATHERED_AT_ONCE // (time_symbols.shape[1] * table.span))
    for first in range(0, frames, block):
        some = slice(first, first + block)
        pulses = table.values.take(row[some], axis=0)
        weights = under_way.take(number[some], axis=0)
        # einsum, not matmul: its sums do not depend on how many threads a BLAS library uses.
        np.einsum("fts,fts->ft", pulses, weights, out=summed[some])
    return summed
