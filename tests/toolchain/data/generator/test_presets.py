import numpy as np
import pytest

from toolchain.data.generator.presets import (
    CPFSK_MODULATION_INDEX,
    GFSK_MODULATION_INDEX,
    GMSK_MODULATION_INDEX,
    PRESETS,
)

CLASSES = [(preset.name, name) for preset in PRESETS.values() for name in preset.classes]
ANALOGUE = {"AM-DSB", "AM-SSB", "WBFM", "AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM"}


def transmit(preset, name, *, frames, length, samples_per_symbol=8, seed=0):
    """Send at the preset's rate, or ``samples_per_symbol / 8`` times as fast."""
    rate_hz = PRESETS[preset].sample_rate_hz * samples_per_symbol / 8
    times_s = np.tile(np.arange(length) / rate_hz, (frames, 1))
    return PRESETS[preset].transmitters[name](times_s, samples_per_symbol / rate_hz, np.random.default_rng(seed))


def test_every_preset_is_known_by_its_own_name():
    assert {key: preset.name for key, preset in PRESETS.items()} == {name: name for name in PRESETS}


def test_rml2016a_is_the_published_set_in_shape():
    preset = PRESETS["rml2016a"]
    assert list(preset.classes) == sorted(preset.classes)
    assert (len(preset.classes), preset.length, preset.sample_rate_hz) == (11, 128, 200e3)


def test_sig2019_has_the_classes_and_the_length_of_the_layer_pruning_literature():
    preset = PRESETS["sig2019"]
    named = "BPSK QPSK 8PSK OQPSK 2FSK 4FSK 8FSK 16QAM 32QAM 64QAM 4PAM 8PAM"
    assert (list(preset.classes), preset.length) == (named.split(), 512)


def test_rml2018_has_the_classes_in_the_files_own_order():
    preset = PRESETS["rml2018"]
    named = (
        "OOK 4ASK 8ASK BPSK QPSK 8PSK 16PSK 32PSK 16APSK 32APSK 64APSK 128APSK 16QAM 32QAM 64QAM 128QAM 256QAM "
        "AM-SSB-WC AM-SSB-SC AM-DSB-WC AM-DSB-SC FM GMSK OQPSK"
    )
    assert (list(preset.classes), preset.length) == (named.split(), 1024)


def test_a_chunk_is_8192_samples_whatever_the_length():
    assert [preset.chunk_frames * preset.length for preset in PRESETS.values()] == [8192] * len(PRESETS)


@pytest.mark.parametrize(("preset", "name"), CLASSES)
def test_what_is_sent_fits_the_sampled_band(preset, name):
    # At four times the rate, so that what would fold in shows where it is.
    waveform = transmit(preset, name, frames=12, length=4096, samples_per_symbol=32)
    power = np.mean(np.abs(np.fft.fft(waveform * np.blackman(4096), axis=1)) ** 2, axis=0)
    frequency = np.abs(np.fft.fftfreq(4096, 1 / (4 * PRESETS[preset].sample_rate_hz)))
    assert power[frequency > 100e3].sum() / power.sum() < 1.5e-3
    # The occupied bandwidth, 99 % of the power, leaves room for the carrier's offset.
    assert power[frequency > 80e3].sum() / power.sum() < 0.01


@pytest.mark.parametrize(("preset", "name"), CLASSES)
def test_no_frame_is_silent_and_digital_ones_have_power_one(preset, name):
    waveform = transmit(preset, name, frames=300, length=PRESETS[preset].length)
    power = np.mean(np.abs(waveform) ** 2, axis=1)
    # Speech peaks at 1 in each frame, 13 dB and less above its mean power.
    assert power.min() > 0.05
    if name not in ANALOGUE:
        assert power.mean() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(("preset", "name"), CLASSES)
def test_every_frame_is_drawn_anew_from_the_generator_passed_in(preset, name):
    first = transmit(preset, name, frames=3, length=64, seed=1)
    np.testing.assert_array_equal(first, transmit(preset, name, frames=3, length=64, seed=1))
    assert not np.allclose(first, transmit(preset, name, frames=3, length=64, seed=2))
    assert not np.allclose(first[0], first[1])
    assert first.dtype == np.complex64


@pytest.mark.parametrize(
    ("preset", "name", "index"),
    [
        ("rml2016a", "CPFSK", CPFSK_MODULATION_INDEX),
        ("rml2016a", "GFSK", GFSK_MODULATION_INDEX),
        ("rml2018", "GMSK", GMSK_MODULATION_INDEX),
    ],
)
def test_binary_frequency_keying_has_a_constant_envelope_and_two_frequencies(preset, name, index):
    waveform = transmit(preset, name, frames=200, length=256)
    np.testing.assert_allclose(np.abs(waveform), 1, atol=1e-5)
    # In symbol rates.
    frequency = np.angle(waveform[:, 1:] * waveform[:, :-1].conj()) / (2 * np.pi) * 8
    # An instant is looked up to 1/2048 of a symbol, which shows in a frequency between two samples.
    assert np.abs(frequency).max() < index / 2 * 1.01
    near_deviation = np.abs(np.abs(frequency) - index / 2) < 0.05 * index / 2
    assert np.mean(near_deviation & (frequency > 0)) > 0.1
    assert np.mean(near_deviation & (frequency < 0)) > 0.1


@pytest.mark.parametrize(
    ("preset", "name", "line"),
    [
        ("rml2018", "OOK", True),
        ("rml2018", "8ASK", True),
        ("rml2018", "AM-DSB-WC", True),
        ("rml2018", "AM-SSB-WC", True),
        ("rml2016a", "AM-DSB", True),
        ("rml2018", "BPSK", False),
        ("sig2019", "8PAM", False),
        ("rml2018", "AM-DSB-SC", False),
        ("rml2018", "AM-SSB-SC", False),
        ("rml2016a", "AM-SSB", False),
    ],
)
def test_a_carrier_shows_as_a_line_where_the_class_has_one(preset, name, line):
    waveform = transmit(preset, name, frames=10, length=8192)
    power = np.mean(np.abs(np.fft.fft(waveform * np.blackman(8192), axis=1)) ** 2, axis=0)
    share_of_bin = power[0] / power.sum()
    assert share_of_bin > 0.1 if line else share_of_bin < 0.003


@pytest.mark.parametrize(("preset", "name", "widest"), [("sig2019", "QPSK", 0.5), ("rml2018", "QPSK", 0.4)])
def test_roll_offs_end_where_the_preset_says(preset, name, widest):
    waveform = transmit(preset, name, frames=100, length=2048)
    power = np.mean(np.abs(np.fft.fft(waveform * np.blackman(2048), axis=1)) ** 2, axis=0)
    frequency = np.abs(np.fft.fftfreq(2048, 1 / 8))
    edge = (1 + widest) / 2
    assert power[frequency > edge + 0.02].sum() / power.sum() < 1e-4
    assert power[(frequency > edge - 0.06) & (frequency < edge)].sum() / power.sum() > 1e-4
