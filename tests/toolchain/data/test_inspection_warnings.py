from __future__ import annotations

import numpy as np

from toolchain.data.inspection import inspect_dataset


def test_missing_small_and_unbalanced_cells_are_named(make, noise):
    labels = np.repeat([0, 0, 1], [10, 2, 5])
    snr_db = np.repeat([-2.0, 10.0, -2.0], [10, 2, 5])
    dataset = make(noise(17), labels=labels, snr_db=snr_db)
    empty, missing, small, unbalanced = inspect_dataset(dataset).warnings
    assert empty.startswith("1 class has no frames: 8PSK.")
    assert missing.startswith("1 cell of class and SNR without frames, of 4: QPSK at 10 dB.")
    assert small.startswith("1 cell has fewer than 3 frames: BPSK at 10 dB.")
    assert unbalanced.startswith("Cells are unbalanced: 2 frames of BPSK at 10 dB, 10 of BPSK at -2 dB.")


def test_one_class_and_many_snr_values_are_noticed(make, noise):
    dataset = make(noise(400), labels=np.zeros(400, "i8"), classes=("BPSK",), snr_db=np.arange(400) / 10)
    one, many = inspect_dataset(dataset).warnings
    assert one.startswith("All frames are of one class, BPSK")
    assert many.startswith("The SNR labels have 400 different values")


def test_damaged_silent_constant_and_clipped_frames_are_told_apart(make, noise):
    iq = noise(60)
    iq[2, 0, 5] = np.inf
    iq[3], iq[4] = 0, 0
    iq[5] = 0.5
    iq[40:44] = np.clip(iq[40:44], -0.6, 0.6)
    found = inspect_dataset(make(iq))
    assert (found.nonfinite_frames, found.silent_frames, found.constant_frames, found.clipped_frames) == (1, 2, 1, 4)
    assert found.duplicates.frames == 0
    starts = ["1 of 60 frames has NaN", "2 of 60 frames have nothing but zeros", "1 of 60 frames has one constant"]
    for warning, start in zip(found.warnings, [*starts, "4 of 60 frames have at least 2%"], strict=True):
        assert warning.startswith(start)
    assert "first frame 40 (8PSK, -2 dB)" in found.warnings[3]


def test_class_with_another_scale_is_named(make, noise):
    iq = noise(60) * 7
    iq[20:40] *= 2  # 6 dB
    (warning,) = inspect_dataset(make(iq)).warnings
    assert warning.startswith("Frames of 1 of 3 classes have another scale than the rest: QPSK by +")


def test_class_that_leaves_the_convention_is_named(make, noise):
    iq = noise(60)
    iq /= np.sqrt(2 * (iq**2).mean(axis=(1, 2), keepdims=True))
    iq[40:] *= np.linspace(0.8, 1.2, 20, dtype=np.float32)[:, None, None]
    found = inspect_dataset(make(iq))
    assert found.scaling.convention == "none recognised"
    assert found.warnings[0].startswith("Frames are scaled to unit RMS, but not those of 8PSK.")


def test_receivers_faults_are_noticed(make, noise):
    iq = noise(60)
    iq[:, 0] += 0.3
    iq[:, 1] *= 0.7  # 20 log10(1 / 0.7) = 3.1 dB, and 0.3^2 in I besides
    offset, imbalance = inspect_dataset(make(iq)).warnings
    assert offset.startswith("The frames have a constant part (DC offset) of")
    assert imbalance.startswith("I has +3.")
    iq = noise(60)
    iq[:, 1] += 0.5 * iq[:, 0]
    assert any(text.startswith("I and Q are correlated, +0.4") for text in inspect_dataset(make(iq)).warnings)


def test_single_frames_are_singular(make, noise):
    labels = np.repeat([0, 0, 1, 1], [1, 4, 4, 4])
    dataset = make(noise(13), labels=labels, classes=("BPSK", "QPSK"), snr_db=np.repeat([0.0, 2, 0, 2], [1, 4, 4, 4]))
    assert "Cells are unbalanced: 1 frame of BPSK at 0 dB, 4 of" in inspect_dataset(dataset).warnings[-1]
