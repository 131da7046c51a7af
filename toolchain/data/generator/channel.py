"""The radio channel between a transmitter and the frames: clocks that disagree, echoes, and noise.

Values are those that RML2016.10a was made with (GNU Radio's dynamic channel model at 200 kHz), with one difference:
there, the carrier and clock offsets walk slowly at random from 0; here each frame draws its own, evenly over the range
that the walk may reach, so that a frame's place in a recording does not matter.

The echoes are still within a frame. At 1 Hz of Doppler the channel keeps its phase for a good part of a second, and a
frame lasts 0.64 ms: turning the gains during it would change nothing that can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CARRIER_OFFSET_LIMIT_HZ = 500.0
# 50 Hz in a sample rate of 200 kHz.
CLOCK_OFFSET_LIMIT_PPM = 250.0

PATH_DELAY_SAMPLES = (0.0, 0.9, 1.7)
PATH_MAGNITUDE = (1.0, 0.8, 0.3)
# Power of the first path's steady part over that of its scattered part; the echoes have no steady part.
RICIAN_K = 4.0


@dataclass(frozen=True)
class Channel:
    """One draw of the channel for each frame.

    ``carrier_offset_hz``, ``carrier_phase_rad``, ``clock_offset_ppm``: float64 (frames,). A positive clock offset means
    that the receiver samples too slowly, its samples being further apart than nominal.
    ``path_gain``: complex128 (frames, paths), of total mean power 1.
    """

    carrier_offset_hz: NDArray[np.float64]
    carrier_phase_rad: NDArray[np.float64]
    clock_offset_ppm: NDArray[np.float64]
    path_gain: NDArray[np.complex128]


def draw_channel(frames: int, rng: np.random.Generator) -> Channel:
    """Draw a channel for each of ``frames``: offsets evenly over their ranges, a Rician path and Rayleigh echoes."""
    return Channel(
        carrier_offset_hz=rng.uniform(-CARRIER_OFFSET_LIMIT_HZ, CARRIER_OFFSET_LIMIT_HZ, size=frames),
        carrier_phase_rad=rng.uniform(0, 2 * np.pi, size=frames),
        clock_offset_ppm=rng.uniform(-CLOCK_OFFSET_LIMIT_PPM, CLOCK_OFFSET_LIMIT_PPM, size=frames),
        path_gain=_draw_path_gains(frames, rng),
    )


def _draw_path_gains(frames: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    magnitude = np.array(PATH_MAGNITUDE) / np.linalg.norm(PATH_MAGNITUDE)
    shape = (frames, len(PATH_MAGNITUDE))
    fading = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)
    steady = np.exp(2j * np.pi * rng.random(frames))
    fading[:, 0] = (np.sqrt(RICIAN_K) * steady + fading[:, 0]) / np.sqrt(RICIAN_K + 1)
    gains: NDArray[np.complex128] = magnitude * fading
    return gains


def sending_times_s(channel: Channel, length: int, sample_rate_hz: float) -> NDArray[np.float64]:
    """Say when each sample's signal left the transmitter, by each path: float64 (frames, paths, length), in seconds.

    The receiver takes sample ``n`` at ``n (1 + clock offset) / sample rate``; a path's signal left its delay earlier.
    """
    taken = np.arange(length) * (1 + 1e-6 * channel.clock_offset_ppm[:, None])
    sent: NDArray[np.float64] = (taken[:, None, :] - np.array(PATH_DELAY_SAMPLES)[:, None]) / sample_rate_hz
    return sent


def receive(channel: Channel, sent: NDArray[np.complex64], sample_rate_hz: float) -> NDArray[np.complex64]:
    """Add the paths up and turn the carrier: the signal at the receiver before noise, complex64 (frames, length).

    ``sent`` is what the transmitter sends at :func:`sending_times_s`: complex64 (frames, paths, length).
    """
    gain = channel.path_gain.astype(np.complex64)
    heard = np.zeros((sent.shape[0], sent.shape[2]), dtype=np.complex64)
    for path in range(sent.shape[1]):
        heard += gain[:, path, None] * sent[:, path]
    cycles = channel.carrier_offset_hz[:, None] / sample_rate_hz * np.arange(sent.shape[2])
    turn = np.exp(1j * (2 * np.pi * cycles + channel.carrier_phase_rad[:, None]))
    heard *= turn.astype(np.complex64)
    return heard


def white_noise(signal: NDArray[np.complex64], snr_db: float, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Draw the noise for ``signal`` (frames, length): complex, white over the whole sampled band.

    Its expected power is ``snr_db`` below each frame's own mean power, echoes and fading included. The power that a
    frame happens to get scatters around that as Gaussian noise does (0.4 dB over 128 samples).
    """
    signal_power = np.mean(signal.real**2 + signal.imag**2, axis=1, keepdims=True, dtype=np.float64)
    deviation = np.sqrt(signal_power / 10 ** (snr_db / 10) / 2).astype(np.float32)
    parts = rng.standard_normal((*signal.shape, 2), dtype=np.float32)
    parts *= deviation[:, :, None]
    return parts.view(np.complex64)[:, :, 0]
