"""What a set of frames holds, and what looks wrong with it: every frame is read once, in blocks."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data.snr_estimate import MeasuredSnr, judge_snr_labels, measure_snr

# 8 MiB of samples at a time: quick to read, and small beside the 30 bytes that are kept of each frame.
BLOCK_SAMPLES = 1 << 20
# 8 bytes of hash: among 2.5 million frames, two different ones share it by chance once in six million sets.
HASH_BYTES = 8
# A convention holds where every frame is this close to it.
SCALE_TOLERANCE = 0.01
CLASS_SCALE_LIMIT_DB = 3.0
# Noise has its largest value once in a frame; a clipped frame has it in this share of its numbers, and at least 4 times.
CLIPPED_SHARE = 0.02
UNBALANCED = 2.0
DC_LIMIT = 0.05
IMBALANCE_LIMIT_DB = 1.0
SKEW_LIMIT = 0.1
FEWEST_FOR_RECEIVER = 30
MOST_SNRS = 100
NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The scale of a set's frames: the RMS of sqrt(I^2 + Q^2) in a frame, and what they are all brought to, in words.

    ``class_rms`` is the median a class, None for one without frames. ``rms_*`` are None where no frame is usable.
    """

    convention: str
    rms_min: float | None
    rms_median: float | None
    rms_max: float | None
    class_rms: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Frames that repeat an earlier one, bit by bit; constant and damaged frames are not counted.

    ``first`` are the indices of the first copy's original and of that copy. ``other_class`` and ``other_snr`` count the
    copies labelled otherwise than their original, ``across_test`` the file's own test frames that it also trains on.
    """

    frames: int
    first: tuple[int, int] | None
    other_class: int
    other_snr: int
    across_test: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """What a set holds. ``counts`` is int64 (classes, snrs); ``snr_db`` ascends; ``measured_snr`` has the same columns."""

    source: str
    format: str
    frames: int
    length: int
    sample_rate_hz: float | None
    classes: tuple[str, ...]
    snr_db: tuple[float, ...]
    counts: NDArray[np.int64]
    per_cell_min: int
    per_cell_max: int
    scaling: Scaling
    duplicates: Duplicates
    nonfinite_frames: int
    silent_frames: int
    constant_frames: int
    clipped_frames: int
    measured_snr: MeasuredSnr
    fingerprint: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; tables are lists of rows, a row a class; what is not known is None."""
        measured = [
            [None if np.isnan(value) else round(float(value), 2) for value in row]
            for row in self.measured_snr.measured_db
        ]
        return {
            "source": self.source,
            "format": self.format,
            "frames": self.frames,
            "length": self.length,
            "sample_rate_hz": self.sample_rate_hz,
            "classes": list(self.classes),
            "snr_db": list(self.snr_db),
            "per_cell_min": self.per_cell_min,
            "per_cell_max": self.per_cell_max,
            "per_cell": self.counts.tolist(),
            "scaling": asdict(self.scaling) | {"class_rms": list(self.scaling.class_rms)},
            "duplicates": asdict(self.duplicates)
            | {"first": None if self.duplicates.first is None else list(self.duplicates.first)},
            "nonfinite_frames": self.nonfinite_frames,
            "silent_frames": self.silent_frames,
            "constant_frames": self.constant_frames,
            "clipped_frames": self.clipped_frames,
            "measured_snr_db": measured,
            "fingerprint": self.fingerprint,
            "warnings": list(self.warnings),
        }


