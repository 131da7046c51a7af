"""A set of frames: what every reader gives and everything after it takes.

The frames themselves stay behind a reading callable, so that a set in memory and one of 20 GiB on disk look the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deploy.progress import Progress, silent
from toolchain.errors import DatasetError

# Enough frames that a changed scale, order or noise shows; few enough to read from a 20 GiB file in a moment.
FINGERPRINT_FRAMES = 256
# Frames are checked in blocks of 8 MiB: quick to read, small beside any model.
CHECK_BLOCK_SAMPLES = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Frames, their classes and their SNRs, as one file has them.

    ``labels`` is int64 (N,), an index into ``classes``; ``snr_db`` is float32 (N,), in dB; both are read-only.
    ``length`` is the number of samples in a frame, ``sample_rate_hz`` is None where the file does not say it.
    ``source`` is the file's name without its folder, ``format`` the name of the reader.
    ``read`` takes int64 (n,) indices in range and returns float32 (n, 2, length); call :meth:`frames`, not it.

    Raises :class:`DatasetError` where labels, SNRs, classes and length do not fit together.
    """

    source: str
    format: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    snr_db: NDArray[np.float32]
    length: int
    sample_rate_hz: float | None
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]] = field(repr=False)

    def __post_init__(self) -> None:
        # Views, for the arrays that were handed in stay their owner's to write to.
        labels = np.asarray(self.labels, dtype=np.int64).view()
        snr_db = np.asarray(self.snr_db, dtype=np.float32).view()
        labels.flags.writeable = snr_db.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "snr_db", snr_db)
        object.__setattr__(self, "classes", tuple(self.classes))
        if labels.ndim != 1 or labels.shape != snr_db.shape:
            raise DatasetError(
                f"{self.source}: labels of shape {labels.shape} and SNRs of shape {snr_db.shape}; "
                f"expected one of each a frame, both (N,)"
            )
        if len(set(self.classes)) != len(self.classes) or not all(self.classes):
            raise DatasetError(
                f"{self.source}: the class names {list(self.classes)} are not all different and non-empty"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise DatasetError(
                f"{self.source}: labels from {labels.min()} to {labels.max()}; expected 0 to {len(self.classes) - 1}, "
                f"for the {len(self.classes)} classes {', '.join(self.classes)}"
            )
        if not np.isfinite(snr_db).all():
            first = int(np.flatnonzero(~np.isfinite(snr_db))[0])
            raise DatasetError(
                f"{self.source}: frame {first} has an SNR of {snr_db[first]} dB; expected a finite number"
            )
        if self.length < 1:
            raise DatasetError(f"{self.source}: frames of {self.length} samples; expected at least 1")

    def __len__(self) -> int:
        return int(self.labels.size)

    def frames(self, indices: ArrayLike) -> NDArray[np.float32]:
        """Read the frames at ``indices`` (n,), in that order: float32 (n, 2, length), unscaled, row 0 I, row 1 Q.

        Raises IndexError for an index outside 0 to N - 1, :class:`DatasetError` where the file cannot be read.
        """
        asked = np.asarray(indices)
        if asked.size == 0:
            return np.empty((0, 2, self.length), dtype=np.float32)
        if asked.ndim != 1 or asked.dtype.kind not in "iu":
            raise IndexError(f"indices of shape {asked.shape} and type {asked.dtype}; expected integers, (n,)")
        # Negative indices would mean the end in memory and nothing in a file: refused in both.
        if asked.min() < 0 or asked.max() >= len(self):
            raise IndexError(f"frames {asked.min()} to {asked.max()} of {self.source}, which has 0 to {len(self) - 1}")
        return self.read(asked.astype(np.int64, copy=False))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, that tells this set from another: the same frames have the same one in any file format.

        It covers, in this order: one line of JSON with the class names, N and length; all labels (little-endian int64);
        all SNRs (little-endian float32); and 256 evenly spaced frames, the first and last among them (little-endian
        float32). The other frames, the sample rate and the file's name are not in it.
        """
        digest = hashlib.sha256()
        header = {"classes": list(self.classes), "frames": len(self), "length": self.length}
        digest.update(json.dumps(header, sort_keys=True).encode() + b"\n")
        digest.update(self.labels.astype("<i8", copy=False).tobytes())
        digest.update(self.snr_db.astype("<f4", copy=False).tobytes())
        if len(self):
            spread = np.unique(np.linspace(0, len(self) - 1, FINGERPRINT_FRAMES).astype(np.int64))
            digest.update(self.frames(spread).astype("<f4", copy=False).tobytes())
        return digest.hexdigest()


def from_memory(iq: NDArray[np.float32]) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """Make a :class:`Dataset`'s ``read`` out of frames in memory, float32 (N, 2, length)."""
    # A partial, not a lambda: a set can then be handed to another process.
    return partial(_gather, iq)


def select_snr(dataset: Dataset, low_db: float, high_db: float) -> Dataset:
    """Keep the frames whose SNR is ``low_db`` to ``high_db``, both included; classes stay, even one left empty.

    Raises :class:`DatasetError` where no frame is left.
    """
    kept = np.flatnonzero((dataset.snr_db >= low_db) & (dataset.snr_db <= high_db))
    if kept.size == 0:
        has = "no frames"
        if len(dataset):
            has = f"{dataset.snr_db.min():g} to {dataset.snr_db.max():g} dB"
        raise DatasetError(
            f"{dataset.source}: no frame has an SNR from {low_db:g} to {high_db:g} dB; the file has {has}"
        )
    return replace(
        dataset,
        labels=dataset.labels[kept],
        snr_db=dataset.snr_db[kept],
        read=partial(_read_kept, dataset, kept),
    )


def with_class_order(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Renumber the classes in the order of ``classes``, which has the same names; frames and their order stay.

    A model knows its classes by number: a set read for it must count as the set it was trained on.
    Raises :class:`DatasetError` that names what is missing or too much.
    """
    missing = [name for name in dataset.classes if name not in classes]
    extra = [name for name in classes if name not in dataset.classes]
    if missing or extra or len(classes) != len(dataset.classes):
        raise DatasetError(
            f"{dataset.source}: its classes are {', '.join(dataset.classes)}; asked for {', '.join(classes)}: "
            f"missing there: {', '.join(missing) or 'none'}, unknown here: {', '.join(extra) or 'none'}; "
            f"expected the same names, each once, in any order"
        )
    new_number = np.array([classes.index(name) for name in dataset.classes], dtype=np.int64)
    return replace(dataset, classes=tuple(classes), labels=new_number[dataset.labels])


def check_frames(dataset: Dataset, *, expected_length: int | None = None, progress: Progress = silent) -> None:
    """Read every frame once, in blocks, and refuse a set that cannot be used.

    ``expected_length`` is the number of samples a frame must have (what a model takes); None takes any.
    Raises :class:`DatasetError` for no frames, another length, fewer than two classes with frames, or values that are
    not finite (how many frames have them, and the first one's index, class and SNR).
    """
    if len(dataset) == 0:
        raise DatasetError(f"{dataset.source}: it has no frames; expected at least one of each class and SNR")
    if expected_length is not None and dataset.length != expected_length:
        raise DatasetError(
            f"{dataset.source}: its frames have {dataset.length} samples; expected {expected_length}. "
            f"Take a model made for {dataset.length} samples, or a set with frames of {expected_length}"
        )
    present = np.unique(dataset.labels)
    if present.size < 2:
        raise DatasetError(
            f"{dataset.source}: all its frames are of one class, {dataset.classes[present[0]]}; "
            f"expected two or more, for there is nothing to tell apart"
        )
    damaged = 0
    first: int | None = None
    block = max(1, CHECK_BLOCK_SAMPLES // dataset.length)
    for start in range(0, len(dataset), block):
        stop = min(start + block, len(dataset))
        finite = np.isfinite(dataset.frames(np.arange(start, stop))).all(axis=(1, 2))
        bad = np.flatnonzero(~finite)
        damaged += bad.size
        if first is None and bad.size:
            first = start + int(bad[0])
        progress(stop, len(dataset), "checking frames")
    if first is not None:
        raise DatasetError(
            f"{dataset.source}: {damaged} of {len(dataset)} frames hold NaN or infinity, first frame {first} "
            f"({dataset.classes[dataset.labels[first]]}, {dataset.snr_db[first]:g} dB); expected finite numbers. "
            f"Mend or leave out those frames where the file was made"
        )


def _gather(iq: NDArray[np.float32], indices: NDArray[np.int64]) -> NDArray[np.float32]:
    gathered: NDArray[np.float32] = iq[indices]
    return gathered


def _read_kept(dataset: Dataset, kept: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.float32]:
    return dataset.frames(kept[indices])
