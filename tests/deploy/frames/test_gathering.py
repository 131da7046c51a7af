from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.frames import gathering
from deploy.frames.gathering import block_frames, gather

# Frame n is n everywhere.
SOURCE = np.arange(100, dtype="f4")[:, None, None] * np.ones((1, 2, 4), "f4")
FRAME_BYTES = 32


class Reading:
    """Reads runs of SOURCE, and remembers them."""

    def __init__(self, source=SOURCE):
        self.runs = []
        self.source = source

    def __call__(self, start, stop):
        assert 0 <= start < stop <= len(self.source)
        self.runs.append((start, stop))
        return self.source[start:stop]


def gathered(indices, gap_frames=None, reading=None):
    reading = reading or Reading()
    indices = np.asarray(indices, dtype=np.int64)
    out = np.full((indices.size, 2, 4), np.nan, dtype="f4")
    gather(indices, out, reading, frame_bytes=FRAME_BYTES, gap_frames=gap_frames)
    return out, reading.runs


@pytest.mark.parametrize(
    ("indices", "gap_frames", "runs"),
    [
        ([4], 1, [(4, 5)]),
        ([4, 5, 6], 1, [(4, 7)]),
        ([6, 4, 5], 1, [(4, 7)]),
        ([4, 6], 1, [(4, 5), (6, 7)]),
        ([4, 6], 2, [(4, 7)]),
        ([4, 7], 2, [(4, 5), (7, 8)]),
        ([9, 9, 9], 1, [(9, 10)]),
        ([99, 0], 98, [(0, 1), (99, 100)]),
        ([99, 0], 99, [(0, 100)]),
        # As many frames as the run has, one of them twice and one not at all.
        ([3, 3, 5], 2, [(3, 6)]),
        ([5, 3, 3, 8, 8, 8], 3, [(3, 9)]),
        ([], 1, []),
    ],
)
def test_neighbours_are_read_together(indices, gap_frames, runs):
    out, read = gathered(indices, gap_frames)
    assert read == runs
    np.testing.assert_array_equal(out, SOURCE[indices])


def test_gap_of_64_kib_is_read_over_if_nothing_else_is_said(monkeypatch):
    monkeypatch.setattr(gathering, "GAP_BYTES", 10 * FRAME_BYTES)
    assert gathered([0, 10, 21])[1] == [(0, 11), (21, 22)]


def test_never_more_than_the_limit_is_read_at_once(monkeypatch):
    monkeypatch.setattr(gathering, "RUN_BYTES", 7 * FRAME_BYTES + 5)
    out, runs = gathered(np.arange(20), 100)
    assert runs == [(0, 7), (7, 14), (14, 20)]
    np.testing.assert_array_equal(out, SOURCE[:20])
    # A frame larger than the limit is still read.
    monkeypatch.setattr(gathering, "RUN_BYTES", 1)
    assert gathered([3, 4], 5)[1] == [(3, 4), (4, 5)]


@given(
    st.lists(st.integers(0, 99), max_size=60),
    st.integers(1, 100),
    st.integers(1, 40),
)
def test_any_choice_in_any_order_is_what_numpy_takes(indices, gap_frames, most):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gathering, "RUN_BYTES", most * FRAME_BYTES)
        out, runs = gathered(indices, gap_frames)
    np.testing.assert_array_equal(out, SOURCE[np.array(indices, dtype=int)])
    assert all(stop - start <= most for start, stop in runs)


def test_numbers_of_other_types_become_float32_without_a_warning():
    signalling = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000001))[0]
    source = np.zeros((3, 2, 4))
    source[0, 0] = [1.5, 1e300, -1e300, 0]
    source.view("u8")[1, 0, 0] = 0x7FF0000000000001
    assert np.isnan(signalling)
    out, _ = gathered([1, 0], reading=Reading(source))
    assert out[1, 0].tolist() == [1.5, np.inf, -np.inf, 0]
    assert np.isnan(out[0, 0, 0])
    out, _ = gathered([2, 1], reading=Reading(np.arange(24, dtype=">i2").reshape(3, 2, 4)))
    assert out[0].tolist() == [[16, 17, 18, 19], [20, 21, 22, 23]]


def test_block_is_256_kib_and_at_least_a_frame():
    assert block_frames(1024) == 256
    assert block_frames(1 << 20) == 1
    assert block_frames(1) == 256 << 10
