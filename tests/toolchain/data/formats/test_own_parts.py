from __future__ import annotations

import tracemalloc
from collections import deque

import numpy as np
import pytest

from deploy.frames.dataset import Dataset
from toolchain.data.formats.own_parts import join_parts
from toolchain.errors import DatasetError

LENGTH = 8


def part(count, first, calls, length=LENGTH):
    """A set whose frame k is all ``first`` + k; ``calls`` receives each reading's indices and its array."""

    def read(indices, out):
        calls.append((indices.copy(), out))
        out[...] = (first + indices)[:, None, None]

    labels = np.zeros(count, dtype=np.int64)
    return Dataset(
        source=f"{first}", format="x", classes=("A",), labels=labels, snr_db=labels, length=length,
        sample_rate_hz=None, read=read,
    )  # fmt: skip


@pytest.fixture
def calls():
    return []


@pytest.fixture
def joined(calls):
    return join_parts("both", part(100, 0, calls), part(50, 1000, calls))


def values(indices):
    return np.where(np.asarray(indices) < 100, indices, np.asarray(indices) + 900)


@pytest.mark.parametrize(
    "indices",
    [[0], [149], [99, 100], [100, 99], np.arange(150), np.arange(150)[::-1], [3, 120, 3, 120, 7, 101, 100, 99]],
    ids=str,
)
def test_frames_come_in_the_order_asked_for(indices, joined):
    frames = joined.frames(indices)
    np.testing.assert_array_equal(frames, np.broadcast_to(values(indices)[:, None, None], frames.shape))


def test_parts_one_behind_the_other_are_read_in_place(joined, calls):
    out = np.empty((150, 2, LENGTH), dtype=np.float32)
    joined.frames(np.arange(150), out)
    assert [indices.size for indices, _ in calls] == [100, 50]
    assert all(np.shares_memory(given, out) for _, given in calls)


def test_mixed_parts_are_read_a_piece_at_a_time_each_in_the_files_order(joined, calls, monkeypatch):
    # A frame takes 64 bytes.
    monkeypatch.setattr("toolchain.data.formats.own_parts.RUN_BYTES", 30 * 64)
    mixed = np.random.default_rng(3).permutation(150)
    np.testing.assert_array_equal(joined.frames(mixed)[:, 1, 7], values(mixed))
    assert [indices.size for indices, _ in calls] == [30, 30, 30, 10, 30, 20]
    # Neighbours together: shuffled pieces would each go through the whole file.
    assert np.concatenate([indices for indices, _ in calls]).tolist() == [*range(100), *range(50)]


def test_a_mixed_read_takes_no_second_array_of_its_size():
    joined = join_parts("both", part(3000, 0, deque(maxlen=0), 4096), part(3000, 5000, deque(maxlen=0), 4096))
    mixed = np.random.default_rng(3).permutation(2000) + 2000
    # 64 MiB.
    out = np.empty((2000, 2, 4096), dtype=np.float32)
    tracemalloc.start()
    try:
        joined.frames(mixed, out)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 18 << 20


def test_frames_larger_than_a_piece_are_read_one_by_one(joined, calls, monkeypatch):
    monkeypatch.setattr("toolchain.data.formats.own_parts.RUN_BYTES", 1)
    np.testing.assert_array_equal(joined.frames([5, 105, 6])[:, 0, 0], [5, 1005, 6])
    assert [indices.tolist() for indices, _ in calls] == [[5], [6], [5]]


def test_frames_of_two_lengths_are_refused():
    with pytest.raises(DatasetError, match="both: frames of 8 samples in 0, of 9 in 1000"):
        join_parts("both", part(3, 0, []), part(3, 1000, [], 9))
