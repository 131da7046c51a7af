"""What a set of frames holds, and what looks wrong with it: every frame is read once, in blocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.progress import Progress, silent
from toolchain.data.duplicates import Duplicates, find_duplicates
from toolchain.data.frame_measures import FrameMeasures, measure_frames
from toolchain.data.inspection_warnings import (
    balance_warnings,
    class_scale_warnings,
    damage_warnings,
    duplicate_warnings,
    plain_db,
    receiver_warnings,
)
from toolchain.data.snr_estimate import MeasuredSnr, judge_snr_labels, measure_snr

# A convention holds where every frame is this close to it.
SCALE_TOLERANCE = 0.01


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
    measured = measure_frames(dataset, progress=progress)
    measured_snr = measure_snr(dataset, progress=progress)
    duplicates = find_duplicates(dataset, measured)
    scaling, scale_warnings = _scaling(dataset, measured)
    judgement = judge_snr_labels(measured_snr, dataset.classes)
    warnings = [
        *balance_warnings(dataset, counts, snrs),
        *damage_warnings(dataset, measured),
        *duplicate_warnings(dataset, duplicates),
        *scale_warnings,
        *receiver_warnings(dataset, measured),
        *([judgement] if judgement else []),
    ]
    return Inspection(
        source=dataset.source,
        format=dataset.format,
        frames=len(dataset),
        length=dataset.length,
        sample_rate_hz=None if dataset.sample_rate_hz is None else float(dataset.sample_rate_hz),
        classes=dataset.classes,
        snr_db=tuple(plain_db(snr) for snr in snrs),
        counts=counts,
        per_cell_min=int(counts.min(initial=counts.max(initial=0))),
        per_cell_max=int(counts.max(initial=0)),
        scaling=scaling,
        duplicates=duplicates,
        nonfinite_frames=int(measured.nonfinite.sum()),
        silent_frames=int(measured.silent.sum()),
        constant_frames=int(measured.constant.sum()),
        clipped_frames=int(measured.clipped.sum()),
        measured_snr=measured_snr,
        fingerprint=dataset.fingerprint,
        warnings=tuple(text[0].upper() + text[1:] for text in warnings),
    )


def _scaling(dataset: Dataset, measured: FrameMeasures) -> tuple[Scaling, list[str]]:
    usable = measured.usable
    if not usable.any():
        nothing = (None,) * len(dataset.classes)
        return Scaling(convention="none recognised", rms_min=None, rms_median=None, rms_max=None, class_rms=nothing), []
    members = [np.flatnonzero(usable & (dataset.labels == label)) for label in range(len(dataset.classes))]
    medians = [float(np.median(measured.rms[frames])) if frames.size else None for frames in members]
    conventions = [_convention(measured, frames, dataset.length) if frames.size else None for frames in members]
    common = _convention(measured, np.flatnonzero(usable), dataset.length)
    rms = measured.rms[usable]
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
    return scaling, class_scale_warnings(dataset, medians, conventions)


def _convention(measured: FrameMeasures, frames: NDArray[np.int64], length: int) -> str | None:
    """Name what every one of these frames is scaled to, or None."""
    rms = measured.rms[frames]
    scales = {
        "unit RMS": rms,
        "sum of magnitudes 1": measured.magnitudes[frames],
        "sum of squared magnitudes 1": rms * np.sqrt(length),
        "unit peak": measured.peak[frames],
        "unit peak of I and Q": measured.component[frames],
    }
    for name, values in scales.items():
        if np.abs(values - 1).max() <= SCALE_TOLERANCE:
            return name
    largest = float(measured.component[frames].max())
    return f"integers up to {largest:.0f}" if measured.integers and largest > 1 else None


def _finite(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
