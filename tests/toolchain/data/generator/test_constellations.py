import numpy as np
import pytest

from toolchain.data.generator.constellations import CONSTELLATIONS, amplitude_phase_shift_keying

ORDERS = {
    name: int("".join(filter(str.isdigit, name)) or {"BPSK": 2, "QPSK": 4, "OOK": 2}[name]) for name in CONSTELLATIONS
}


def least_distance(points):
    apart = np.abs(points[:, None] - points)
    return apart[~np.eye(len(points), dtype=bool)].min()


def ring_radii(points):
    return np.unique(np.round(np.abs(points) / np.abs(points).min(), 3))


@pytest.mark.parametrize("name", CONSTELLATIONS)
def test_constellations_have_as_many_points_as_their_name_says_and_mean_power_one(name):
    points = CONSTELLATIONS[name]
    assert points.dtype == np.complex64
    assert len(set(np.round(points, 4).tolist())) == ORDERS[name]
    assert np.mean(np.abs(points) ** 2) == pytest.approx(1)


@pytest.mark.parametrize("name", [name for name in CONSTELLATIONS if not name.endswith(("ASK", "OOK"))])
def test_all_but_amplitude_keying_send_no_carrier(name):
    assert abs(CONSTELLATIONS[name].mean()) < 1e-6


@pytest.mark.parametrize(
    ("name", "distance"),
    [
        # 2 sin(pi / M) on the unit circle.
        ("8PSK", 2 * np.sin(np.pi / 8)),
        ("16PSK", 2 * np.sin(np.pi / 16)),
        ("32PSK", 2 * np.sin(np.pi / 32)),
        # The odd numbers up to M - 1 have the mean square (M^2 - 1) / 3; amplitudes 0, 1, ... M - 1 have
        # (M - 1) (2 M - 1) / 6.
        ("4PAM", 2 / np.sqrt(5)),
        ("8PAM", 2 / np.sqrt(21)),
        ("OOK", 1 / np.sqrt(0.5)),
        ("4ASK", 1 / np.sqrt(3.5)),
        ("8ASK", 1 / np.sqrt(17.5)),
        # Proakis and Salehi, section 4.3-3: mean powers of 10, 42 and 170 for squares, 20 and 82 for crosses.
        ("16QAM", 2 / np.sqrt(10)),
        ("32QAM", 2 / np.sqrt(20)),
        ("64QAM", 2 / np.sqrt(42)),
        ("128QAM", 2 / np.sqrt(82)),
        ("256QAM", 2 / np.sqrt(170)),
        # The innermost ring of 4 is tightest, of radius 1 and sqrt(2) between its points; in 64 it is the second, of 12.
        ("16APSK", np.sqrt(2) / np.sqrt((4 + 12 * 2.85**2) / 16)),
        ("32APSK", np.sqrt(2) / np.sqrt((4 + 12 * 2.84**2 + 16 * 5.27**2) / 32)),
        ("64APSK", 2 * 2.4 * np.sin(np.pi / 12) / np.sqrt((4 + 12 * 2.4**2 + 20 * 4.3**2 + 28 * 7**2) / 64)),
    ],
)
def test_points_keep_the_distance_that_power_one_allows(name, distance):
    assert least_distance(CONSTELLATIONS[name]) == pytest.approx(distance, rel=1e-5)


def test_amplitude_constellations_lie_on_evenly_spaced_levels():
    np.testing.assert_allclose(CONSTELLATIONS["4PAM"] * np.sqrt(5), [-3, -1, 1, 3], atol=1e-6)
    np.testing.assert_allclose(CONSTELLATIONS["4ASK"] * np.sqrt(3.5), [0, 1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(CONSTELLATIONS["OOK"], [0, np.sqrt(2)], atol=1e-6)


@pytest.mark.parametrize(("name", "side", "corner"), [("32QAM", 6, 1), ("128QAM", 12, 2)])
def test_crosses_are_squares_without_their_corners(name, side, corner):
    points = CONSTELLATIONS[name]
    step = least_distance(points) / 2
    column = np.round(points.real / step).astype(int)
    counts = [int(np.sum(column == at)) for at in range(1 - side, side, 2)]
    assert counts == [side - 2 * corner] * corner + [side] * (side - 2 * corner) + [side - 2 * corner] * corner


@pytest.mark.parametrize(
    ("order", "points_on_ring", "radii", "first_phase"),
    [
        (16, [4, 12], [1, 2.85], [1 / 4, 1 / 12]),
        (32, [4, 12, 16], [1, 2.84, 5.27], [1 / 4, 1 / 12, 0]),
        (64, [4, 12, 20, 28], [1, 2.4, 4.3, 7], [1 / 4, 1 / 12, 1 / 20, 1 / 28]),
    ],
)
def test_rings_are_those_of_the_satellite_standards(order, points_on_ring, radii, first_phase):
    points = amplitude_phase_shift_keying(order)
    relative = np.abs(points) / np.abs(points).min()
    np.testing.assert_allclose(ring_radii(points), radii)
    for count, radius, first in zip(points_on_ring, radii, first_phase, strict=True):
        phase = np.sort(np.angle(points[np.isclose(relative, radius, rtol=1e-3)]) / np.pi % 2)
        np.testing.assert_allclose(np.sort((first + 2 * np.arange(count) / count) % 2), phase, atol=1e-6)


def test_128_points_stand_on_six_rings_the_same_in_every_quadrant():
    points = amplitude_phase_shift_keying(128)
    relative = np.round(np.abs(points) / np.abs(points).min(), 3)
    np.testing.assert_allclose(ring_radii(points), [1, 1.715, 2.118, 2.681, 2.75, 3.819])
    assert np.unique(relative, return_counts=True)[1].tolist() == [16, 16, 16, 16, 16, 48]
    quadrant = np.sort_complex(np.round(np.abs(points.real) + 1j * np.abs(points.imag), 5))
    np.testing.assert_array_equal(quadrant.reshape(32, 4), np.repeat(quadrant[::4, None], 4, axis=1))
    # On the innermost ring, at 83 pi / 1260, 103 pi / 560, ... as EN 302 307-2 lists them.
    first = points[:4] * points[0].conj()
    np.testing.assert_allclose(np.angle(first), np.pi * (np.array([0, 595, 1261, 1855]) / 5040), atol=1e-6)
    # Its neighbours are the closest of all points: 594 pi / 5040 apart.
    radius = 1 / np.sqrt((16 * (1 + 1.715**2 + 2.118**2 + 2.681**2 + 2.75**2) + 48 * 3.819**2) / 128)
    assert least_distance(points) == pytest.approx(2 * radius * np.sin(297 * np.pi / 5040), rel=1e-5)
