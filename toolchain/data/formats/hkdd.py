"""HKDD_AMC12: 12 modulations, 512 samples a frame, SNR -20 to 20 dB; the nearest public set to Sig2019-12.

``HKDD_AMC12_train.mat`` (252,000 frames) and ``HKDD_AMC12_test.mat`` (126,000) are MATLAB v7.3 files, which are HDF5,
with the arrays ``XTrainIQ`` (in both) and ``Feature``, 228 features a frame, which is not read. There are no labels: the
frames lie in order, 21 blocks of an SNR, in each 12 blocks of a class, in each 1,000 frames (500 in the test file). The
authors give the shape of ``XTrainIQ`` as (2, 512, 1, N), which is MATLAB's; as HDF5 has it, it is (N, 1, 512, 2).

Sources: S. Zheng et al., "Toward Next-Generation Signal Intelligence: A Hybrid Knowledge and Data-Driven Deep Learning
Framework for Radio Signal Classification", IEEE TCCN 2023, doi 10.1109/TCCN.2023.3243899; its repository
Zhxj5678/HKDD_zhouxiaoyu (arrays, shape, counts; the set is on figshare, 22047170). The paper's repository does not say
the order; it is how published code that trains on the set labels it, names the classes and sums accuracy by SNR.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.frames.hdf5 import Hdf5File, open_hdf5
from deploy.frames.hdf5_dataset import Hdf5Dataset
from deploy.progress import Progress, silent
from toolchain.data.formats.matlab_frames import find_axes, frames_array, open_frames
from toolchain.data.formats.own_parts import join_parts
from toolchain.errors import DatasetError

CLASSES = ("BPSK", "QPSK", "8PSK", "OQPSK", "2FSK", "4FSK", "8FSK", "16QAM", "32QAM", "64QAM", "4PAM", "8PAM")
SNRS_DB = tuple(range(-20, 21, 2))
LENGTH = 512
# In the training file and the test file, for each class and SNR.
FRAMES_PER_CELL = (1000, 500)
_ARRAY = "XTrainIQ"
# The published files have none of these; copies with labels put in may.
_LABEL_NAMES = ("label", "labels", "y", "ytrain", "ytest")
_SNR_NAMES = ("snr", "snrs", "snr_db", "z")
_FILES = "HKDD_AMC12_train.mat and HKDD_AMC12_test.mat"


def open_hkdd(path: Path | Hdf5File, *, progress: Progress = silent) -> Dataset:
    """Open HKDD_AMC12: the folder with both files, the test file's frames being ``own_test``, or one file.

    ``path`` may be a file that is open, so that it is not looked into twice.

    Which axis is which is decided by the sizes. Frames on HDF5's first axis are read when asked for, on another into
    memory. Labels and SNRs are the documented order, for files of exactly the documented number of frames; unless the
    file has arrays of labels and of SNRs.
    Raises :class:`DatasetError` where any of this cannot be told, or the file is damaged.
    """
    if isinstance(path, Hdf5File) or not path.is_dir():
        return _open_file(path, progress)
    found = _files(path)
    if len(found) != 2:
        has = f"only {next(iter(found.values())).name}: name that file to open it alone" if found else "neither"
        raise DatasetError(f"{path}: expected {_FILES} in the folder; it has {has}")
    return join_parts(path.resolve().name, _open_file(found["train"], progress), _open_file(found["test"], progress))


def is_hkdd_folder(path: Path) -> bool:
    """Say whether a folder has a file of HKDD_AMC12, by its name."""
    try:
        return path.is_dir() and bool(_files(path))
    except DatasetError:
        return False


def looks_like_hkdd(file: Hdf5File) -> bool:
    """Say whether an HDF5 file has the array of HKDD_AMC12 (and of its larger sibling, which is then refused)."""
    return _ARRAY in file.datasets or _ARRAY in file.unreadable


def _files(folder: Path) -> dict[str, Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read: {error.strerror or error}") from error
    matches = ((re.fullmatch(r"hkdd_amc12_(train|test)\.mat", at.name, re.IGNORECASE), at) for at in entries)
    return {match[1].lower(): at for match, at in matches if match}


def _open_file(path: Path | Hdf5File, progress: Progress) -> Dataset:
    # A pipe would be waited for.
    if isinstance(path, Path) and not path.is_file():
        raise DatasetError(f"{path}: there is no such file; expected {_FILES}. Check the path")
    file = open_hdf5(path) if isinstance(path, Path) else path
    name = file.path.name
    array = frames_array(file, _ARRAY)
    if 1024 in array.shape and LENGTH not in array.shape:
        raise DatasetError(
            f"{name}: {_ARRAY} has the shape {array.shape}, as of HKDD_AMC36; expected HKDD_AMC12, frames of "
            f"{LENGTH} samples. The order of the other set's 36 classes is not known here"
        )
    cells = len(SNRS_DB) * len(CLASSES)
    label_array, snr_array = (_named(file, names) for names in (_LABEL_NAMES, _SNR_NAMES))
    documented = tuple(cells * count for count in FRAMES_PER_CELL)
    in_order = label_array is None or snr_array is None
    axes = find_axes(array, length=LENGTH, counts=documented if in_order else None)
    count = array.shape[axes.frames]
    # One block an SNR, in it one a class.
    labels = np.tile(np.repeat(np.arange(len(CLASSES)), count // cells), len(SNRS_DB))
    snr_db = np.repeat(np.array(SNRS_DB, dtype=np.float32), count // len(SNRS_DB))
    if label_array is not None:
        labels = _same_order(label_array, _labels(label_array, count), labels if in_order else None)
    if snr_array is not None:
        snr_db = _same_order(snr_array, _snrs(snr_array, count), snr_db if in_order else None)
    # Last, for it may take a while.
    read, block_frames = open_frames(array, axes, progress)
    return Dataset(
        source=name,
        format="hkdd",
        classes=CLASSES,
        labels=labels,
        snr_db=snr_db,
        length=LENGTH,
        sample_rate_hz=None,
        read=read,
        block_frames=block_frames,
    )


def _named(file: Hdf5File, names: Sequence[str]) -> Hdf5Dataset | None:
    return next((array for name, array in file.datasets.items() if name.lower() in names), None)


def _same_order(array: Hdf5Dataset, found: NDArray[Any], documented: NDArray[Any] | None) -> NDArray[Any]:
    """Give what the file says; where the other of labels and SNRs is taken from the order, it must be that order."""
    if documented is not None and not np.array_equal(found, documented):
        first = int(np.flatnonzero(found != documented)[0])
        raise DatasetError(
            f"{_place(array)} has {found[first]:g} for frame {first}, where the documented order has "
            f"{documented[first]:g}: the frames were put in another order. Add an array of the {_missing(array)}, one a "
            f"frame"
        )
    return found


def _missing(array: Hdf5Dataset) -> str:
    return "SNRs in dB, snr_db" if array.name.lower() in _LABEL_NAMES else "labels, label"


def _place(array: Hdf5Dataset) -> str:
    return f"{array.file.path.name}: {array.name}"


def _small(array: Hdf5Dataset, count: int, expected: str) -> NDArray[Any]:
    """Read an array of a few numbers a frame, without its axes of size 1."""
    shape = tuple(size for size in array.shape if size != 1) or (1,)
    if shape not in ((count,), (count, len(CLASSES)), (len(CLASSES), count)):
        raise DatasetError(f"{_place(array)} has the shape {array.shape}; expected {expected} for {count} frames")
    if array.dtype.kind not in "fiuS":
        raise DatasetError(f"{_place(array)} holds {array.dtype}; expected {expected}")
    return array.read_all().reshape(shape)


def _labels(array: Hdf5Dataset, count: int) -> NDArray[np.int64]:
    """Read labels as places in CLASSES: from one-hot rows, numbers, or names."""
    expected = "one label a frame: one-hot over the 12 classes, 0 to 11, 1 to 12, or a name"
    values = _small(array, count, expected)
    if values.dtype.kind == "S":
        names = [name.decode("latin1").strip().upper() for name in values.tolist()]
        values = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in names])
    if values.ndim == 2:
        if count == len(CLASSES):
            raise DatasetError(f"{_place(array)}: {values.shape}: which axis is the classes' cannot be told")
        one_hot = values if values.shape[1] == len(CLASSES) else values.T
        if not (np.isin(one_hot, (0, 1)).all() and (one_hot.sum(axis=1) == 1).all()):
            raise DatasetError(f"{_place(array)} has rows that are not one 1 and else 0; expected {expected}")
        places: NDArray[np.int64] = one_hot.argmax(axis=1).astype(np.int64)
        return places
    last = len(CLASSES)
    if not np.isin(values, np.arange(last + 1)).all():
        raise DatasetError(f"{_place(array)} holds other values; expected {expected}")
    has_first, has_last = bool((values == 0).any()), bool((values == last).any())
    if has_first == has_last and array.dtype.kind != "S":
        raise DatasetError(
            f"{_place(array)} counts from {values.min():g} to {values.max():g}: whether from 0 or from 1 cannot be told; "
            f"expected {expected}"
        )
    numbers: NDArray[np.int64] = values.astype(np.int64)
    return numbers - 1 if has_last else numbers


def _snrs(array: Hdf5Dataset, count: int) -> NDArray[np.float32]:
    expected = "one SNR in dB a frame"
    values = _small(array, count, expected)
    if values.ndim != 1 or values.dtype.kind not in "fiu" or not (np.abs(values.astype(float)) <= 1000).all():
        raise DatasetError(f"{_place(array)} holds {array.dtype} of the shape {array.shape}; expected {expected}")
    return values.astype(np.float32)
