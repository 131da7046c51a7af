"""Frames in batches, read in the background, from a set that may be far larger than memory.

Shuffling. A file is fast where neighbours are read together, and sets are stored sorted by class and SNR. So an epoch's
order is made in two steps: the frames are cut into blocks of neighbours (256 KiB), from a random first cut on, and the
blocks are put in a random order; then the frames within each window of that order (192 MiB: some 750 blocks from all
over the set) are put in a random order of their own. A batch thus holds frames of hundreds of places, only a window is
in memory, and every frame comes exactly once an epoch. A part that fits into one window, or whose frames are in memory,
is shuffled through and through.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from toolchain.data.splits import stratified_sample

# Two of them are in memory: one being used, one being read.
SHUFFLE_WINDOW_BYTES = 192 << 20
# Where the order needs no window, only reading ahead.
PLAIN_WINDOW_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a set's frames: those at ``indices``, int64 (n,), in that order."""

    dataset: Dataset
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return self.indices.size

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class numbers, int64 (n,)."""
        return self.dataset.labels[self.indices]

    @property
    def snr_db(self) -> NDArray[np.float32]:
        """The SNRs in dB, float32 (n,)."""
        return self.dataset.snr_db[self.indices]

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        """The frames of :meth:`sampled`: float32 (count, 2, length)."""
        chosen = self.sampled(count, seed)
        return self.dataset.frames(chosen.indices)

    def sampled(self, count: int, seed: int) -> Part:
        """``count`` of these frames, or all where there are fewer, spread over class and SNR."""
        rng = np.random.default_rng([seed, count])
        whole = self.dataset
        return Part(whole, stratified_sample(whole.labels, whole.snr_db, self.indices, min(count, len(self)), rng))


@dataclass(frozen=True, eq=False)
class Batch:
    """Frames float32 (n, 2, length), their labels int64 (n,), and their places in the :class:`Part`, int64 (n,).

    ``iq`` is overwritten when the next batch is asked for.
    """

    iq: NDArray[np.float32]
    label: NDArray[np.int64]
    position: NDArray[np.int64]


class BatchReader:
    """Reads a part batch by batch, one window ahead, in a thread of its own; a context manager.

    ``shuffled`` says that the orders will come from :meth:`shuffled_order`; without it windows are small.
    """

    def __init__(self, part: Part, batch: int, *, shuffled: bool) -> None:
        self._part, self._batch = part, batch
        frame_bytes = 8 * part.dataset.length
        in_blocks = shuffled and part.dataset.block_frames > 1
        most = max(batch, (SHUFFLE_WINDOW_BYTES if in_blocks else PLAIN_WINDOW_BYTES) // frame_bytes)
        # Whole batches, so that none lies in two windows.
        self.window_frames = max(1, min(most // batch, -(-len(part) // batch))) * batch
        # Kept from epoch to epoch: new memory costs more than the reading.
        shape = (min(self.window_frames, len(part)), 2, part.dataset.length)
        self._buffers = [np.empty(shape, dtype=np.float32) for _ in range(1 + (len(part) > self.window_frames))]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="thinwave-frames")

    def __enter__(self) -> BatchReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def shuffled_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an order for one epoch: every place in the part once, int64 (n,)."""
        count, block = len(self._part), self._part.dataset.block_frames
        if block == 1 or count <= self.window_frames:
            return rng.permutation(count)
        cuts = np.arange(rng.integers(block) + 1, count, block)
        blocks = np.split(np.arange(count), cuts)
        order = np.concatenate([blocks[number] for number in rng.permutation(len(blocks))])
        for start in range(0, count, self.window_frames):
            rng.shuffle(order[start : start + self.window_frames])
        return order

    def epoch(self, order: NDArray[np.int64] | None = None) -> Generator[Batch, None, None]:
        """Give the frames in ``order`` (as they stand in the part, if not given); the last batch may be smaller.

        Raises :class:`DatasetError` where the file cannot be read.
        """
        if order is None:
            order = np.arange(len(self._part))
        if len(order) == 0:
            return
        starts = range(0, len(order), self.window_frames)
        ahead = self._read(order, 0)
        try:
            for number, start in enumerate(starts):
                window = ahead.result()
                if start + self.window_frames < len(order):
                    ahead = self._read(order, number + 1)
                places = order[start : start + self.window_frames]
                labels = self._part.dataset.labels[self._part.indices[places]]
                for low in range(0, len(places), self._batch):
                    some = slice(low, low + self._batch)
                    yield Batch(window[some], labels[some], places[some])
        finally:
            # An epoch that was left half way: nobody writes to the buffers when the next one starts.
            if not ahead.cancel():
                ahead.exception()

    def _read(self, order: NDArray[np.int64], number: int) -> Future[NDArray[np.float32]]:
        places = order[number * self.window_frames : (number + 1) * self.window_frames]
        buffer = self._buffers[number % len(self._buffers)][: len(places)]
        return self._thread.submit(self._part.dataset.frames, self._part.indices[places], buffer)


def in_order(part: Part, batch: int) -> Iterator[Batch]:
    """Give the frames of ``part`` as they stand in it, once, ``batch`` at a time, reading ahead."""
    with BatchReader(part, batch, shuffled=False) as reader:
        yield from reader.epoch()
