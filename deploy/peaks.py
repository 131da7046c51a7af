"""What the cores that this process is pinned to can do at best, by numpy: float32 products, and a copy in the cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Large enough that a call is nothing beside the work, small enough to stay in a second-level cache.
MATRIX = 384
COPIED_BYTES = 1 << 19
TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """``gmacs_per_s``: float32 multiply-accumulates of a matrix product, in 1e9 a second.

    ``gbytes_per_s``: 1e9 bytes a second, read and written, of a copy of half a MiB by one core: in cache, above memory's own.
    """

    gmacs_per_s: float
    gbytes_per_s: float


def measured_peaks(clock: Callable[[], float] = time.perf_counter) -> Peaks:
    """The best of some tries of a product of matrices, and of a copy, by numpy; ``clock`` tells seconds."""
    a = np.ones((MATRIX, MATRIX), np.float32)
    product = np.empty_like(a)
    source, copy = (np.zeros(COPIED_BYTES, np.uint8) for _ in range(2))
    return Peaks(
        gmacs_per_s=MATRIX**3 / _shortest_s(lambda: np.matmul(a, a, out=product), clock) / 1e9,
        # A byte that is copied is read and written.
        gbytes_per_s=2 * COPIED_BYTES / _shortest_s(lambda: np.copyto(copy, source), clock) / 1e9,
    )


def _shortest_s(work: Callable[[], object], clock: Callable[[], float]) -> float:
    shortest = float("inf")
    for _ in range(TRIES):
        started = clock()
        work()
        shortest = min(shortest, clock() - started)
    return shortest
