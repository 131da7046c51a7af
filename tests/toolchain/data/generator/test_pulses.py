import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from toolchain.data.generator.pulses import (
    GATHERED_AT_ONCE,
    INSTANTS_PER_SYMBOL,
    gaussian_phase,
    gaussian_phase_table,
    locate,
    rectangular_phase,
    rectangular_phase_table,
    root_raised_cosine,
    root_raised_cosine_table,
    superpose,
    symbols_needed,
)


def test_root_raised_cosine_peak_is_the_known_value():
    # 1 - 0.25 + 4 * 0.25 / pi
    assert root_raised_cosine(np.array([0.0]), 0.25)[0] == pytest.approx(0.75 + 1 / np.pi)


@pytest.mark.parametrize("roll_off", [0.2, 0.35, 0.5, 1.0])
def test_root_raised_cosine_is_smooth_where_its_formula_divides_by_zero(roll_off):
    for place in (0.0, 1 / (4 * roll_off), -1 / (4 * roll_off)):
        before, at, after = root_raised_cosine(place + np.array([-1e-5, 0.0, 1e-5]), roll_off)
        assert at == pytest.approx((before + after) / 2, abs=1e-8)


@pytest.mark.parametrize("roll_off", [0.2, 0.35, 0.5])
def test_two_root_raised_cosines_have_energy_one_and_no_interference_between_symbols(roll_off):
    step = 1 / 32
    time = np.arange(-200, 200, step)
    pulse = root_raised_cosine(time, roll_off)
    lags = range(5)
    through_both = [np.sum(pulse * root_raised_cosine(time - lag, roll_off)) * step for lag in lags]
    np.testing.assert_allclose(through_both, [1, 0, 0, 0, 0], atol=1e-4)


def test_rectangular_phase_is_a_ramp_to_one_half():
    np.testing.assert_allclose(rectangular_phase(np.array([-1, 0, 0.25, 1, 3])), [0, 0, 0.125, 0.5, 0.5])


@pytest.mark.parametrize("bandwidth_time", [0.3, 0.35, 0.5])
def test_gaussian_phase_is_the_integral_of_the_filtered_symbol(bandwidth_time):
    sigma = np.sqrt(np.log(2)) / (2 * np.pi * bandwidth_time)

    def frequency(t):
        return norm.cdf((t + 0.5) / sigma) - norm.cdf((t - 0.5) / sigma)

    for t in (-1.3, -0.4, 0.0, 0.7, 1.9):
        assert gaussian_phase(np.array([t]), bandwidth_time)[0] == pytest.approx(
            quad(frequency, -8, t)[0] / 2, abs=1e-7
        )


def test_gaussian_filter_is_3_db_down_at_its_bandwidth():
    # The frequency pulse's spectrum is a sinc, from the symbol, times the filter.
    step = 1 / 256
    time = np.arange(-8, 8, step)
    pulse = np.diff(gaussian_phase(time, 0.35)) / step
    spectrum_at_bandwidth = np.abs(np.sum(2 * pulse * np.exp(-2j * np.pi * 0.35 * time[:-1])) * step)
    assert 20 * np.log10(spectrum_at_bandwidth / np.sinc(0.35)) == pytest.approx(-3.01, abs=0.01)


def test_phase_tables_begin_at_nothing_and_end_at_one_half():
    for table in (rectangular_phase_table(), gaussian_phase_table(0.35)):
        assert table.values[0, -1] == pytest.approx(0, abs=1e-5)
        assert table.values[-1, 0] == pytest.approx(0.5, abs=1e-3)


def test_locate_takes_the_nearest_instant_even_in_the_next_symbol():
    symbol, instant = locate(np.array([0.0, 2.5, 2.9999, 3.0]))
    assert symbol.tolist() == [0, 2, 3, 3]
    assert instant.tolist() == [0, INSTANTS_PER_SYMBOL // 2, 0, 0]


def test_superpose_sums_pulses_at_any_instant():
    rng = np.random.default_rng(0)
    table = root_raised_cosine_table((0.2, 0.5))
    time = rng.uniform(0, 20, size=(2, 50))
    symbols = rng.standard_normal((2, symbols_needed(table, time))).astype(np.float32)

    got = superpose(table, symbols, time, np.array([0, 1]))

    # Symbol i starts at i - 15 and peaks 8 symbols later; the table cuts it 8 symbols from its peak.
    since_peak = time[:, :, None] - (np.arange(symbols.shape[1]) - 15 + 8)
    for frame, roll_off in enumerate((0.2, 0.5)):
        pulses = root_raised_cosine(since_peak[frame], roll_off) * (np.abs(since_peak[frame]) < 8)
        np.testing.assert_allclose(got[frame], pulses @ symbols[frame], atol=0.02)
        assert np.std(got[frame] - pulses @ symbols[frame]) < 3e-3


def test_superpose_on_the_grid_is_exact():
    table = rectangular_phase_table()
    symbols = np.array([[3.0, -1.0, 2.0]], dtype=np.float32)
    # A quarter into a symbol its ramp stands at 1/8; at its end the next symbol's begins.
    got = superpose(table, symbols, np.array([[0.25, 0.5, 1.25, 2.0]]))
    np.testing.assert_array_equal(got, np.array([[3 / 8, 3 / 4, -1 / 8, 0]], dtype=np.float32))


def test_superpose_gives_a_frame_the_same_bits_alone_and_among_others():
    rng = np.random.default_rng(1)
    table = root_raised_cosine_table((0.35,))
    time = rng.uniform(0, 50, size=(40, 400))
    assert time.size * table.span > 2 * GATHERED_AT_ONCE
    symbols = rng.standard_normal((40, symbols_needed(table, time))).astype(np.float32)
    together = superpose(table, symbols, time)
    alone = np.concatenate([superpose(table, symbols[i : i + 1], time[i : i + 1]) for i in range(40)])
    np.testing.assert_array_equal(together, alone)


def test_shared_tables_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        rectangular_phase_table().values[0] = 1
