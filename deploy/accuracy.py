"""Accuracy of a classifier of modulations: overall, by signal-to-noise ratio, confusion, sensitivity in dB."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Classes = npt.NDArray[np.integer[Any]]
Reals = npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]


def accuracy(labels: Classes, predictions: Classes) -> float:
    """Return the share of frames, 0 to 1, whose prediction is their label; both (n,) class numbers.

    Raises ValueError where the shapes differ or n is 0.
    """
    _same_frames(labels, predictions)
    return float(np.mean(labels == predictions))


def accuracy_by_snr(labels: Classes, predictions: Classes, snr_db: Reals) -> dict[str, float]:
    """Return the accuracy at each signal-to-noise ratio, from the lowest up.

    ``snr_db`` is (n,), one value a frame. Keys are text, as JSON wants them: ``"-20"`` for whole decibels, else
    ``"2.5"``. Raises ValueError where shapes differ, n is 0, or a ratio is not finite.
    """
    _same_frames(labels, predictions)
    if snr_db.shape != labels.shape or not np.isfinite(snr_db).all():
        raise ValueError(f"snr_db of shape {snr_db.shape} is not one finite value for each of {labels.shape} labels")
    hits = labels == predictions
    return {_snr_key(snr): float(np.mean(hits[snr_db == snr])) for snr in np.unique(snr_db)}


def confusion_matrix(labels: Classes, predictions: Classes, classes: int) -> npt.NDArray[np.int64]:
    """Count frames by (true class, predicted class): (classes, classes), rows are the truth.

    Raises ValueError where shapes differ, n is 0, or a class number is outside 0 .. classes - 1.
    """
    _same_frames(labels, predictions)
    for name, numbers in (("labels", labels), ("predictions", predictions)):
        if numbers.min() < 0 or numbers.max() >= classes:
            raise ValueError(f"{name} hold class {numbers.min()} .. {numbers.max()}, expected 0 .. {classes - 1}")
    pairs = labels.astype(np.int64) * classes + predictions
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def sensitivity_db(by_snr: Mapping[str, float], level: float = 0.6) -> float | None:
    """Return the signal-to-noise ratio in dB from which on the accuracy stays at ``level`` or above.

    It is where the curve crosses ``level`` going up for the last time with no fall below it afterwards, linearly
    interpolated between the two ratios around it. None where there is no such crossing: the curve ends below the
    level, or it never was below it, so that the sensitivity lies under the lowest ratio looked at.
    """
    curve = sorted((float(snr), share) for snr, share in by_snr.items())
    below = [position for position, (_, share) in enumerate(curve) if share < level]
    if not below or below[-1] == len(curve) - 1:
        return None
    (low_db, low_share), (high_db, high_share) = curve[below[-1]], curve[below[-1] + 1]
    return low_db + (level - low_share) / (high_share - low_share) * (high_db - low_db)


def _snr_key(snr_db: np.generic) -> str:
    value = float(snr_db)
    # numpy's own text of a ratio that is no whole number: 2.1 of a float32 stays 2.1, not 2.0999999046.
    return str(math.floor(value)) if value == math.floor(value) else str(snr_db)


def _same_frames(labels: Classes, predictions: Classes) -> None:
    if labels.ndim != 1 or labels.shape != predictions.shape or not labels.size:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} are not (n,) of the same n > 0")