def inspect_dataset(dataset: Dataset, *, progress: Progress = silent) -> Inspection:
    """Read every frame once, then measure SNRs on a sample; memory holds a block of frames and 30 bytes of each.

    Progress counts frames, then cells. Raises what reading raises; whatever the frames are, they are reported, not refused.
    """
    snrs, column = np.unique(dataset.snr_db, return_inverse=True)
    cells = dataset.labels * snrs.size + column.reshape(-1)
    counts = np.bincount(cells, minlength=len(dataset.classes) * snrs.size).reshape(len(dataset.classes), snrs.size)
    read = _read(dataset, progress)
    measured = measure_snr(dataset, progress=progress)
    duplicates = _duplicates(dataset, read)
    scaling, scale_warnings = _scaling(dataset, read)
    judgement = judge_snr_labels(measured)
    warnings = [
        *_balance_warnings(dataset, counts, snrs),
        *_damage_warnings(dataset, read),
        *_duplicate_warnings(dataset, duplicates),
        *scale_warnings,
        *_receiver_warnings(dataset, read),
        *([judgement] if judgement else []),
    ]
    return Inspection(
        source=dataset.source,
        format=dataset.format,
        frames=len(dataset),
        length=dataset.length,
        sample_rate_hz=None if dataset.sample_rate_hz is None else float(dataset.sample_rate_hz),
        classes=dataset.classes,
        snr_db=tuple(_plain(snr) for snr in snrs),
        counts=counts,
        per_cell_min=int(counts.min(initial=counts.max(initial=0))),
        per_cell_max=int(counts.max(initial=0)),
        scaling=scaling,
        duplicates=duplicates,
        nonfinite_frames=int(read.nonfinite.sum()),
        silent_frames=int(read.silent.sum()),
        constant_frames=int(read.constant.sum()),
        clipped_frames=int(read.clipped.sum()),
        measured_snr=measured,
        fingerprint=dataset.fingerprint,
        warnings=tuple(text[0].upper() + text[1:] for text in warnings),
    )


@dataclass(kw_only=True, eq=False)
class _Read:
    """What is kept of every frame (N,), and of every class: sums over its usable frames."""

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
        found: NDArray[np.bool_] = ~(self.nonfinite | self.silent | self.constant)
        return found


