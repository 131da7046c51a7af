from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from deploy.frames.dataset import Dataset, from_memory
from toolchain.data import open_dataset
from toolchain.data.generator import PRESETS, generate
from toolchain.data.snr_estimate import (
    MeasuredSnr,
    estimate_snr_db,
    frame_spectra,
    judge_snr_labels,
    measure_snr,
    noise_floor,
)

SNRS_DB = range(-20, 20, 2)


def generated(frames_per_cell=12, snr_db=SNRS_DB, seed=3) -> Dataset:
    made = generate("rml2016a", frames_per_cell=frames_per_cell, snr_db=list(snr_db), seed=seed)
    return Dataset(
        source="made.h5",
        format="test",
        classes=PRESETS["rml2016a"].classes,
        labels=made.label,
        snr_db=made.snr_db,
        length=128,
        sample_rate_hz=200e3,
        read=from_memory(made.iq),
    )


def judged(dataset: Dataset) -> str | None:
    return judge_snr_labels(measure_snr(dataset), dataset.classes)


@pytest.fixture(scope="module")
def true_set() -> Dataset:
    return generated()


def tones_in_noise(snr_db, frames=200, length=128, seed=0) -> np.ndarray:
    """A tone of power 1 at a random frequency within +-0.05 cycles a sample, and white noise beside it."""
    rng = np.random.default_rng(seed)
    cycles = rng.uniform(-0.05, 0.05, (frames, 1)) * np.arange(length) + rng.random((frames, 1))
    noise = rng.standard_normal((2, frames, length)) * np.sqrt(10 ** (-snr_db / 10) / 2)
    signal = np.exp(2j * np.pi * cycles) + noise[0] + 1j * noise[1]
    return np.stack([signal.real, signal.imag], axis=1).astype(np.float32)


def test_white_noise_has_a_spectrum_of_1():
    noise = np.random.default_rng(0).standard_normal((2000, 2, 256)).astype(np.float32)
    spectrum = frame_spectra(noise).mean(axis=0)
    assert spectrum.shape == (128,)
    np.testing.assert_allclose(spectrum, 1, atol=0.12)
    assert spectrum.mean() == pytest.approx(1, abs=0.005)


def test_tone_stands_in_its_bin_with_the_windows_gain():
    """A Hann window gives a tone on a bin 2/3 of the power in that bin and 1/6 in each neighbour."""
    turn = 2 * np.pi * 16 / 128 * np.arange(128)
    spectrum = frame_spectra(np.stack([np.cos(turn), np.sin(turn)])[None].astype(np.float32) * 1e-12)[0]
    np.testing.assert_allclose(spectrum[64 + 16 + np.arange(-1, 2)] / 128, [1 / 6, 2 / 3, 1 / 6], rtol=1e-5)


def test_floor_is_the_bins_without_signal():
    spectrum = np.full(128, 0.1)
    spectrum[50:78] = 4
    np.testing.assert_array_equal(noise_floor(spectrum, 0.05), spectrum == 0.1)
    assert noise_floor(np.geomspace(0.01, 10, 128), 0.05) is None


@pytest.mark.parametrize("snr_db", [-8, 0, 7.5, 15, 23])
@pytest.mark.parametrize("length", [128, 300])
def test_tone_in_noise_measures_as_it_was_made(snr_db, length):
    measured, spread = estimate_snr_db(tones_in_noise(snr_db, length=length))
    assert measured == pytest.approx(snr_db, abs=0.7 if snr_db < 0 else 0.2)
    assert spread < 7


def test_scale_of_single_frames_does_not_matter():
    frames = tones_in_noise(10)
    scale = np.geomspace(1e-9, 1e9, len(frames), dtype=np.float32)[:, None, None]
    assert estimate_snr_db(frames * scale) == pytest.approx(estimate_snr_db(frames), abs=1e-3)


@pytest.mark.parametrize(
    "frames",
    [
        np.random.default_rng(0).standard_normal((100, 2, 128)).astype("f4"),  # noise alone
        tones_in_noise(40),  # too little noise to be told from a filter's stop band
        tones_in_noise(10, frames=7),
        tones_in_noise(10, length=31),
    ],
)
def test_nothing_is_said_where_nothing_can_be_told(frames):
    assert np.isnan(estimate_snr_db(frames)).all()


def test_generated_frames_measure_as_labelled():
    measured = measure_snr(generated(frames_per_cell=64, snr_db=[-6, 0, 10, 18]))
    off = measured.measured_db - measured.labels_db
    narrow = [name != "WBFM" for name in PRESETS["rml2016a"].classes]
    assert np.nanmax(np.abs(off)[:, 1:]) < 1
    assert np.nanmedian(np.abs(off)) < 0.15
    assert np.isfinite(off[narrow][:, :3]).all()


def test_real_format_file_measures_as_labelled(real_file):
    dataset = open_dataset(real_file)
    measured = measure_snr(dataset)
    off = np.abs(measured.measured_db - measured.labels_db)
    assert np.isfinite(off).sum() > 140
    assert np.nanquantile(off, 0.9) < 1
    assert judge_snr_labels(measured, dataset.classes) is None


def test_true_labels_are_not_doubted(true_set):
    assert judged(true_set) is None


