"""Transmitters: what each class of modulation puts on the air, at any instants asked for.

A transmitter is a function of ``(times_s, symbol_period_s, rng)``: instants in seconds, float64 ``(frames, instants)``;
the symbol period in seconds (analogue modulations have none and ignore it); and the generator that its symbols, timing,
pulse and speech are drawn from, anew for each frame. It returns the complex baseband, complex64 ``(frames, instants)``.
Carrier phase is not drawn here: the channel turns it.

- Linear modulations: root-raised-cosine pulses with a roll-off between 0.2 and 0.5 and a timing anywhere in the symbol.
- CPFSK: modulation index 1/2, frequency held for a symbol. Frequencies +-1/4 of the symbol rate.
- GFSK: BT = 0.35 and index 0.8 / pi = 0.255, which is GNU Radio's ``gfsk_mod`` at 8 samples a symbol with sensitivity
  0.1 (radians a sample), as RML2016.10a was made with.
- AM and FM carry speech-like sound, see :func:`speech`; FM deviates by 75 kHz at most, as broadcast does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.data.pulses import (
    PulseTable,
    gaussian_phase_table,
    locate,
    rectangular_phase_table,
    root_raised_cosine_table,
    superpose,
    symbols_needed,
)

Transmitter = Callable[[NDArray[np.float64], float, np.random.Generator], NDArray[np.complex64]]

# 0.2 to 0.5 in 13 steps: close enough together that a continuous draw would show no more.
ROLL_OFFS = tuple(0.2 + 0.025 * step for step in range(13))

CPFSK_MODULATION_INDEX = 0.5
GFSK_MODULATION_INDEX = 0.8 / math.pi
GFSK_BANDWIDTH_TIME = 0.35

FM_DEVIATION_LIMIT_HZ = 75e3
# Drawn a frame, as a share of the limit. It ends short of 1: between two samples speech may rise 0.2 % above its peak.
FM_DEVIATION_SHARE = (0.4, 0.99)
AM_DEPTH = (0.5, 0.95)

PITCH_HZ = (90.0, 260.0)
SPEECH_BANDWIDTH_HZ = 4000.0
MOST_HARMONICS = 40
# Each formant: the range of its middle in Hz, its bandwidth in Hz, its level. The bandwidths are about twice those of
# a voice, and the levels fall less steeply (as broadcasters' pre-emphasis does), so that a frame of 0.6 ms, a fraction
# of a pitch period, still holds several swings of the message.
FORMANTS = (((300.0, 850.0), 160.0, 1.0), ((900.0, 2300.0), 220.0, 0.7), ((2400.0, 3500.0), 320.0, 0.5))


def phase_shift_keying(order: int) -> NDArray[np.complex64]:
    """Give ``order`` points evenly on the unit circle, the first at phase 0."""
    return _unit_power(np.exp(2j * np.pi * np.arange(order) / order))


def pulse_amplitudes(order: int) -> NDArray[np.complex64]:
    """Give ``order`` evenly spaced real points around 0, of mean power 1."""
    return _unit_power(np.arange(1 - order, order, 2).astype(np.complex128))


def square_quadrature_amplitudes(order: int) -> NDArray[np.complex64]:
    """Give the square grid of ``order`` = 4, 16, 64, ... points, of mean power 1."""
    side = math.isqrt(order)
    axis = np.arange(1 - side, side, 2)
    return _unit_power((axis[:, None] + 1j * axis).ravel())


def _unit_power(points: NDArray[np.complex128]) -> NDArray[np.complex64]:
    scaled: NDArray[np.complex64] = (points / np.sqrt(np.mean(np.abs(points) ** 2))).astype(np.complex64)
    return scaled


CONSTELLATIONS: dict[str, NDArray[np.complex64]] = {
    "BPSK": phase_shift_keying(2),
    "QPSK": phase_shift_keying(4),
    "8PSK": phase_shift_keying(8),
    "PAM4": pulse_amplitudes(4),
    "QAM16": square_quadrature_amplitudes(16),
    "QAM64": square_quadrature_amplitudes(64),
}


def linear(
    times_s: NDArray[np.float64],
    symbol_period_s: float,
    rng: np.random.Generator,
    *,
    constellation: NDArray[np.complex64],
) -> NDArray[np.complex64]:
    """Send random points of ``constellation`` on root-raised-cosine pulses; mean power 1."""
    table = root_raised_cosine_table(ROLL_OFFS)
    time_symbols = _random_timing(times_s, symbol_period_s, rng)
    roll_off = rng.integers(len(ROLL_OFFS), size=len(times_s))
    drawn = rng.integers(len(constellation), size=(len(times_s), symbols_needed(table, time_symbols)))
    return pulse_shaped(constellation[drawn], time_symbols, table, roll_off)


def pulse_shaped(
    symbols: NDArray[np.complex64],
    time_symbols: NDArray[np.float64],
    table: PulseTable,
    pulse: NDArray[np.int64],
) -> NDArray[np.complex64]:
    """Sum the pulses of complex ``symbols`` (frames, n); times and ``pulse`` as in :func:`superpose`."""
    shaped = np.empty(time_symbols.shape, dtype=np.complex64)
    shaped.real = superpose(table, symbols.real, time_symbols, pulse)
    shaped.imag = superpose(table, symbols.imag, time_symbols, pulse)
    return shaped


def frequency_shift_keying(
    times_s: NDArray[np.float64],
    symbol_period_s: float,
    rng: np.random.Generator,
    *,
    modulation_index: float,
    phase_table: Callable[[], PulseTable],
) -> NDArray[np.complex64]:
    """Send random binary symbols as a frequency to either side of the carrier, the phase continuous; power 1."""
    table = phase_table()
    time_symbols = _random_timing(times_s, symbol_period_s, rng)
    bits = rng.integers(2, size=(len(times_s), symbols_needed(table, time_symbols)))
    symbols = (2 * bits - 1).astype(np.float32)
    return _phasor(continuous_phase(symbols, time_symbols, table, modulation_index))


def continuous_phase(
    symbols: NDArray[np.float32],
    time_symbols: NDArray[np.float64],
    table: PulseTable,
    modulation_index: float,
) -> NDArray[np.float32]:
    """Give the phase in radians that ``symbols`` (+-1, +-3, ...) make: ``2 pi h sum_i symbol_i q(t - i)``.

    ``q`` is a phase pulse that ends at 1/2 and stays there, so that a symbol turns the phase by ``pi h`` for ever.
    Shapes and times are those of :func:`superpose`.
    Source: Proakis and Salehi, Digital Communications, 5th edition, section 3.3-2.
    """
    under_way = superpose(table, symbols, time_symbols)
    finished = np.zeros_like(symbols)
    np.cumsum(symbols[:, :-1], axis=1, out=finished[:, 1:])
    number, _ = locate(time_symbols)
    turns = under_way + np.take_along_axis(finished, number, axis=1) / 2
    phase_rad: NDArray[np.float32] = np.float32(2 * np.pi * modulation_index) * turns
    return phase_rad


def _random_timing(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Give times in symbols, each frame beginning at a random place in a symbol, none negative."""
    time_symbols = times_s / symbol_period_s
    timed: NDArray[np.float64] = time_symbols - np.floor(time_symbols.min()) + rng.random((len(times_s), 1))
    return timed


