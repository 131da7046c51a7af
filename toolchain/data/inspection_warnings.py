"""What looks wrong with a set of frames, in words: a function a kind of fault, each of which gives sentences or none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from toolchain.data.duplicates import Duplicates
from toolchain.data.frame_measures import CLIPPED_SHARE, FrameMeasures

CLASS_SCALE_LIMIT_DB = 3.0
UNBALANCED = 2.0
DC_LIMIT = 0.05
IMBALANCE_LIMIT_DB = 1.0
SKEW_LIMIT = 0.1
FEWEST_FOR_RECEIVER = 30
MOST_SNRS = 100
NAMED = 3


def balance_warnings(dataset: Dataset, counts: NDArray[np.int64], snrs: NDArray[np.float32]) -> list[str]:
    """Find classes and cells with no, few or unequally many frames; ``counts`` is (classes, snrs)."""
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
    missing = [f"{names[row]} at {plain_db(snrs[column]):g} dB" for row, column in np.argwhere(present == 0)]
    if missing:
        warnings.append(
            f"{_count(len(missing), 'cell', 'cells')} of class and SNR without frames, of {present.size}: "
            f"{_named(missing)}. Accuracy at such an SNR is over fewer classes: compare it with care, or keep the SNRs "
            f"that all classes have"
        )
    filled = present[present > 0]
    small = [
        f"{names[row]} at {plain_db(snrs[column]):g} dB" for row, column in np.argwhere((present > 0) & (present < 3))
    ]
    if small:
        warnings.append(
            f"{_count(len(small), 'cell has', 'cells have')} fewer than 3 frames: {_named(small)}. They cannot be split "
            f"into training, validation and test: add frames or leave those out"
        )
    if filled.max() >= UNBALANCED * filled.min():
        low, high = (np.argwhere(present == value)[0] for value in (filled.min(), filled.max()))
        few, many = (f"{names[row]} at {plain_db(snrs[column]):g} dB" for row, column in (low, high))
        warnings.append(
            f"cells are unbalanced: {_count(filled.min(), 'frame', 'frames')} of {few}, {filled.max():,} of {many}. The "
            f"overall accuracy leans to the larger cells: read it by class and by SNR"
        )
    return warnings


def damage_warnings(dataset: Dataset, measured: FrameMeasures) -> list[str]:
    """Find frames that are not finite, silent, constant or clipped, and name the first of each."""
    kinds = (
        (measured.nonfinite, "NaN or infinity", "Training refuses them: mend or leave out those frames"),
        (measured.silent, "nothing but zeros", "They carry no modulation: leave them out"),
        (measured.constant, "one constant value", "They carry no modulation: leave them out"),
        (
            measured.clipped,
            f"at least {CLIPPED_SHARE:.0%} of their numbers exactly at their largest magnitude",
            "They look clipped, which adds spectral lines that the air does not have: record with less gain",
        ),
    )
    warnings = []
    for found, what, meaning in kinds:
        if found.any():
            where = _at(dataset, int(np.argmax(found)))
            count = int(found.sum())
            of = f"{count:,} of {_count(len(dataset), 'frame', 'frames')} {'has' if count == 1 else 'have'}"
            warnings.append(f"{of} {what}, first {where}. {meaning}")
    return warnings


def duplicate_warnings(dataset: Dataset, duplicates: Duplicates) -> list[str]:
    """Tell of frames that are in the set twice, and whether their labels differ."""
    if duplicates.first is None:
        return []
    original, copy = (_at(dataset, index) for index in duplicates.first)
    repeats = "repeats an earlier one" if duplicates.frames == 1 else "repeat earlier ones"
    told = [f"{duplicates.frames:,} of {len(dataset):,} frames {repeats} exactly, first {copy}, the same as {original}"]
    for count, what in ((duplicates.other_class, "class"), (duplicates.other_snr, "SNR")):
        if count:
            told.append(f"{count:,} of them under another {what}")
    if duplicates.across_test:
        told.append(
            f"{_count(duplicates.across_test, 'frame', 'frames')} of the file's own test "
            f"{'is' if duplicates.across_test == 1 else 'are'} also in its training part"
        )
    return [
        f"{'; '.join(told)}. A copy in training and test makes a model look better than it is, and two labels for one "
        f"frame cannot both be learnt: leave copies out where the file was made"
    ]


def class_scale_warnings(dataset: Dataset, medians: list[float | None], conventions: list[str | None]) -> list[str]:
    """Find classes that stand out by their scale: by the median RMS of each, or by the convention that each follows."""
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


def receiver_warnings(dataset: Dataset, measured: FrameMeasures) -> list[str]:
    """Find what a receiver does to every class alike; a single class may have it by its modulation.

    With a random carrier phase all three are 0 within their errors. BPSK or AM received in phase have a power in I and
    none in Q, and a mean: so it is the median over the classes that counts, and at least three classes are asked for.
    """
    sums = measured.sums[measured.sums[:, 0] >= 2]
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


def plain_db(snr_db: np.float32) -> float:
    """Give the shortest number that means this float32: 2.1, not 2.0999999046."""
    return float(str(snr_db))


def _at(dataset: Dataset, index: int) -> str:
    return f"frame {index} ({dataset.classes[dataset.labels[index]]}, {plain_db(dataset.snr_db[index]):g} dB)"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
