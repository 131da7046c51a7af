"""What is measured of every frame in one pass over a set: 30 bytes each, on which all that `inspect` says rests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent

# 8 MiB of samples at a time: quick to read, and small beside the 30 bytes that are kept of each frame.
BLOCK_SAMPLES = 1 << 20
# 8 bytes of hash: among 2.5 million frames, two different ones share it by chance once in six million sets.
HASH_BYTES = 8
# Noise has its largest value once in a frame; a clipped frame has it in this share of its numbers, and at least 4 times.
# It must show as flat tops, so many samples long (a sinusoid's crest has two equal ones at most), or, where samples hardly
# depend on each other, as a value so many times as frequent as any other.
CLIPPED_SHARE = 0.02
FLAT_TOP = 3
STANDS_OUT = 4
# A magnitude that varies by less is a constant envelope, whose I and Q may stand at their largest by right.
CONSTANT_ENVELOPE = 0.02
# Of rectangular pulses, more than this share of the samples below the limit equal their neighbour.
STANDING_STILL = 0.25


@dataclass(kw_only=True, eq=False)
class FrameMeasures:
    """What is kept of every frame (N,), and of every class: sums over its usable frames.

    ``rms`` and ``peak`` are of sqrt(I^2 + Q^2), ``magnitudes`` is its sum, ``component`` the largest of |I| and |Q|; all
    are 0 for a frame with NaN or infinity. ``integers``: every number of the set is one.
    """

    hashes: NDArray[np.uint64]
    rms: NDArray[np.float32]
    magnitudes: NDArray[np.float32]
    peak: NDArray[np.float32]
    component: NDArray[np.float32]
    nonfinite: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    constant: NDArray[np.bool_]
    clipped: NDArray[np.bool_]
    # Columns of (classes, 8): frames; mean I and mean Q over RMS, (I^2 - Q^2) and 2 I Q over the power; and squares:
    # of the mean's magnitude, and of the other two.
    sums: NDArray[np.float64]
    integers: bool = True

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Frames that carry a signal: finite, and not the same number throughout."""
        found: NDArray[np.bool_] = ~(self.nonfinite | self.silent | self.constant)
        return found