def _phasor(phase_rad: NDArray[np.float32]) -> NDArray[np.complex64]:
    # Some twenty times as fast as exp of an imaginary number.
    phasor = np.empty(phase_rad.shape, dtype=np.complex64)
    phasor.real = np.cos(phase_rad)
    phasor.imag = np.sin(phase_rad)
    return phasor


class Speech(NamedTuple):
    """A message between -1 and 1, its Hilbert transform, and its integral in seconds: float32 (frames, instants)."""

    message: NDArray[np.float32]
    quadrature: NDArray[np.float32]
    integral_s: NDArray[np.float32]


def speech(times_s: NDArray[np.float64], rng: np.random.Generator) -> Speech:
    """Voice a vowel in each frame: harmonics of a random pitch below 4 kHz, under three random formants.

    Being a sum of tones, it has its Hilbert transform and its integral exactly. A limiter holds the largest magnitude
    in each frame at 1, so no frame is silent. The harmonics' phases are independent, as they are behind a room's
    echoes, so that no part of the pitch period is quieter than another.
    """
    frames = len(times_s)
    pitch_hz = rng.uniform(*PITCH_HZ, size=(frames, 1))
    frequency_hz = pitch_hz * np.arange(1, MOST_HARMONICS + 1)
    amplitude = np.zeros(frequency_hz.shape)
    for middle_range_hz, bandwidth_hz, level in FORMANTS:
        middle_hz = rng.uniform(*middle_range_hz, size=(frames, 1))
        amplitude += level / np.sqrt(1 + ((frequency_hz - middle_hz) / (bandwidth_hz / 2)) ** 2)
    amplitude[frequency_hz > SPEECH_BANDWIDTH_HZ] = 0.0
    phase_rad = rng.uniform(0, 2 * np.pi, size=frequency_hz.shape)
    voiced = _sum_of_tones(times_s, frequency_hz, amplitude, phase_rad)
    limit = 1 / np.abs(voiced.message).max(axis=1, keepdims=True)
    return Speech(*(part * limit for part in voiced))