def _read(dataset: Dataset, progress: Progress) -> _Read:
    total = len(dataset)
    rms, magnitudes, peak, component = np.zeros((4, total), dtype=np.float32)
    nonfinite, silent_frames, constant, clipped = np.zeros((4, total), dtype=np.bool_)
    read = _Read(
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
        _look_at(frames, dataset.labels[start:stop], slice(start, stop), read)
        progress(stop, total, "reading frames")
    return read


def _look_at(frames: NDArray[np.float32], labels: NDArray[np.int64], here: slice, read: _Read) -> None:
    read.hashes[here] = np.frombuffer(
        b"".join(hashlib.blake2b(frame, digest_size=HASH_BYTES).digest() for frame in frames), dtype=np.uint64
    )
    absolute = np.abs(frames)
    component = absolute.max(axis=(1, 2))
    read.nonfinite[here] = ~np.isfinite(component)
    if read.nonfinite[here].any():
        frames = np.where(read.nonfinite[here][:, None, None], np.float32(0), frames)
        absolute = np.abs(frames)
        component = absolute.max(axis=(1, 2))
    # NaN is not silent: it was made 0 here only to be counted once.
    read.silent[here] = (component == 0) & ~read.nonfinite[here]
    if frames.shape[2] > 1:
        read.constant[here] = (frames == frames[:, :, :1]).all(axis=(1, 2)) & (component > 0)
    at_peak = np.count_nonzero(absolute == component[:, None, None], axis=(1, 2))
    least = max(4, CLIPPED_SHARE * 2 * frames.shape[2])
    read.clipped[here] = (at_peak >= least) & (component > 0) & ~read.constant[here]
    if read.integers:
        read.integers = bool((absolute == np.rint(absolute)).all())
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
        read.rms[here] = np.sqrt(power) * safe
        read.peak[here] = magnitude.max(axis=1) * safe
        read.magnitudes[here] = magnitude.sum(axis=1) * safe
    read.component[here] = component
    usable = read.usable[here]
    power, labels = power[usable], labels[usable]
    unbalance, skew = (power_i - power_q)[usable] / power, 2 * product[usable] / power
    means = scaled[usable].mean(axis=2) / np.sqrt(power)[:, None]
    columns = (np.ones(power.size), *means.T, unbalance, skew, (means**2).sum(axis=1), unbalance**2, skew**2)
    for number, values in enumerate(columns):
        read.sums[:, number] += np.bincount(labels, weights=values, minlength=len(read.sums))


def _duplicates(dataset: Dataset, read: _Read) -> Duplicates:
    candidates = np.flatnonzero(read.usable)
    order = candidates[np.argsort(read.hashes[candidates], kind="stable")]
    hashes = read.hashes[order]
    copies = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
    if copies.size == 0:
        return Duplicates(frames=0, first=None, other_class=0, other_snr=0, across_test=0)
    begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    original = order[np.repeat(begins, np.diff(np.append(begins, order.size)))]
    copy, its_original = order[copies], original[copies]
    across = 0
    if dataset.own_test is not None:
        in_test = dataset.own_test[order]
        trained = np.repeat(np.logical_or.reduceat(~in_test, begins), np.diff(np.append(begins, order.size)))
        across = int(np.sum(in_test & trained))
    first = int(np.argmin(copy))
    return Duplicates(
        frames=int(copy.size),
        first=(int(its_original[first]), int(copy[first])),
        other_class=int(np.sum(dataset.labels[copy] != dataset.labels[its_original])),
        other_snr=int(np.sum(dataset.snr_db[copy] != dataset.snr_db[its_original])),
        across_test=across,
    )


def _scaling(dataset: Dataset, read: _Read) -> tuple[Scaling, list[str]]:
    usable = read.usable
    if not usable.any():
        nothing = (None,) * len(dataset.classes)
        return Scaling(convention="none recognised", rms_min=None, rms_median=None, rms_max=None, class_rms=nothing), []
    members = [np.flatnonzero(usable & (dataset.labels == label)) for label in range(len(dataset.classes))]
    medians = [float(np.median(read.rms[frames])) if frames.size else None for frames in members]
    conventions = [_convention(read, frames, dataset.length) if frames.size else None for frames in members]
    common = _convention(read, np.flatnonzero(usable), dataset.length)
    rms = read.rms[usable]
    scaling = Scaling(
        convention=common or "none recognised",
        rms_min=_finite(rms.min()),
        rms_median=_finite(np.median(rms)),
        rms_max=_finite(rms.max()),
        class_rms=tuple(None if median is None else _finite(median) for median in medians),
    )
    # Integers are a type of number, not a scale.
    if common is not None and not common.startswith("integers"):
        return scaling, []
    return scaling, _class_scale_warnings(dataset, medians, conventions)


def _convention(read: _Read, frames: NDArray[np.int64], length: int) -> str | None:
    """Name what every one of these frames is scaled to, or None."""
    rms = read.rms[frames]
    scales = {
        "unit RMS": rms,
        "sum of magnitudes 1": read.magnitudes[frames],
        "sum of squared magnitudes 1": rms * np.sqrt(length),
        "unit peak": read.peak[frames],
        "unit peak of I and Q": read.component[frames],
    }
    for name, values in scales.items():
        if np.abs(values - 1).max() <= SCALE_TOLERANCE:
            return name
    largest = float(read.component[frames].max())
    return f"integers up to {largest:.0f}" if read.integers and largest > 1 else None


def _class_scale_warnings(dataset: Dataset, medians: list[float | None], conventions: list[str | None]) -> list[str]:
    present = [label for label, median in enumerate(medians) if median is not None]
    level_db = {label: 20 * float(np.log10(medians[label] or 1.0)) for label in present}
    usual_db = float(np.median(list(level_db.values())))
    odd = [label for label in present if abs(level_db[label] - usual_db) > CLASS_SCALE_LIMIT_DB]
    why = (
        "A network that does not scale its input could tell them by that alone, and would fail on the air: scale all "
        "frames alike (thinwave's own models bring each frame to unit RMS first)"
    )
    if odd:
        named = _named([f"{dataset.classes[label]} by {level_db[label] - usual_db:+.1f} dB" for label in odd])
        return [f"frames of {len(odd)} of {len(present)} classes have another scale than the rest: {named}. {why}"]
    scales = {conventions[label] for label in present}
    usual = max(scales, key=lambda name: (sum(conventions[label] == name for label in present), str(name)))
    others = [dataset.classes[label] for label in present if conventions[label] != usual]
    if usual is None or usual.startswith("integers") or not others or len(others) * 2 >= len(present):
        return []
    return [f"frames are scaled to {usual}, but not those of {_named(others)}. {why}"]


def _balance_warnings(dataset: Dataset, counts: NDArray[np.int64], snrs: NDArray[np.float32]) -> list[str]:
    if len(dataset) == 0:
        return ["the set has no frames: there is nothing to train on or to test"]
    warnings = []
    of_class = counts.sum(axis=1)
    empty = [name for name, count in zip(dataset.classes, of_class, strict=True) if count == 0]
    if empty:
        warnings.append(
            f"{_count(len(empty), 'class has', 'classes have')} no frames: {_named(empty)}. A model would never learn "
            f"them: leave them out of the list of classes, or add frames"
        )
    if np.count_nonzero(of_class) == 1:
        only = dataset.classes[int(of_class.argmax())]
        warnings.append(f"all frames are of one class, {only}: there is nothing to tell apart")
    if snrs.size > MOST_SNRS:
        warnings.append(
            f"the SNR labels have {snrs.size:,} different values: accuracy is told for each of them, and each is split "
            f"by itself. Round them to a grid, such as 2 dB, where the file is made"
        )
        return warnings
    present = counts[of_class > 0]
    names = [name for name, count in zip(dataset.classes, of_class, strict=True) if count]
    missing = [f"{names[row]} at {_plain(snrs[column]):g} dB" for row, column in np.argwhere(present == 0)]
    if missing:
        warnings.append(
            f"{_count(len(missing), 'cell', 'cells')} of class and SNR without frames, of {present.size}: "
            f"{_named(missing)}. Accuracy at such an SNR is over fewer classes: compare it with care, or keep the SNRs "
            f"that all classes have"
        )
    filled = present[present > 0]
    small = [
        f"{names[row]} at {_plain(snrs[column]):g} dB" for row, column in np.argwhere((present > 0) & (present < 3))
    ]
    if small:
        warnings.append(
            f"{_count(len(small), 'cell has', 'cells have')} fewer than 3 frames: {_named(small)}. They cannot be split "
            f"into training, validation and test: add frames or leave those out"
        )
    if filled.max() >= UNBALANCED * filled.min():
        low, high = (np.argwhere(present == value)[0] for value in (filled.min(), filled.max()))
        few, many = (f"{names[row]} at {_plain(snrs[column]):g} dB" for row, column in (low, high))
        warnings.append(
            f"cells are unbalanced: {filled.min():,} frames of {few}, {filled.max():,} of {many}. The overall accuracy "
            f"leans to the larger cells: read it by class and by SNR"
        )
    return warnings


def _damage_warnings(dataset: Dataset, read: _Read) -> list[str]:
    kinds = (
        (read.nonfinite, "NaN or infinity", "Training refuses them: mend or leave out those frames"),
        (read.silent, "nothing but zeros", "They carry no modulation: leave them out"),
        (read.constant, "one constant value", "They carry no modulation: leave them out"),
        (
            read.clipped,
            f"at least {CLIPPED_SHARE:.0%} of their numbers exactly at their largest magnitude",
            "They look clipped, which adds spectral lines that the air does not have: record with less gain",
        ),
    )
    warnings = []
    for found, what, meaning in kinds:
        if found.any():
            where = _at(dataset, int(np.argmax(found)))
            count = int(found.sum())
            warnings.append(
                f"{count:,} of {len(dataset):,} frames {'has' if count == 1 else 'have'} {what}, first {where}. {meaning}"
            )
    return warnings


def _duplicate_warnings(dataset: Dataset, duplicates: Duplicates) -> list[str]:
    if duplicates.first is None:
        return []
    original, copy = (_at(dataset, index) for index in duplicates.first)
    repeats = "repeats an earlier one" if duplicates.frames == 1 else "repeat earlier ones"
    told = [f"{duplicates.frames:,} of {len(dataset):,} frames {repeats} exactly, first {copy}, the same as {original}"]
    for count, what in ((duplicates.other_class, "class"), (duplicates.other_snr, "SNR")):
        if count:
            told.append(f"{count:,} of them under another {what}")
    if duplicates.across_test:
        told.append(f"{duplicates.across_test:,} frames of the file's own test are also in its training part")
    return [
        f"{'; '.join(told)}. A copy in training and test makes a model look better than it is, and two labels for one "
        f"frame cannot both be learnt: leave copies out where the file was made"
    ]


def _receiver_warnings(dataset: Dataset, read: _Read) -> list[str]:
    """Find what a receiver does to every class alike; a single class may have it by its modulation.

    With a random carrier phase all three are 0 within their errors. BPSK or AM received in phase have a power in I and
    none in Q, and a mean: so it is the median over the classes that counts, and at least three classes are asked for.
    """
    sums = read.sums[read.sums[:, 0] >= 2]
    if len(sums) < 3 or sums[:, 0].sum() < FEWEST_FOR_RECEIVER:
        return []
    frames = sums[:, :1]
    means = sums[:, 1:] / frames
    squared = np.stack([means[:, 0] ** 2 + means[:, 1] ** 2, means[:, 2] ** 2, means[:, 3] ** 2], axis=1)
    # Of a median over classes, from the scatter within them; a median's is a quarter more than a mean's.
    errors = 1.25 * np.sqrt((means[:, 4:] - squared).clip(min=0).mean(axis=0) / frames.sum())
    dc_limit, balance_limit, skew_limit = 5 * errors
    warnings = []
    dc = np.median(means[:, :2], axis=0)
    if np.hypot(*dc) > max(DC_LIMIT, dc_limit):
        warnings.append(
            f"the frames have a constant part (DC offset) of {np.hypot(*dc):.0%} of their RMS, in most classes alike "
            f"(I {dc[0]:+.2f}, Q {dc[1]:+.2f}). It comes from a receiver, not from modulation: subtract its mean"
        )
    unbalance, skew = np.median(means[:, 2:4], axis=0)
    same_sign = np.mean(np.sign(means[:, 2:4]) == np.sign([unbalance, skew]), axis=0) >= 0.75
    ratio_db = 10 * np.log10((1 + np.clip(unbalance, -0.999, 0.999)) / (1 - np.clip(unbalance, -0.999, 0.999)))
    if abs(ratio_db) > IMBALANCE_LIMIT_DB and abs(unbalance) > balance_limit and same_sign[0]:
        warnings.append(
            f"I has {ratio_db:+.1f} dB more power than Q (median over the classes): an I/Q imbalance of the receiver, "
            f"or frames whose carrier phase is always the same. Balance I and Q where the file was made"
        )
    if abs(skew) > max(SKEW_LIMIT, skew_limit) and same_sign[1]:
        warnings.append(
            f"I and Q are correlated, {skew:+.2f} (median over the classes): their phases are not 90 degrees apart, or "
            f"the carrier phase is always the same. Correct the skew where the file was made"
        )
    return warnings


def _at(dataset: Dataset, index: int) -> str:
    return f"frame {index} ({dataset.classes[dataset.labels[index]]}, {_plain(dataset.snr_db[index]):g} dB)"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _plain(snr_db: np.float32) -> float:
    # The shortest text that means this float32: 2.1, not 2.0999999046.
    return float(str(snr_db))


def _finite(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