def measure_frames(dataset: Dataset, *, progress: Progress = silent) -> FrameMeasures:
    """Read and measure every frame once, in blocks of about a million samples. Progress counts frames."""
    total = len(dataset)
    rms, magnitudes, peak, component = np.zeros((4, total), dtype=np.float32)
    nonfinite, silent_frames, constant, clipped = np.zeros((4, total), dtype=np.bool_)
    measured = FrameMeasures(
        hashes=np.zeros(total, dtype=np.uint64),
        rms=rms,
        magnitudes=magnitudes,
        peak=peak,
        component=component,
        nonfinite=nonfinite,
        silent=silent_frames,
        constant=constant,
        clipped=clipped,
        sums=np.zeros((len(dataset.classes), 8)),
    )
    # In whole blocks of the file, where it has such.
    at_once = max(1, BLOCK_SAMPLES // dataset.length // dataset.block_frames) * dataset.block_frames
    memory = np.empty((min(at_once, total), 2, dataset.length), dtype=np.float32)
    for start in range(0, total, at_once):
        stop = min(start + at_once, total)
        frames = dataset.frames(np.arange(start, stop), memory[: stop - start])
        _measure_block(frames, dataset.labels[start:stop], slice(start, stop), measured)
        progress(stop, total, "reading frames")
    return measured


def _measure_block(
    frames: NDArray[np.float32], labels: NDArray[np.int64], here: slice, measured: FrameMeasures
) -> None:
    measured.hashes[here] = np.frombuffer(
        b"".join(hashlib.blake2b(frame, digest_size=HASH_BYTES).digest() for frame in frames), dtype=np.uint64
    )
    absolute = np.abs(frames)
    component = absolute.max(axis=(1, 2))
    measured.nonfinite[here] = ~np.isfinite(component)
    if measured.nonfinite[here].any():
        frames = np.where(measured.nonfinite[here][:, None, None], np.float32(0), frames)
        absolute = np.abs(frames)
        component = absolute.max(axis=(1, 2))
    # NaN is not silent: it was made 0 here only to be counted once.
    measured.silent[here] = (component == 0) & ~measured.nonfinite[here]
    if frames.shape[2] > 1:
        measured.constant[here] = (frames == frames[:, :, :1]).all(axis=(1, 2)) & (component > 0)
    at_peak = np.count_nonzero(absolute == component[:, None, None], axis=(1, 2))
    least = max(4, CLIPPED_SHARE * 2 * frames.shape[2])
    suspects = np.flatnonzero((at_peak >= least) & (component > 0) & ~measured.constant[here])
    measured.clipped[here.start + suspects] = _are_cut(frames[suspects], component[suspects])
    if measured.integers:
        measured.integers = bool((absolute == np.rint(absolute)).all())
    # Each frame by its own largest value: the squares of any float32 then stay in range.
    safe = np.where(component > 0, component, np.float32(1))
    scaled = frames / safe[:, None, None]
    in_phase, quadrature = scaled[:, 0], scaled[:, 1]
    power_i, power_q, product = (
        np.einsum("nt,nt->n", one, other) / frames.shape[2]
        for one, other in ((in_phase, in_phase), (quadrature, quadrature), (in_phase, quadrature))
    )
    power = power_i + power_q
    magnitude = np.hypot(in_phase, quadrature)
    # Beyond float32, and then infinite: only where numbers are at its very end.
    with np.errstate(over="ignore"):
        measured.rms[here] = np.sqrt(power) * safe
        measured.peak[here] = magnitude.max(axis=1) * safe
        measured.magnitudes[here] = magnitude.sum(axis=1) * safe
    measured.component[here] = component
    usable = measured.usable[here]
    power, labels = power[usable], labels[usable]
    unbalance, skew = (power_i - power_q)[usable] / power, 2 * product[usable] / power
    means = scaled[usable].mean(axis=2) / np.sqrt(power)[:, None]
    columns = (np.ones(power.size), *means.T, unbalance, skew, (means**2).sum(axis=1), unbalance**2, skew**2)
    for number, values in enumerate(columns):
        measured.sums[:, number] += np.bincount(labels, weights=values, minlength=len(measured.sums))


def _are_cut(frames: NDArray[np.float32], component: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell clipped frames (n, 2, length) from those that only reach their largest number often, as periodic ones do.

    Not clipped are constant envelopes, and rectangular pulses, which stand still below their largest number as well.
    """
    if len(frames) == 0:
        return np.zeros(0, dtype=np.bool_)
    limit = component[:, None, None]
    relative: NDArray[np.float32] = np.abs(frames)
    relative /= limit
    magnitude = np.hypot(relative[:, 0], relative[:, 1])
    varies = magnitude.min(axis=1) < (1 - CONSTANT_ENVELOPE) * magnitude.max(axis=1)
    flat = np.zeros(len(frames), dtype=np.bool_)
    for sign in (1, -1):
        at_limit: NDArray[np.bool_] = frames == sign * limit
        begins = at_limit[..., : at_limit.shape[2] - FLAT_TOP + 1].copy()
        for later in range(1, FLAT_TOP):
            begins &= at_limit[..., later : later + begins.shape[2]]
        flat |= begins.any(axis=(1, 2))
    below: NDArray[np.bool_] = relative < 1
    stands_out = np.count_nonzero(~below, axis=(1, 2)) >= STANDS_OUT * _most_frequent(relative, below)
    inside: NDArray[np.bool_] = np.logical_and(below[:, 0], below[:, 1])
    pairs = inside[:, 1:] & inside[:, :-1]
    still = (frames[:, :, 1:] == frames[:, :, :-1]).all(axis=1) & pairs
    rectangular = np.count_nonzero(still, axis=1) > STANDING_STILL * np.count_nonzero(pairs, axis=1)
    found: NDArray[np.bool_] = varies & (flat | stands_out) & ~rectangular
    return found


def _most_frequent(relative: NDArray[np.float32], below: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count each frame's most frequent magnitude below the limit, to a thousandth of it."""
    steps = np.where(below, relative * 1000, -1).astype(np.int16).reshape(len(relative), -1)
    steps.sort(axis=1)
    new = np.ones(steps.shape, dtype=np.bool_)
    new[:, 1:] = steps[:, 1:] != steps[:, :-1]
    begins = np.flatnonzero(new)
    counts = np.diff(np.append(begins, new.size))
    counts[steps.ravel()[begins] == -1] = 0
    of_frame = np.concatenate([[0], np.cumsum(np.count_nonzero(new, axis=1))[:-1]])
    most: NDArray[np.int64] = np.maximum.reduceat(counts, of_frame)
    return most
