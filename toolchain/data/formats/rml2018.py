"""RML2018.01A: 24 modulations x 26 SNRs x 4096 frames of 1024 samples in one HDF5 file of 20 GiB, read where it lies.

``X`` float32 (N, 1024, 2), I and Q last; ``Y`` one-hot (N, 24); ``Z`` the SNR in dB (N, 1).
Source: T. O'Shea, T. Roy, T. C. Clancy, "Over-the-Air Deep Learning Based Radio Signal Classification", IEEE Journal of
Selected Topics in Signal Processing 12(1), 2018.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.frames.gathering import block_frames, gather
from deploy.frames.hdf5 import Hdf5File
from deploy.frames.hdf5_dataset import Hdf5Dataset, check_ratio
from deploy.progress import Progress, silent
from toolchain.errors import DatasetError

# In the order of the one-hot columns. The classes.txt that comes with the file has another order, which is wrong: the
# frames of its "32PSK" have 16 amplitude-and-phase points, and so on.
CLASSES = (
    "OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "16APSK", "32APSK", "64APSK", "128APSK",
    "16QAM", "32QAM", "64QAM", "128QAM", "256QAM", "AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK",
)  # fmt: skip
_LABEL_BLOCK = 1 << 16
_MOST_SNR_DB = 1000
_EXPECTED = "expected RML2018.01A's X (N, length, 2), Y one-hot (N, 24) and Z (N, 1)"
_WAY_OUT = "Fetch the published file again, or write the part of it anew as it is laid out"


def looks_like_rml2018(file: Hdf5File) -> bool:
    """Whether the file has the three arrays of RML2018.01A."""
    return {"X", "Y", "Z"} <= file.datasets.keys() | file.unreadable.keys()


def open_rml2018(file: Hdf5File, *, progress: Progress = silent) -> Dataset:
    """Open a file laid out as RML2018.01A, whole or a part of it: frames stay in the file, labels and SNRs are read.

    Raises :class:`DatasetError` where shapes, one-hot rows or SNRs are not as they must be.
    """
    name = file.path.name
    for member in "XYZ":
        if member in file.unreadable:
            raise DatasetError(f"{name}: {member} is not readable: {file.unreadable[member]}; {_EXPECTED}. {_WAY_OUT}")
    x, y, z = (file.datasets[member] for member in "XYZ")
    shapes = f"X {x.shape}, Y {y.shape}, Z {z.shape}"
    if len(x.shape) != 3 or x.shape[2] != 2 or 0 in x.shape or y.shape != (x.shape[0], len(CLASSES)):
        turned = len(x.shape) == 3 and x.shape[1] == 2
        way_out = "I and Q are X's axis 1: save X.transpose(0, 2, 1)" if turned else _WAY_OUT
        raise DatasetError(f"{name}: {shapes}; {_EXPECTED}. {way_out}")
    if z.shape not in ((x.shape[0], 1), (x.shape[0],)):
        raise DatasetError(f"{name}: {shapes}; {_EXPECTED}, one SNR a frame. {_WAY_OUT}")
    for member, stored in zip("XYZ", (x, y, z), strict=True):
        if stored.dtype.kind not in "fiu":
            raise DatasetError(f"{name}: {member} holds {stored.dtype}; expected real numbers. {_WAY_OUT}")
    # Of frames only: one-hot rows in the order of classes do compress, and there are no more of them than of frames.
    check_ratio(f"{name}: X", x.nbytes, x.stored_bytes, "Write it anew without compression")
    frame_bytes = x.shape[1] * 2 * x.dtype.itemsize
    return Dataset(
        source=name,
        format="rml2018",
        classes=CLASSES,
        labels=_labels(name, y, progress),
        snr_db=_snr_db(name, z),
        length=x.shape[1],
        sample_rate_hz=None,
        # Compressed, a chunk is the least that can be read.
        block_frames=max(block_frames(frame_bytes), 1 if x.in_place else x.rows_per_chunk),
        read=partial(_read_frames, x, frame_bytes),
    )


def _labels(name: str, y: Hdf5Dataset, progress: Progress) -> NDArray[np.int64]:
    """Turn one-hot rows into class numbers, a block at a time: the rows take eight times 24 bytes a frame."""
    labels = np.empty(y.shape[0], dtype=np.int64)
    for start in range(0, len(labels), _LABEL_BLOCK):
        rows = y.read(start, min(start + _LABEL_BLOCK, len(labels)))
        hot = rows == 1
        wrong = (hot.sum(axis=1) != 1) | ((rows != 0).sum(axis=1) != 1)
        if wrong.any():
            bad = int(np.flatnonzero(wrong)[0])
            shown = ", ".join(f"{value:g}" for value in rows[bad][rows[bad] != 0][:4]) or "no 1"
            raise DatasetError(
                f"{name}: row {start + bad} of Y is not one-hot: it has {shown}; expected a single 1 among 24 columns. "
                f"The file is damaged, or its labels are coded in another way: write them one-hot"
            )
        labels[start : start + len(rows)] = hot.argmax(axis=1)
        progress(start + len(rows), len(labels), "reading labels")
    return labels


def _snr_db(name: str, z: Hdf5Dataset) -> NDArray[np.float32]:
    stored = z.read_all().reshape(-1)
    # NaN too is not within the bounds. As float64: the least int64 has no absolute value.
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(stored.astype(np.float64)) <= _MOST_SNR_DB)
    if wrong.any():
        bad = int(np.flatnonzero(wrong)[0])
        raise DatasetError(
            f"{name}: row {bad} of Z is {stored[bad]:g}; expected an SNR in dB, -20 to 30 in the published file. {_WAY_OUT}"
        )
    return stored.astype(np.float32)


def _read_frames(x: Hdf5Dataset, frame_bytes: int, indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    gap_frames = None if x.in_place else x.rows_per_chunk
    gather(indices, out, partial(_rows, x), frame_bytes=frame_bytes, gap_frames=gap_frames)


def _rows(x: Hdf5Dataset, start: int, stop: int) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = x.read(start, stop).transpose(0, 2, 1)
    return rows
