"""HisarMod2019.1: 26 modulations, 1024 samples a frame, SNR -20 to 18 dB, five kinds of channel; 780,000 frames.

The folder as published (IEEE DataPort, doi 10.21227/8k12-2g70) has no headers anywhere:

    Train/train_data.csv  train_labels.csv  train_snr.csv      520,000 lines
    Test/test_data.csv    test_labels.csv   test_snr.csv       260,000 lines

A line of data is 1024 complex numbers, written ``a+bi``. A label is a two-digit code: its last digit is the family
(PSK, QAM, FSK, PAM, analogue), its first the place in it. The conversion that AMR-Benchmark hands out has ``train.mat``
and ``test.mat`` (MATLAB v7.3, the array ``data_save``) and ``train_labels1.csv``, ``test_labels1.csv`` with the
numbers 0 to 25 in the order of families; other copies have its .mat beside the published labels, and other converters
write ``train_data.mat`` with the array ``train_data``. Programs disagree on the axes of these: the sizes decide.

Sources: K. Tekbiyik, A. R. Ekti, A. Gorcin, G. K. Kurt, C. Kececi, "Robust and Fast Automatic Modulation Classification
with CNN under Multipath Fading Channels", VTC2020-Spring. How others read it: Singingkettle/ChangShuoRadioRecognition
(file names, no header, "i", the codes), Richardzhangxx/AMR-Benchmark, HisarMod/*/main.py (``data_save``, its axes
reversed in HDF5, ``labels1``, the order of the 26 names).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset, Read
from deploy.frames.gathering import block_frames
from deploy.frames.hdf5 import Hdf5File, is_hdf5, open_hdf5
from deploy.progress import Progress, silent
from toolchain.data.formats.hisarmod_csv import as_number, looks_like_hisarmod, open_rows, read_numbers
from toolchain.data.formats.matlab_frames import find_axes, frames_array, open_frames
from toolchain.data.formats.own_parts import join_parts
from toolchain.errors import DatasetError

__all__ = ["is_hisarmod_folder", "looks_like_hisarmod", "looks_like_hisarmod_mat", "open_hisarmod"]

_CODES = {
    0: "BPSK", 10: "QPSK", 20: "8PSK", 30: "16PSK", 40: "32PSK", 50: "64PSK",
    1: "4QAM", 11: "8QAM", 21: "16QAM", 31: "32QAM", 41: "64QAM", 51: "128QAM", 61: "256QAM",
    2: "2FSK", 12: "4FSK", 22: "8FSK", 32: "16FSK",
    3: "4PAM", 13: "8PAM", 23: "16PAM",
    4: "AM-DSB", 14: "AM-DSB-SC", 24: "AM-USB", 34: "AM-LSB", 44: "FM", 54: "PM",
}  # fmt: skip
# In the order of families, which is also that of the numbers 0 to 25.
CLASSES = tuple(_CODES.values())
LENGTH = 1024
_ARRAYS = ("data_save", "train_data", "test_data")
_PARTS = ("train", "test")
_LAYOUT = (
    "expected Train/train_data.csv and Test/test_data.csv (or train.mat and test.mat), each with its _labels.csv and "
    "_snr.csv beside it"
)


def open_hisarmod(path: Path | Hdf5File, *, progress: Progress = silent) -> Dataset:
    """Open HisarMod2019.1: the folder, with its test part as ``own_test``, or the data file of one part.

    ``path`` may be a ``.mat`` that is open, so that it is not looked into twice.
    Labels and SNRs are read, and found beside the data by name. Of a CSV the lines are found, which takes as long as
    reading the file once, and frames are parsed when asked for, at some ten MB of text a second: convert the set first
    (``thinwave data convert``) to train with it. A ``.mat`` with its frames on another than HDF5's first axis, as in
    AMR-Benchmark's, is read into memory. Where a folder has both, the CSV is read: it is what was published.
    All 26 classes are named, whichever are there, in the order of families.
    Raises :class:`DatasetError` that names the file and the line.
    """
    if isinstance(path, Hdf5File) or not path.is_dir():
        return _open_part(path, progress)
    found = _data_files(path)
    missing = [part for part in _PARTS if part not in found]
    if missing:
        hint = f"Name {found[next(iter(found))].name} itself to open it alone" if found else "Name the folder of both"
        raise DatasetError(f"{path}: has no data file of the part {' and '.join(missing)}; {_LAYOUT}. {hint}")
    train, test = (_open_part(found[part], progress) for part in _PARTS)
    return join_parts(path.resolve().name, train, test)


def is_hisarmod_folder(path: Path) -> bool:
    """Say whether a folder has the data file of a part, and labels beside it, by their names."""
    try:
        return path.is_dir() and any(_beside(data, "_labels") for data in _data_files(path).values())
    except DatasetError:
        return False


def looks_like_hisarmod_mat(file: Hdf5File) -> bool:
    """Say whether an HDF5 file has an array as converters of HisarMod2019.1 name it, of that set's sizes."""
    for name in _ARRAYS:
        if name in file.unreadable and name == "data_save":
            return True
        array = file.datasets.get(name)
        if array is not None and LENGTH in array.shape and (2 in array.shape or array.dtype.names is not None):
            return True
    return False


