"""The points that linear modulations send, each set complex64 and of mean power 1.

Amplitude and phase shift keying is as satellites send it: DVB-S2 (ETSI EN 302 307-1) for 16 and 32 points, DVB-S2X
(EN 302 307-2) for 64 and 128. The standards space the rings differently at each code rate; here they are spaced as at
rate 3/4, and for 64 points as at 11/15, the nearest to it of the kind 4+12+20+28.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Each ring from the inside: radius over that of the innermost, points, phase of the first in radians.
APSK_RINGS: dict[int, tuple[tuple[float, int, float], ...]] = {
    16: ((1.0, 4, math.pi / 4), (2.85, 12, math.pi / 12)),
    32: ((1.0, 4, math.pi / 4), (2.84, 12, math.pi / 12), (5.27, 16, 0.0)),
    64: ((1.0, 4, math.pi / 4), (2.4, 12, math.pi / 12), (4.3, 20, math.pi / 20), (7.0, 28, math.pi / 28)),
}
# 128 points do not stand evenly on their rings: radius, and the phases of one quadrant in units of pi / 5040. The other
# quadrants mirror it in both axes.
APSK_128_QUADRANT: tuple[tuple[float, tuple[int, ...]], ...] = (
    (1.0, (332, 927, 1593, 2187)),
    (1.715, (242, 1017, 1503, 2278)),
    (2.118, (414, 845, 1673, 2106)),
    (2.681, (427, 834, 1686, 2094)),
    (2.75, (133, 1126, 1393, 2387)),
    (3.819, (111, 330, 528, 732, 929, 1149, 1372, 1590, 1789, 1993, 2190, 2408)),
)
PHASE_UNITS = 5040


def phase_shift_keying(order: int) -> NDArray[np.complex64]:
    """Give ``order`` points evenly on the unit circle, the first at phase 0."""
    return _unit_power(np.exp(2j * np.pi * np.arange(order) / order))


def pulse_amplitudes(order: int) -> NDArray[np.complex64]:
    """Give ``order`` evenly spaced real points to both sides of 0."""
    return _unit_power(np.arange(1 - order, order, 2).astype(np.complex128))


def carrier_amplitudes(order: int) -> NDArray[np.complex64]:
    """Give ``order`` amplitudes of a carrier, evenly from 0 up; two of them are on-off keying."""
    return _unit_power(np.arange(order).astype(np.complex128))


def square_quadrature_amplitudes(order: int) -> NDArray[np.complex64]:
    """Give the square grid of ``order`` = 4, 16, 64, ... points."""
    return _unit_power(_grid(math.isqrt(order)))


def cross_quadrature_amplitudes(order: int) -> NDArray[np.complex64]:
    """Give the cross of ``order`` = 32, 128, ... points: a square grid without its corners."""
    side = 3 * math.isqrt(order // 2) // 2
    grid = _grid(side)
    # A corner is a sixth of the side: what is cut off a square of 9/8 of the points leaves them.
    arm = side - 1 - side // 3
    return _unit_power(grid[(np.abs(grid.real) <= arm) | (np.abs(grid.imag) <= arm)])


def amplitude_phase_shift_keying(order: int) -> NDArray[np.complex64]:
    """Give the rings of DVB-S2 and DVB-S2X with ``order`` = 16, 32, 64 or 128 points."""
    if order == 128:
        quadrant = np.concatenate(
            [radius * np.exp(1j * np.pi * np.array(phases) / PHASE_UNITS) for radius, phases in APSK_128_QUADRANT]
        )
        return _unit_power(np.concatenate([quadrant, -quadrant.conj(), -quadrant, quadrant.conj()]))
    return _unit_power(np.concatenate([_ring(*ring) for ring in APSK_RINGS[order]]))


def _ring(radius: float, points: int, first_rad: float) -> NDArray[np.complex128]:
    ring: NDArray[np.complex128] = radius * np.exp(1j * (first_rad + 2 * np.pi * np.arange(points) / points))
    return ring


def _grid(side: int) -> NDArray[np.complex128]:
    axis = np.arange(1 - side, side, 2)
    return (axis[:, None] + 1j * axis).ravel()


def _unit_power(points: NDArray[np.complex128]) -> NDArray[np.complex64]:
    scaled: NDArray[np.complex64] = (points / np.sqrt(np.mean(np.abs(points) ** 2))).astype(np.complex64)
    return scaled


# Every set of points by name. Names that two data sets give to one modulation both stand here.
CONSTELLATIONS: dict[str, NDArray[np.complex64]] = {
    "BPSK": phase_shift_keying(2),
    "QPSK": phase_shift_keying(4),
    "8PSK": phase_shift_keying(8),
    "16PSK": phase_shift_keying(16),
    "32PSK": phase_shift_keying(32),
    "4PAM": pulse_amplitudes(4),
    "8PAM": pulse_amplitudes(8),
    "OOK": carrier_amplitudes(2),
    "4ASK": carrier_amplitudes(4),
    "8ASK": carrier_amplitudes(8),
    "4QAM": square_quadrature_amplitudes(4),
    "16QAM": square_quadrature_amplitudes(16),
    "32QAM": cross_quadrature_amplitudes(32),
    "64QAM": square_quadrature_amplitudes(64),
    "128QAM": cross_quadrature_amplitudes(128),
    "256QAM": square_quadrature_amplitudes(256),
    "16APSK": amplitude_phase_shift_keying(16),
    "32APSK": amplitude_phase_shift_keying(32),
    "64APSK": amplitude_phase_shift_keying(64),
    "128APSK": amplitude_phase_shift_keying(128),
}