def _sum_of_tones(
    times_s: NDArray[np.float64],
    frequency_hz: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    phase_rad: NDArray[np.float64],
) -> Speech:
    """Sum cosines (frames, tones) at the instants (frames, instants), with what is known of them exactly."""
    times = times_s.astype(np.float32)
    rate = (2 * np.pi * frequency_hz).astype(np.float32)
    weight, phase = amplitude.astype(np.float32), phase_rad.astype(np.float32)
    total = Speech(*(np.zeros(times.shape, dtype=np.float32) for _ in Speech._fields))
    # A tone at a time: all at once, the angles alone would be 40 times the frames.
    for tone in range(frequency_hz.shape[1]):
        tone_rate, tone_weight = rate[:, tone, None], weight[:, tone, None]
        angle = tone_rate * times
        angle += phase[:, tone, None]
        sine = np.sin(angle)
        total.message[...] += tone_weight * np.cos(angle)
        total.quadrature[...] += tone_weight * sine
        total.integral_s[...] += (tone_weight / tone_rate) * sine
    return total


def double_sideband(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as the amplitude of a carrier, modulated by 50 to 95 % at the frame's loudest instant."""
    depth = rng.uniform(*AM_DEPTH, size=(len(times_s), 1)).astype(np.float32)
    return (1 + depth * speech(times_s, rng).message).astype(np.complex64)


def single_sideband(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as the upper sideband alone, without carrier: the analytic signal, exactly."""
    sound = speech(times_s, rng)
    sideband = np.empty(times_s.shape, dtype=np.complex64)
    sideband.real, sideband.imag = sound.message, sound.quadrature
    return sideband


def wideband_frequency_modulation(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as the frequency of a carrier, 30 to 74 kHz away from it at the frame's loudest instant; power 1."""
    peak_hz = FM_DEVIATION_LIMIT_HZ * rng.uniform(*FM_DEVIATION_SHARE, size=(len(times_s), 1))
    return _phasor((2 * np.pi * peak_hz).astype(np.float32) * speech(times_s, rng).integral_s)


TRANSMITTERS: dict[str, Transmitter] = {
    **{name: partial(linear, constellation=points) for name, points in CONSTELLATIONS.items()},
    "CPFSK": partial(
        frequency_shift_keying,
        modulation_index=CPFSK_MODULATION_INDEX,
        phase_table=rectangular_phase_table,
    ),
    "GFSK": partial(
        frequency_shift_keying,
        modulation_index=GFSK_MODULATION_INDEX,
        phase_table=partial(gaussian_phase_table, GFSK_BANDWIDTH_TIME),
    ),
    "AM-DSB": double_sideband,
    "AM-SSB": single_sideband,
    "WBFM": wideband_frequency_modulation,
}
