"""Analogue transmitters: amplitude and frequency modulation by speech-like sound.

Each is a :data:`toolchain.data.generator.signals.Transmitter`; having no symbols, it ignores the symbol period. Speech
(:func:`toolchain.data.generator.speech.speech`) peaks at 1 in each frame, so none is ever silent. FM deviates by 75 kHz
at most, as broadcast does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.data.generator.phase import phasor
from toolchain.data.generator.speech import Speech, speech

FM_DEVIATION_LIMIT_HZ = 75e3
# Drawn a frame, as a share of the limit. It ends short of 1: between two samples speech may rise 0.2 % above its peak.
FM_DEVIATION_SHARE = (0.4, 0.99)
AM_DEPTH = (0.5, 0.95)


def double_sideband(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as the amplitude of a carrier, modulated by 50 to 95 % at the frame's loudest instant."""
    depth = _draw_depth(times_s, rng)
    return (1 + depth * speech(times_s, rng).message).astype(np.complex64)


def double_sideband_suppressed_carrier(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as both sidebands alone: the message itself, without carrier."""
    return speech(times_s, rng).message.astype(np.complex64)


def single_sideband(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as the upper sideband alone, without carrier: the analytic signal, exactly."""
    return _analytic(speech(times_s, rng))


def single_sideband_with_carrier(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as the upper sideband beside a full carrier, at its loudest 50 to 95 % of the carrier's amplitude.

    The full carrier of emission H3E, 6 dB below the peak envelope, is a sideband of 100 %.
    """
    depth = _draw_depth(times_s, rng)
    return 1 + depth * _analytic(speech(times_s, rng))


def wideband_frequency_modulation(
    times_s: NDArray[np.float64], symbol_period_s: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Send speech as the frequency of a carrier, 30 to 74 kHz away from it at the frame's loudest instant; power 1."""
    peak_hz = FM_DEVIATION_LIMIT_HZ * rng.uniform(*FM_DEVIATION_SHARE, size=(len(times_s), 1))
    return phasor((2 * np.pi * peak_hz).astype(np.float32) * speech(times_s, rng).integral_s)


def _draw_depth(times_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.uniform(*AM_DEPTH, size=(len(times_s), 1)).astype(np.float32)


def _analytic(sound: Speech) -> NDArray[np.complex64]:
    analytic = np.empty(sound.message.shape, dtype=np.complex64)
    analytic.real, analytic.imag = sound.message, sound.quadrature
    return analytic
