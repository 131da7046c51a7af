"""Where the samples of a SigMF recording lie, and what numbers they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.errors import DatasetError
from deploy.frames.same_file import SameFile
from deploy.frames.sigmf_metadata import DATA_SUFFIX, Metadata

_DATATYPE = re.compile(r"([cr])(?:([fiu])(32|64|16)_(le|be)|([iu])8(?:_[lb]e)?)")


@dataclass(frozen=True)
class Segment:
    """Samples ``start`` to ``stop`` - 1, which lie one behind the other in the file from ``offset_bytes`` on."""

    start: int
    stop: int
    offset_bytes: int


def component_dtype(metadata: Metadata) -> np.dtype[np.generic]:
    """Return the type of I and of Q; DatasetError for real samples, several channels, or what the standard has not."""
    name = metadata.path.name
    match = _DATATYPE.fullmatch(metadata.datatype)
    if not match or match.group(2, 3) in (("f", "16"), ("i", "64"), ("u", "64")):
        raise DatasetError(
            f"{name}: core:datatype is {metadata.datatype[:40]!a}; expected c and f32, f64, i32, i16, u32, u16 with "
            f"_le or _be, or ci8, cu8: cf32_le, for instance"
        )
    if match[1] == "r":
        raise DatasetError(
            f"{name}: core:datatype is {metadata.datatype}, real samples; expected complex ones, I and Q. "
            f"Convert it to its analytic signal first (scipy.signal.hilbert), and save it as cf32_le"
        )
    if metadata.channels != 1:
        raise DatasetError(
            f"{name}: core:num_channels is {metadata.channels}; expected 1. Save each channel as a recording of its own"
        )
    if match[5]:
        return np.dtype(f"{match[5]}1")
    return np.dtype(f"{'<' if match[4] == 'le' else '>'}{match[2]}{int(match[3]) // 8}")


def data_path(metadata: Metadata) -> Path:
    """Find the file of samples, which lies beside the metadata: a name that leads elsewhere is refused."""
    meta, own = metadata.path, metadata.path.with_suffix(DATA_SUFFIX)
    named = metadata.dataset
    if named is not None:
        if not named.isprintable() or "/" in named or "\\" in named or named in ("", ".", ".."):
            raise DatasetError(
                f"{meta.name}: core:dataset is {named[:60]!a}; expected the name of a file beside it, without a folder"
            )
        # A name beyond the system's limit is no file either, and is_file() would raise.
        found = [path for path in {own, meta.with_name(named)} if len(path.name.encode()) < 256 and path.exists()]
        if len(found) > 1:
            raise DatasetError(
                f"{meta.name}: core:dataset names {named}, and {own.name} is there as well; expected one file of "
                f"samples. Leave core:dataset out, or move the other away"
            )
        if found:
            return found[0]
    elif own.exists():
        return own
    only = " It is marked core:metadata_only: its samples come separately." if metadata.metadata_only else ""
    raise DatasetError(
        f"{meta.name}: its samples are missing; expected {(named or own.name)[:60]} beside it.{only} Fetch that file too"
    )


def segments_of(metadata: Metadata, file: SameFile, sample_bytes: int) -> list[Segment]:
    """Lay the captures out in the file; together they cover all samples, by ascending sample."""
    headers = sum(capture.header_bytes for capture in metadata.captures)
    sample_room = file.size_bytes - headers - metadata.trailing_bytes
    if sample_room < sample_bytes:
        raise DatasetError(
            f"{file.path.name}: has no samples: {file.size_bytes} bytes, of which the metadata says that {headers} are "
            f"headers and {metadata.trailing_bytes} trailing. Fetch it again"
        )
    first = metadata.offset
    end = first + sample_room // sample_bytes
    bounds, skipped = [(first, 0)], 0
    for capture in metadata.captures:
        if capture.start < first:
            raise DatasetError(
                f"{metadata.path.name}: a capture starts at sample {capture.start}, before core:offset, {first}; "
                f"expected absolute sample numbers"
            )
        skipped += capture.header_bytes
        bounds.append((min(capture.start, end), skipped))
    stops = [start for start, _ in bounds[1:]] + [end]
    return [
        Segment(start, stop, before + (start - first) * sample_bytes)
        for (start, before), stop in zip(bounds, stops, strict=True)
        if stop > start
    ]


def as_float32(numbers: NDArray[np.generic]) -> NDArray[np.float32]:
    """Make float32 of the numbers of a file: unscaled, and where unsigned less the middle of their range."""
    if numbers.dtype.kind == "u":
        # float64: 32 bits less the middle of their range, before float32 takes the last 8 away.
        exact = np.float32 if numbers.dtype.itemsize < 4 else np.float64
        numbers = np.subtract(numbers, 2 ** (8 * numbers.dtype.itemsize - 1), dtype=exact)
    # float64 beyond float32 becomes infinity, and a signalling NaN a quiet one: checks find and name both.
    with np.errstate(over="ignore", invalid="ignore"):
        return numbers.astype(np.float32, copy=False)
