"""How many frames a model gets at once."""

from __future__ import annotations

from collections.abc import Iterator

# TensorRT's engines take no more, and are tuned for the batch that is measured.
AT_ONCE = 64
# Asked for by name: frames of 1024 samples then take half a GiB, and what a network makes of them far more.
MOST_BATCH = 65536


def in_batches(count: int) -> Iterator[slice]:
    """Yield the parts, in their order, in which ``count`` frames go through a model that all runtimes take."""
    for first in range(0, count, AT_ONCE):
        yield slice(first, min(first + AT_ONCE, count))
