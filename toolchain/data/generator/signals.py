"""Digital transmitters: what each class of modulation puts on the air, at any instants asked for.

A transmitter is a function of ``(times_s, symbol_period_s, rng)``: instants in seconds, float64 ``(frames, instants)``;
the symbol period in seconds (analogue modulations have none and ignore it); and the generator that its symbols, timing,
pulse and speech are drawn from, anew for each frame. It returns the complex baseband, complex64 ``(frames, instants)``.
Carrier phase is not drawn here: the channel turns it.

The analogue ones are in :mod:`toolchain.data.generator.analogue`, and which class of which preset is sent how in
:mod:`toolchain.data.generator.presets`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toolchain.data.generator.phase import continuous_phase, phasor
from toolchain.data.generator.pulses import PulseTable, root_raised_cosine_table, superpose, symbols_needed

Transmitter = Callable[[NDArray[np.float64], float, np.random.Generator], NDArray[np.complex64]]


def linear(
    times_s: NDArray[np.float64],
    symbol_period_s: float,
    rng: np.random.Generator,
    *,
    constellation: NDArray[np.complex64],
    roll_offs: tuple[float, ...],
) -> NDArray[np.complex64]:
    """Send random points of ``constellation`` on root-raised-cosine pulses, one of ``roll_offs`` a frame; power 1."""
    table = root_raised_cosine_table(roll_offs)
    time_symbols = _random_timing(times_s, symbol_period_s, rng)
    roll_off = rng.integers(len(roll_offs), size=len(times_s))
    drawn = rng.integers(len(constellation), size=(len(times_s), symbols_needed(table, time_symbols)))
    return pulse_shaped(constellation[drawn], time_symbols, table, roll_off)


def staggered(
    times_s: NDArray[np.float64],
    symbol_period_s: float,
    rng: np.random.Generator,
    *,
    constellation: NDArray[np.complex64],
    roll_offs: tuple[float, ...],
) -> NDArray[np.complex64]:
    """Send as :func:`linear`, the quadrature half a symbol after the in-phase part: offset keying; power 1."""
    table = root_raised_cosine_table(roll_offs)
    time_symbols = _random_timing(times_s, symbol_period_s, rng) + 0.5
    roll_off = rng.integers(len(roll_offs), size=len(times_s))
    drawn = rng.integers(len(constellation), size=(len(times_s), symbols_needed(table, time_symbols)))
    return pulse_shaped(constellation[drawn], time_symbols, table, roll_off, quadrature_delay_symbols=0.5)


def pulse_shaped(
    symbols: NDArray[np.complex64],
    time_symbols: NDArray[np.float64],
    table: PulseTable,
    pulse: NDArray[np.int64],
    *,
    quadrature_delay_symbols: float = 0.0,
) -> NDArray[np.complex64]:
    """Sum the pulses of complex ``symbols`` (frames, n); times and ``pulse`` as in :func:`superpose`."""
    shaped = np.empty(time_symbols.shape, dtype=np.complex64)
    shaped.real = superpose(table, symbols.real, time_symbols, pulse)
    shaped.imag = superpose(table, symbols.imag, time_symbols - quadrature_delay_symbols, pulse)
    return shaped


def frequency_shift_keying(
    times_s: NDArray[np.float64],
    symbol_period_s: float,
    rng: np.random.Generator,
    *,
    order: int = 2,
    modulation_index: float,
    phase_table: Callable[[], PulseTable],
) -> NDArray[np.complex64]:
    """Send random symbols as one of ``order`` frequencies around the carrier, the phase continuous; power 1.

    Neighbouring frequencies lie ``modulation_index`` symbol rates apart.
    """
    table = phase_table()
    time_symbols = _random_timing(times_s, symbol_period_s, rng)
    drawn = rng.integers(order, size=(len(times_s), symbols_needed(table, time_symbols)))
    symbols = (2 * drawn - (order - 1)).astype(np.float32)
    return phasor(continuous_phase(symbols, time_symbols, table, modulation_index))


def _random_timing(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Give times in symbols, each frame beginning at a random place in a symbol, none negative."""
    time_symbols = times_s / symbol_period_s
    timed: NDArray[np.float64] = time_symbols - np.floor(time_symbols.min()) + rng.random((len(times_s), 1))
    return timed
