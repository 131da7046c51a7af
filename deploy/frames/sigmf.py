"""SigMF recordings: a ``.sigmf-meta`` of JSON beside a ``.sigmf-data`` of samples, cut into frames.

Each annotation with a ``core:label`` is cut into frames of ``length`` samples, one behind the other from its first sample;
what is left at its end is dropped, and an annotation shorter than a frame gives none. No frame reaches from one capture
into the next, where the receiver was retuned or samples were lost. Where annotations overlap, each gives its frames.
An annotation without ``core:sample_count`` lasts until its capture ends, as the standard says. Labels are the classes, by
alphabet. Annotations without a label are left out.

The SNR of an annotation, in dB, is its ``capture_details:SNRdB`` (the standard's extension), or a field ``snr_db`` or ``snr``
of any namespace (``torchsig:snr_db``, ``signal:snr``), in upper or lower case; else the recording's, from the same fields of
the global object; else ``snr_db`` as the caller gives it. ``deepsig:snr_estimate`` is not read: it is 0 where unmeasured.

Samples are as in the file, unscaled: ``ci16_le`` gives -32768 to 32767. Unsigned ones have the middle of their range taken
away, 128 for ``cu8``, 32768 for ``cu16``, 2147483648 for ``cu32``, as the ``sigmf`` library does before it scales.
"""

from __future__ import annotations

import bisect
import logging
import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.errors import DatasetError
from deploy.frames.dataset import UNLABELLED, Dataset
from deploy.frames.gathering import block_frames, gather
from deploy.frames.same_file import SameFile, read_into, same_file
from deploy.frames.sigmf_metadata import (
    DATA_SUFFIX,
    META_SUFFIX,
    Metadata,
    read_metadata,
    regular_size,
)
from deploy.frames.sigmf_samples import Segment, as_float32, component_dtype, data_path, segments_of

FORMAT = "sigmf"
# RML2018.01A's and HisarMod2019.1's, and the embedded generator's longest.
LENGTH = 1024
# Annotations may overlap, so that the size of the data is no bound. Labels and SNRs of so many frames take 200 MiB, so
# many runs of frames 300.
_MOST_FRAMES = 1 << 24
_MOST_CUTS = 1 << 21
_logger = logging.getLogger(__name__)


