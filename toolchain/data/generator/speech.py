"""Speech-like sound for analogue modulations to carry: a voiced vowel in each frame, never silent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PITCH_HZ = (90.0, 260.0)
SPEECH_BANDWIDTH_HZ = 4000.0
MOST_HARMONICS = 40
# Each formant: the range of its middle in Hz, its bandwidth in Hz, its level. The bandwidths are about twice those of
# a voice, and the levels fall less steeply (as broadcasters' pre-emphasis does), so that a frame of 0.6 ms, a fraction
# of a pitch period, still holds several swings of the message.
FORMANTS = (((300.0, 850.0), 160.0, 1.0), ((900.0, 2300.0), 220.0, 0.7), ((2400.0, 3500.0), 320.0, 0.5))


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