@pytest.mark.parametrize("snr_db", [[18], [-20], [-20, -18], [0, 18], [30]])
@pytest.mark.parametrize("frames_per_cell", [1, 8, 20])
def test_few_cells_and_few_frames_are_not_doubted(snr_db, frames_per_cell):
    assert judged(generated(frames_per_cell, snr_db)) is None


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        (10, r"is 1\d\.\d dB below the label \(median\)\. Labels that mean Es/N0"),
        (-10, r"is (9|1\d)\.\d dB above the label"),
    ],
)
def test_shifted_labels_are_noticed(true_set, shift, message):
    judgement = judged(replace(true_set, snr_db=true_set.snr_db + np.float32(shift)))
    assert judgement is not None
    assert re.match(r"SNR labels look wrong: in \d+ cells with labels from -10 to 20 dB where a floor", judgement)
    assert re.search(message, judgement)


@pytest.mark.parametrize(
    ("relabel", "message"),
    [
        (lambda snr: np.random.default_rng(1).permutation(snr), "does not rise with the label"),
        (lambda snr: -snr, "does not rise with the label"),
        (lambda snr: 0 * snr, "frames with the same label have very different SNRs"),
        (lambda snr: 2 * snr, "more than 3 dB from what is measured"),
    ],
)
def test_labels_that_say_nothing_true_are_noticed(true_set, relabel, message):
    judgement = judged(replace(true_set, snr_db=relabel(true_set.snr_db)))
    assert judgement is not None
    assert message in judgement


def test_silent_and_damaged_frames_are_left_out():
    frames = tones_in_noise(10, frames=60)
    frames[::6] = 0
    frames[1::6] = np.nan
    dataset = Dataset(
        source="x", format="test", classes=("tone", "absent"), labels=np.zeros(60, "i8"), snr_db=np.full(60, 10.0),
        length=128, sample_rate_hz=None, read=from_memory(frames),
    )  # fmt: skip
    calls = []
    measured = measure_snr(dataset, progress=lambda done, total, note="": calls.append((done, total)))
    assert measured.measured_db[0, 0] == pytest.approx(10, abs=0.5)
    assert np.isnan(measured.measured_db[1, 0])
    assert calls == [(1, 1)]


@pytest.mark.parametrize(
    ("relabel", "message"),
    [
        (
            lambda snr: 14 - snr,
            r"BPSK does not rise with the label \(1[78].\d dB at label -4 and -\d.\d dB at label 20\)",
        ),
        (lambda snr: snr + 4.5, r"BPSK measures 4\.[456] dB below its labels\. Accuracy by SNR would"),
        (lambda snr: snr - 4.5, r"BPSK measures 4\.[456] dB above its labels\. "),
    ],
)
def test_single_class_with_wrong_labels_is_named(real_file, relabel, message):
    dataset = open_dataset(real_file)
    wrong = dataset.labels == dataset.classes.index("BPSK")
    judgement = judged(replace(dataset, snr_db=np.where(wrong, relabel(dataset.snr_db), dataset.snr_db)))
    assert judgement is not None
    assert judgement.startswith("SNR labels of 1 of 11 measured classes look wrong: BPSK ")
    assert re.search(message, judgement)


def measured_off(off_db) -> MeasuredSnr:
    """Classes that measure ``off_db`` (classes,) beside labels of -10 to 18 dB."""
    labels = np.arange(-10.0, 20, 2)
    measured = labels + np.array(off_db)[:, None]
    return MeasuredSnr(labels_db=labels, measured_db=measured, spread_db=np.full(measured.shape, 6.0))


def test_fault_of_all_classes_is_the_sets():
    judgement = judge_snr_labels(measured_off([-4.5, -4.5]), ("a", "b"))
    assert judgement is not None
    assert judgement.startswith("SNR labels look wrong: in 30 cells with labels from -10 to 20 dB")
    assert "the measured SNR is 4.5 dB below the label" in judgement


def test_several_wrong_classes_are_named_and_counted():
    classes = tuple("abcdefgh")
    assert judge_snr_labels(measured_off([0, 1, -1, 2, -2.9, 2.9, 0, 0]), classes) is None
    judgement = judge_snr_labels(measured_off([0, 5, 0, 5, 0, -6, 7, 0]), classes)
    assert judgement is not None
    assert judgement.startswith(
        "SNR labels of 4 of 8 measured classes look wrong: b measures 5.0 dB above its labels; d measures 5.0 dB above "
        "its labels; f measures 6.0 dB below its labels; and 1 more class. "
    )
    half = judge_snr_labels(measured_off([-4.5, 0]), ("a", "b"))
    assert half is not None
    assert "1 of 2 measured classes look wrong: a measures 4.5 dB below" in half


def test_class_with_two_cells_is_not_judged_alone():
    snr = measured_off([0, 0, 9])
    snr.measured_db[2, 2:] = np.nan
    assert judge_snr_labels(snr, ("a", "b", "c")) is None


@pytest.mark.parametrize("preset", list(PRESETS))
def test_few_frames_of_every_class_are_not_doubted(preset):
    kind = PRESETS[preset]
    made = generate(preset, frames_per_cell=10, snr_db=list(range(-10, 22, 6)), seed=5)
    dataset = Dataset(
        source="made.h5", format="test", classes=kind.classes, labels=made.label, snr_db=made.snr_db,
        length=kind.length, sample_rate_hz=None, read=from_memory(made.iq),
    )  # fmt: skip
    assert judged(dataset) is None
