from __future__ import annotations

import numpy as np

from toolchain.data.duplicates import find_duplicates
from toolchain.data.frame_measures import measure_frames
from toolchain.data.inspection_warnings import duplicate_warnings


def test_duplicates_are_counted_with_their_labels(make, noise):
    iq = noise(60)
    iq[19] = iq[3]  # BPSK at 10 dB: of BPSK at -2 dB
    iq[45] = iq[4]  # 8PSK: of BPSK, both at -2 dB
    iq[46] = iq[4]
    in_test = np.zeros(60, dtype=bool)
    in_test[[46, 50]] = True
    dataset = make(iq, own_test=in_test)
    found = find_duplicates(dataset, measure_frames(dataset))
    assert found.frames == 3
    assert found.first == (3, 19)
    assert (found.other_class, found.other_snr, found.across_test) == (2, 1, 1)
    (warning,) = duplicate_warnings(dataset, found)
    assert warning.startswith(
        "3 of 60 frames repeat earlier ones exactly, first frame 19 (BPSK, 10 dB), the same as frame 3 (BPSK, -2 dB); "
        "2 of them under another class; 1 of them under another SNR; 1 frame of the file's own test is also"
    )


def test_duplicates_are_found_across_blocks(monkeypatch, make, noise):
    monkeypatch.setattr("toolchain.data.frame_measures.BLOCK_SAMPLES", 64 * 7)
    iq = noise(60)
    iq[59] = iq[0]
    calls = []
    dataset = make(iq)
    measured = measure_frames(dataset, progress=lambda done, total, note="": calls.append((done, total)))
    assert find_duplicates(dataset, measured).first == (0, 59)
    assert calls == [(min(7 * step, 60), 60) for step in range(1, 10)]


def test_set_without_copies_has_none(make):
    dataset = make()
    found = find_duplicates(dataset, measure_frames(dataset))
    assert (found.frames, found.first) == (0, None)
    assert duplicate_warnings(dataset, found) == []
