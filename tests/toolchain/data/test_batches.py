from __future__ import annotations

import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from toolchain.data import BatchReader, Dataset, Part, from_memory, in_order
from toolchain.data import batches as batches_module
from toolchain.errors import DatasetError


def numbered(count, *, block_frames=1, length=4, read=None) -> Dataset:
    """Frame i holds i everywhere; its class is i modulo 3."""
    iq = np.broadcast_to(np.arange(count, dtype="f4")[:, None, None], (count, 2, length)).copy()
    return Dataset(
        source="set.h5", format="test", classes=("a", "b", "c"), labels=np.arange(count) % 3, snr_db=np.zeros(count),
        length=length, sample_rate_hz=None, block_frames=block_frames, read=read or from_memory(iq),
    )  # fmt: skip


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of 40 frames where frames are read in blocks, of 16 where they are not."""
    monkeypatch.setattr(batches_module, "SHUFFLE_WINDOW_BYTES", 40 * 32)
    monkeypatch.setattr(batches_module, "PLAIN_WINDOW_BYTES", 16 * 32)


def frames_of(batches):
    """What the batches held, copied before the next one comes."""
    return [(batch.iq[:, 0, 0].astype(int), batch.label.copy(), batch.position.copy()) for batch in batches]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("block_frames", [1, 7])
@pytest.mark.parametrize("count", [3, 40, 100, 203])
@pytest.mark.parametrize("batch", [1, 8, 64, 500])
def test_an_epoch_has_every_frame_once_with_its_own_label(count, batch, block_frames):
    chosen = np.random.default_rng(0).permutation(3 * count)[:count]
    part = Part(numbered(3 * count, block_frames=block_frames), chosen)
    with BatchReader(part, batch, shuffled=True) as reader:
        for epoch in range(3):
            got = frames_of(reader.epoch(reader.shuffled_order(np.random.default_rng(epoch))))
            assert [len(frames) for frames, _, _ in got[:-1]] == [batch] * (len(got) - 1)
            frames, labels, positions = (np.concatenate(column) for column in zip(*got, strict=True))
            assert sorted(frames) == sorted(chosen)
            np.testing.assert_array_equal(labels, frames % 3)
            np.testing.assert_array_equal(chosen[positions], frames)


@pytest.mark.usefixtures("small_windows")
def test_order_comes_from_the_generator_alone():
    part = Part(numbered(203, block_frames=7), np.arange(203))
    with BatchReader(part, 8, shuffled=True) as reader:
        first, again, other = (reader.shuffled_order(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


@pytest.mark.usefixtures("small_windows")
def test_a_window_holds_blocks_from_all_over_the_part():
    part = Part(numbered(1000, block_frames=5), np.arange(1000))
    with BatchReader(part, 8, shuffled=True) as reader:
        order = reader.shuffled_order(np.random.default_rng(1))
        assert reader.window_frames == 40
    window = np.sort(order[:40])
    # Eight blocks or nine, the first and last of which may be cut, not 40 frames of 40 places, and not one place.
    assert 8 <= 1 + (np.diff(window) > 1).sum() <= 10
    assert window[-1] - window[0] > 500
    # Within the window, neighbours of a block are scattered over its batches.
    assert (np.abs(np.diff(order[:40])) == 1).mean() < 0.4


def test_frames_in_memory_are_shuffled_through_and_through():
    part = Part(numbered(500), np.arange(500))
    with BatchReader(part, 8, shuffled=True) as reader:
        order = reader.shuffled_order(np.random.default_rng(3))
    np.testing.assert_array_equal(order, np.random.default_rng(3).permutation(500))


def test_part_that_fits_into_a_window_is_shuffled_through_and_through():
    part = Part(numbered(500, block_frames=50), np.arange(500))
    with BatchReader(part, 8, shuffled=True) as reader:
        order = reader.shuffled_order(np.random.default_rng(3))
    np.testing.assert_array_equal(order, np.random.default_rng(3).permutation(500))


@pytest.mark.usefixtures("small_windows")
def test_in_order_gives_the_part_as_it_stands():
    part = Part(numbered(100, block_frames=7), np.arange(99, 20, -1))
    frames = np.concatenate([frames for frames, _, _ in frames_of(in_order(part, 6))])
    assert frames.tolist() == list(range(99, 20, -1))
    assert frames_of(in_order(replace(part, indices=np.empty(0, dtype=np.int64)), 6)) == []


@pytest.mark.usefixtures("small_windows")
def test_the_next_window_is_read_while_one_is_used():
    reading, second = [], threading.Event()

    def read(indices, out):
        assert threading.current_thread() is not threading.main_thread()
        reading.append(indices.tolist())
        if len(reading) == 2:
            second.set()
        out[...] = indices[:, None, None]

    part = Part(numbered(48, read=read), np.arange(48))
    with BatchReader(part, 8, shuffled=False) as reader:
        batches = reader.epoch()
        first = next(batches)
        assert second.wait(timeout=30)
        # The first window is still whole.
        assert first.iq[:, 1, 3].tolist() == list(range(8))
        assert reading == [list(range(16)), list(range(16, 32))]
        batches.close()
        frames = np.concatenate([frames for frames, _, _ in frames_of(reader.epoch())])
    assert frames.tolist() == list(range(48))


@pytest.mark.usefixtures("small_windows")
def test_fault_in_the_background_is_raised_where_frames_are_asked_for():
    def read(indices, out):
        out[...] = 0
        if indices.max() > 30:
            raise DatasetError("set.h5: the file ends")

    part = Part(numbered(48, read=read), np.arange(48))
    with BatchReader(part, 8, shuffled=False) as reader:
        batches = reader.epoch()
        assert [len(next(batches).iq) for _ in range(2)] == [8, 8]
        with pytest.raises(DatasetError, match="the file ends"):
            list(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("thinwave-frames")]


def test_memory_holds_two_windows_however_large_the_set_is(monkeypatch):
    monkeypatch.setattr(batches_module, "SHUFFLE_WINDOW_BYTES", 1 << 20)

    def read(_indices, out):
        out[...] = 0

    part = Part(replace(numbered(1, length=4), labels=np.zeros(10**5, dtype=np.int64), snr_db=np.zeros(10**5),
                        length=128, block_frames=64, read=read), np.arange(10**5))  # fmt: skip
    tracemalloc.start()
    try:
        with BatchReader(part, 512, shuffled=True) as reader:
            order = reader.shuffled_order(np.random.default_rng(0))
            for _ in reader.epoch(order):
                pass
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 100 MiB of frames; two windows of 1 MiB, and a few int64 for each frame.
    assert peak_bytes < (2 << 20) + 5 * 8 * 10**5