def open_sigmf(path: Path, *, length: int = LENGTH, snr_db: float | None = None, labelled: bool = True) -> Dataset:
    """Open a recording by either of its two names, and cut its annotations into frames of ``length`` samples.

    Where they need not be ``labelled``, a recording whose annotations name nothing is cut from end to end.

    ``snr_db`` is the SNR of annotations for which the file says none. Samples are read from the file when asked for;
    ``core:sha512`` is not compared, which would read all of them. Raises :class:`DatasetError` that names the field.
    """
    if length < 1:
        raise DatasetError(f"{path.name}: frames of {length} samples; expected at least 1")
    if snr_db is not None and not math.isfinite(snr_db):
        raise DatasetError(f"{path.name}: an SNR of {snr_db} dB for what says none; expected a finite number")
    metadata = read_metadata(_meta_path(path))
    dtype = component_dtype(metadata)
    data = data_path(metadata)
    regular_size(data)
    file = same_file(data)
    sample_bytes = 2 * dtype.itemsize
    segments = segments_of(metadata, file, sample_bytes)
    unlabelled = not labelled and not metadata.annotations
    if unlabelled:
        cuts = _cut_all(metadata.path.name, segments, length)
    else:
        # Frames to be classified need no SNR.
        cuts = _cut(metadata, segments, sample_bytes, length, snr_db if labelled or snr_db is not None else 0.0)
    classes = tuple(sorted({cut.label for cut in cuts}))
    numbers = {name: number for number, name in enumerate(classes)}
    counts = np.array([cut.frames for cut in cuts])
    return Dataset(
        source=metadata.path.name,
        format=FORMAT,
        classes=classes,
        labels=np.repeat(np.array([numbers[cut.label] for cut in cuts], dtype=np.int64), counts),
        snr_db=np.repeat(np.array([cut.snr_db for cut in cuts], dtype=np.float32), counts),
        length=length,
        sample_rate_hz=metadata.sample_rate_hz,
        read=partial(
            _read_frames,
            file,
            dtype,
            length,
            np.cumsum(counts) - counts,
            np.array([cut.offset_bytes for cut in cuts], dtype=np.int64),
        ),
        block_frames=block_frames(2 * length * dtype.itemsize),
        labelled=not unlabelled,
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    """Frames of one annotation that lie one behind the other in the file from ``offset_bytes`` on."""

    label: str
    snr_db: float
    frames: int
    offset_bytes: int


def _meta_path(path: Path) -> Path:
    if path.suffix == META_SUFFIX:
        return path
    if path.suffix == DATA_SUFFIX:
        return path.with_suffix(META_SUFFIX)
    hint = "Name the .sigmf-meta"
    if re.search(r"\.sigmf(\.\w+)?$", path.name):
        hint = f"Unpack the archive first: {'unzip' if path.suffix == '.zip' else 'tar xf'} {path.name}"
    elif path.suffix == ".sigmf-collection":
        hint = "Name the .sigmf-meta of one of its recordings"
    raise DatasetError(f"{path.name}: expected a {META_SUFFIX} or a {DATA_SUFFIX}. {hint}")


def _cut_all(name: str, segments: list[Segment], length: int) -> list[_Cut]:
    """Cut all samples into frames, capture by capture; raises DatasetError where none is as long as a frame."""
    cuts = [
        _Cut(UNLABELLED, 0.0, frames, segment.offset_bytes)
        for segment in segments
        if (frames := (segment.stop - segment.start) // length)
    ]
    total = sum(cut.frames for cut in cuts)
    if not 0 < total <= _MOST_FRAMES or len(cuts) > _MOST_CUTS:
        raise DatasetError(
            f"{name}: gives {total} frames of {length} samples in {len(cuts)} captures; expected 1 to {_MOST_FRAMES} in at "
            f"most {_MOST_CUTS}. Cut the recording into several, or take another"
        )
    return cuts


def _cut(
    metadata: Metadata, segments: list[Segment], sample_bytes: int, length: int, default_snr_db: float | None
) -> list[_Cut]:
    """Cut every annotation into frames; refuse one that the samples do not reach, and what gives none at all."""
    name = metadata.path.name
    first, end = segments[0].start, segments[-1].stop
    # Those too short for a frame are never looked at: then each step of the loop below gives frames, which are bounded.
    long = [segment for segment in segments if segment.stop - segment.start >= length]
    long_stops, starts = [segment.stop for segment in long], [segment.start for segment in segments]
    cuts: list[_Cut] = []
    total = used = 0
    for annotation in metadata.annotations:
        start = annotation.start
        if annotation.count is not None:
            stop = start + annotation.count
        else:
            stop = segments[max(0, bisect.bisect_right(starts, start) - 1)].stop
        if start < first or max(start, stop) > end:
            raise DatasetError(
                f"{name}: {annotation} covers samples {start} to {max(start, stop - 1)}; the recording has {first} to "
                f"{end - 1}. Fetch its samples again, or correct the annotation"
            )
        before = len(cuts)
        for number in range(bisect.bisect_right(long_stops, start), len(long)):
            segment = long[number]
            if segment.start >= stop:
                break
            begin = max(start, segment.start)
            frames = (min(stop, segment.stop) - begin) // length
            if frames < 1:
                continue
            snr_db = next(
                (said for said in (annotation.snr_db, metadata.snr_db, default_snr_db) if said is not None), None
            )
            if snr_db is None:
                raise DatasetError(
                    f'{name}: {annotation} has no SNR; expected "capture_details:SNRdB", in dB. Add it to the annotation '
                    f"or to global, or give one SNR for all that have none: --unknown-snr-db, in a recipe data.unknown_snr_db"
                )
            total += frames
            if total > _MOST_FRAMES or len(cuts) == _MOST_CUTS:
                raise DatasetError(
                    f"{name}: up to {annotation} its annotations give {total} frames of {length} samples in "
                    f"{len(cuts) + 1} runs; expected at most {_MOST_FRAMES} in {_MOST_CUTS}. Take longer frames, or cut "
                    f"the recording into several"
                )
            offset_bytes = segment.offset_bytes + (begin - segment.start) * sample_bytes
            cuts.append(_Cut(annotation.label, snr_db, frames, offset_bytes))
        used += len(cuts) > before
    if not cuts:
        raise DatasetError(
            f"{name}: none of its {len(metadata.annotations) + metadata.unlabelled} annotations gives a frame of {length} "
            f"samples ({metadata.unlabelled} without core:label, {len(metadata.annotations)} too short); expected "
            f'annotations such as {{"core:sample_start": 0, "core:sample_count": {4 * length}, "core:label": "QPSK", '
            f'"capture_details:SNRdB": 10}}. Add some, or take shorter frames'
        )
    if left_out := metadata.unlabelled + len(metadata.annotations) - used:
        _logger.info("%s: %d annotations without a label or shorter than a frame are left out", name, left_out)
    return cuts


def _read_frames(
    file: SameFile,
    dtype: np.dtype[np.generic],
    length: int,
    first_frames: NDArray[np.int64],
    offsets: NDArray[np.int64],
    indices: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Fill ``out`` with frames; those of cut ``i`` start with number ``first_frames[i]``, at byte ``offsets[i]``."""
    frame_bytes = 2 * length * dtype.itemsize
    with file.opened() as descriptor:

        def read_run(start: int, stop: int) -> NDArray[np.float32]:
            frames = np.arange(start, stop)
            cuts = np.searchsorted(first_frames, frames, side="right") - 1
            places = offsets[cuts] + (frames - first_frames[cuts]) * frame_bytes
            raw = np.empty((stop - start) * frame_bytes, dtype=np.uint8)
            begin = 0
            for end in [*(np.flatnonzero(np.diff(places) != frame_bytes) + 1).tolist(), stop - start]:
                room = raw.data[begin * frame_bytes : end * frame_bytes]
                read_into(descriptor, room, int(places[begin]), file.path.name)
                begin = end
            return as_float32(raw.view(dtype).reshape(stop - start, length, 2).transpose(0, 2, 1))

        # Neighbours only: frames near each other in number may lie anywhere in the file.
        gather(indices, out, read_run, frame_bytes=frame_bytes, gap_frames=1)