def _data_files(folder: Path) -> dict[str, Path]:
    """Find the data file of each part in a folder, or in its folders Train and Test."""
    found: dict[str, Path] = {}
    for part in _PARTS:
        # Systems that do not tell Train from train have left both about.
        inside = [at for at in _entries(folder) if at.name.lower() == part and at.is_dir()]
        for place in (folder, *inside):
            by_name = {at.name.lower(): at for at in _entries(place)}
            for name in (f"{part}_data.csv", f"{part}.csv", f"{part}.mat", f"{part}_data.mat"):
                if name in by_name and part not in found:
                    found[part] = by_name[name]
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _beside(data: Path, ending: str) -> Path | None:
    """Find the file of labels or SNRs that goes with a data file."""
    part = data.stem.lower().removesuffix("_data")
    by_name = {at.name.lower(): at for at in _entries(data.parent)}
    names = [f"{part}{ending}.csv"] + ([f"{part}{ending}1.csv"] if ending == "_labels" else [])
    return next((by_name[name] for name in names if name in by_name), None)


def _open_part(path: Path | Hdf5File, progress: Progress) -> Dataset:
    file, path = (path, path.path) if isinstance(path, Hdf5File) else (None, path)
    # A pipe would be waited for.
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; {_LAYOUT}. Check the path")
    if path.stem.lower().endswith(("_labels", "_labels1", "_snr")):
        raise DatasetError(f"{path.name}: by its name this is not the frames; {_LAYOUT}. Name the folder, or the data")
    labels_path, snr_path = (_named_beside(path, ending) for ending in ("_labels", "_snr"))
    labels, snr_db = _read_labels(labels_path), _read_snrs(snr_path)
    if labels.size != snr_db.size:
        raise DatasetError(
            f"{snr_path.name}: it has {snr_db.size} SNRs, and {labels_path.name} has {labels.size} labels; expected one "
            f"of each a frame. Fetch or copy both again"
        )
    read: Read
    if file is None and _is_hdf5(path):
        file = open_hdf5(path)
    if file is not None:
        name = next((name for name in _ARRAYS if name in file.datasets or name in file.unreadable), _ARRAYS[0])
        array = frames_array(file, name)
        axes = find_axes(array, length=LENGTH, counts=(labels.size,))
        length = LENGTH
        read, together = open_frames(array, axes, progress)
    else:
        rows = open_rows(path, count=labels.size, counted_in=labels_path.name, progress=progress)
        length, read, together = rows.length, rows.read, block_frames(rows.line_bytes)
    return Dataset(
        source=path.name,
        format="hisarmod",
        classes=CLASSES,
        labels=labels,
        snr_db=snr_db,
        length=length,
        sample_rate_hz=None,
        read=read,
        block_frames=together,
    )


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise DatasetError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    if start.startswith(b"MATLAB 5.0 MAT-file"):
        raise DatasetError(f"{path.name}: a MATLAB file before v7.3; expected v7.3. In MATLAB, save it with -v7.3")
    return is_hdf5(start)


def _named_beside(data: Path, ending: str) -> Path:
    found = _beside(data, ending)
    if found is None:
        part = data.stem.removesuffix("_data")
        raise DatasetError(
            f"{data.name}: there is no {part}{ending}.csv beside it, in {data.parent}; {_LAYOUT}. Put it there"
        )
    return found


def _read_snrs(path: Path) -> NDArray[np.float32]:
    values = read_numbers(path, "SNR in dB")
    numbers = np.array([as_number(value) for value in values])
    wrong = np.flatnonzero(~(np.abs(numbers) <= 1000))
    if wrong.size:
        raise DatasetError(
            f"{path.name}: line {wrong[0] + 1} holds {values[wrong[0]][:40]!a}; expected an SNR in dB, -20 to 18, and no "
            f"header. Take a header out: tail -n +2"
        )
    return numbers.astype(np.float32)


def _read_labels(path: Path) -> NDArray[np.int64]:
    """Read labels as places in CLASSES, int64 (N,): from codes, places or names, whichever the values show."""
    values = read_numbers(path, "label")
    if values[0].upper() in CLASSES:
        known = np.array([CLASSES.index(value.upper()) if value.upper() in CLASSES else -1 for value in values])
        _refuse_unknown(path, values, known >= 0, f"one of the names {', '.join(CLASSES)}")
        return known
    numbers = np.array([as_number(value) for value in values])
    codes = np.array(list(_CODES))
    is_code, is_place = np.isin(numbers, codes), np.isin(numbers, np.arange(len(CLASSES)))
    _refuse_unknown(path, values, is_code | is_place, f"one of HisarMod2019.1's codes {sorted(_CODES)}, or 0 to 25")
    if is_code.all() and is_place.all():
        raise DatasetError(
            f"{path.name}: its labels {sorted(set(numbers.astype(int).tolist()))} may be HisarMod2019.1's codes or the "
            f"numbers 0 to 25: they cannot be told apart. Write the names of the modulations instead: "
            f"{', '.join(CLASSES)}"
        )
    if is_place.all():
        return numbers.astype(np.int64)
    _refuse_unknown(path, values, is_code, "only codes, for others are, or only numbers 0 to 25")
    order = np.argsort(codes)
    return order[np.searchsorted(codes[order], numbers.astype(np.int64))]


def _refuse_unknown(path: Path, values: list[str], is_known: NDArray[np.bool_], expected: str) -> None:
    wrong = np.flatnonzero(~is_known)
    if wrong.size:
        raise DatasetError(
            f"{path.name}: line {wrong[0] + 1} holds {values[wrong[0]][:40]!a}, no label of this set; expected "
            f"{expected}. If it is a header, take it out: tail -n +2"
        )
