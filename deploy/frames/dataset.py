"""A set of frames: what every reader gives and everything after it takes.

The frames themselves stay behind a reading callable, so that a set in memory and one of 20 GiB on disk look the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deploy.errors import DatasetError

# Enough frames that a changed scale, order or noise shows; few enough to read from a 20 GiB file in a moment.
FINGERPRINT_FRAMES = 256
# Of a class: the longest name of a known set has 9 characters.
MOST_NAME = 200
# Of classes, in a message.
MOST_SHOWN = 30
# The one class of frames that nobody labelled.
UNLABELLED = "unlabelled"
# Fills float32 (n, 2, length) with the frames at int64 (n,) indices, which are in range.
Read = Callable[[NDArray[np.int64], NDArray[np.float32]], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Frames, their classes and their SNRs, as one file has them.

    ``labels`` is int64 (N,), an index into ``classes``; ``snr_db`` is float32 (N,), in dB; both are read-only.
    ``length`` is the number of samples in a frame, ``sample_rate_hz`` is None where the file does not say it.
    ``source`` is the file's name without its folder, ``format`` the name of the reader.
    ``own_test`` is bool (N,), true for the frames that the file itself keeps for the test; None where it keeps none.
    ``block_frames`` is how many neighbours are worth reading together: 1 where frames are in memory.
    ``labelled`` is false for frames to be classified, of which labels, classes and SNRs say nothing.
    ``read`` fills an array with frames; call :meth:`frames`, not it.

    Raises :class:`DatasetError` where labels, SNRs, classes and length do not fit together.
    """

    source: str
    format: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    snr_db: NDArray[np.float32]
    length: int
    sample_rate_hz: float | None
    read: Read = field(repr=False)
    own_test: NDArray[np.bool_] | None = None
    block_frames: int = 1
    labelled: bool = True

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
                f"{self.source}: the class names {_some(self.classes)} are not all different and non-empty. Name each "
                f"class once where the file was made"
            )
        # Names go to the terminal and into reports: no control characters.
        for name in self.classes:
            if not name.isprintable() or len(name) > MOST_NAME:
                raise DatasetError(
                    f"{self.source}: a class is named {name[:60]!a}; expected printable text of at most {MOST_NAME} "
                    f"characters. Rename it where the file was made"
                )
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise DatasetError(
                f"{self.source}: labels from {labels.min()} to {labels.max()}; expected 0 to {len(self.classes) - 1}, "
                f"for the {len(self.classes)} classes {_some(self.classes)}. Number the classes from 0 where the file was made"
            )
        if not np.isfinite(snr_db).all():
            first = int(np.flatnonzero(~np.isfinite(snr_db))[0])
            raise DatasetError(
                f"{self.source}: frame {first} has an SNR of {snr_db[first]} dB; expected a finite number. Correct it where "
                f"the file was made"
            )
        if self.own_test is not None and self.own_test.shape != labels.shape:
            raise DatasetError(
                f"{self.source}: a test part of shape {self.own_test.shape} for {labels.size} frames; expected one "
                f"truth value a frame"
            )
        if self.length < 1:
            raise DatasetError(f"{self.source}: frames of {self.length} samples; expected at least 1")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what another process sent; arrays come writable."""
        vars(self).update(state)
        self.labels.flags.writeable = self.snr_db.flags.writeable = False

    def __len__(self) -> int:
        return int(self.labels.size)

    def frames(self, indices: ArrayLike, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Read the frames at ``indices`` (n,), in that order: float32 (n, 2, length), unscaled, row 0 I, row 1 Q.

        ``out``, contiguous and of that shape, is filled and returned where it is given: new memory costs more than
        the reading. Raises IndexError for an index outside 0 to N - 1, :class:`DatasetError` where the file cannot be read.
        """
        asked = np.asarray(indices)
        if out is None:
            out = np.empty((asked.size, 2, self.length), dtype=np.float32)
        if out.shape != (asked.size, 2, self.length) or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ValueError(
                f"out is {out.dtype} of shape {out.shape}; expected contiguous float32 ({asked.size}, 2, {self.length})"
            )
        if asked.size == 0:
            return out
        if asked.ndim != 1 or asked.dtype.kind not in "iu":
            raise IndexError(f"indices of shape {asked.shape} and type {asked.dtype}; expected integers, (n,)")
        # Negative indices would mean the end in memory and nothing in a file: refused in both.
        if asked.min() < 0 or asked.max() >= len(self):
            raise IndexError(f"frames {asked.min()} to {asked.max()} of {self.source}, which has 0 to {len(self) - 1}")
        self.read(asked.astype(np.int64, copy=False), out)
        return out

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, that tells this set from another: the same frames have the same one in any file format.

        It covers, in this order: one line of JSON with the class names, N and length; all labels (little-endian int64);
        all SNRs (little-endian float32); and 256 evenly spaced frames, the first and last among them (little-endian
        float32). Where the file keeps a test part of its own, ``own_test`` follows, a byte a frame. The other frames, the
        sample rate and the file's name are not in it.
        """
        digest = hashlib.sha256()
        header = {"classes": list(self.classes), "frames": len(self), "length": self.length}
        digest.update(json.dumps(header, sort_keys=True).encode() + b"\n")
        digest.update(self.labels.astype("<i8", copy=False).tobytes())
        digest.update(self.snr_db.astype("<f4", copy=False).tobytes())
        if len(self):
            spread = np.unique(np.linspace(0, len(self) - 1, FINGERPRINT_FRAMES).astype(np.int64))
            digest.update(self.frames(spread).astype("<f4", copy=False).tobytes())
        if self.own_test is not None:
            digest.update(self.own_test.astype("u1").tobytes())
        return digest.hexdigest()


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(name[:MOST_NAME] for name in names[:MOST_SHOWN])
    return ascii(shown)[1:-1] + (f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else "")


def from_memory(iq: NDArray[np.float32]) -> Read:
    """Make a :class:`Dataset`'s ``read`` out of frames in memory, float32 (N, 2, length)."""
    # A partial, not a lambda: a set can then be handed to another process.
    return partial(_gather, iq)


def no_frames(_indices: NDArray[np.int64], _out: NDArray[np.float32]) -> None:
    """The ``read`` of a set that is only described: its frames come from elsewhere."""
    raise NotImplementedError("this set is a description; it has no frames of its own")


def _gather(iq: NDArray[np.float32], indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    # "clip" for its speed: "raise" would gather beside `out` first. The indices are in range.
    np.take(iq, indices, axis=0, out=out, mode="clip")
