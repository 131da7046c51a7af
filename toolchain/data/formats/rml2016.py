"""RML2016.10a and .10b: a pickled dict {(modulation, SNR in dB): float array (n, 2, length)}.

The published files are Python 2 pickles of protocol 0; copies in every other protocol are about, and are read too.
Source: T. O'Shea, N. West, "Radio Machine Learning Dataset Generation with GNU Radio", GNU Radio Conference 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset, from_memory
from deploy.memory import check_memory
from deploy.progress import Progress, silent
from toolchain.data.formats.pickle_arrays import PickledArray, PickledDict, describe, load_array, read_pickle
from toolchain.data.formats.pickle_scan import Literal, PickleFile
from toolchain.errors import DatasetError

_EXPECTED = "expected a dict {(modulation name, SNR in dB): float array (frames, 2, length)}"
_WAY_OUT = "Pickle fewer of its cells, or convert it where there is more memory (thinwave data convert)"


@dataclass(frozen=True)
class _Cell:
    modulation: str
    snr_db: float
    array: PickledArray

    def __str__(self) -> str:
        return f"the cell ({self.modulation!r}, {self.snr_db:g})"


def open_rml2016(path: Path, *, progress: Progress = silent) -> Dataset:
    """Read an RML2016-style pickle into memory as float32, classes by alphabet, frames by class, then by SNR.

    The file is read as data and never run; its structure is checked as a whole before any array is read, and then one
    cell at a time goes to its place, so that the peak is the set's float32 size and one cell.
    Raises :class:`DatasetError` that names the byte or the cell.
    """
    try:
        with path.open("rb") as opened:
            file = PickleFile(opened, path.name)
            cells = _cells(read_pickle(file), file)
            classes = tuple(sorted({cell.modulation for cell in cells}))
            iq = _read_cells(file, cells, progress)
    except OSError as error:
        raise DatasetError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    counts = [cell.array.shape[0] for cell in cells]
    return Dataset(
        source=path.name,
        format="rml2016",
        classes=classes,
        labels=np.repeat(np.array([classes.index(cell.modulation) for cell in cells], dtype=np.int64), counts),
        snr_db=np.repeat(np.array([cell.snr_db for cell in cells], dtype=np.float32), counts),
        length=iq.shape[2],
        sample_rate_hz=None,
        read=from_memory(iq),
    )


def _cells(content: object, file: PickleFile) -> list[_Cell]:
    """Check the whole structure and sort the cells by modulation and SNR."""
    if not isinstance(content, PickledDict):
        raise DatasetError(f"{file.source}: the pickle holds {describe(content, file)}; {_EXPECTED}")
    if not content.entries:
        raise DatasetError(f"{file.source}: the pickle holds an empty dict; {_EXPECTED}")
    cells = sorted(
        (_cell(key, value, file) for key, value in content.entries), key=lambda cell: (cell.modulation, cell.snr_db)
    )
    length = cells[0].array.shape[2]
    for cell in cells:
        if cell.array.shape[2] != length:
            raise DatasetError(
                f"{file.source}: {cell} has frames of {cell.array.shape[2]} samples, {cells[0]} of {length}; "
                f"expected one length. Cut or leave out the cells that differ"
            )
    for before, cell in pairwise(cells):
        if (before.modulation, before.snr_db) == (cell.modulation, cell.snr_db):
            raise DatasetError(f"{file.source}: {cell} is there twice; expected each class and SNR once")
    # One array under two keys would put the same frames into two splits; and a small file could claim a huge set.
    holders: dict[int, _Cell] = {}
    for cell in cells:
        start = cell.array.content.offset if cell.array.content else -1
        if start in holders:
            raise DatasetError(f"{file.source}: {holders[start]} and {cell} hold the same array; expected one each")
        holders[start] = cell
    return cells


def _cell(key: object, value: object, file: PickleFile) -> _Cell:
    """Check one entry of the dict: what its key and its array are."""
    match key:
        case (Literal() as literal, (int() | float()) as snr_db) if (
            literal.short is not None and not isinstance(snr_db, bool) and abs(snr_db) <= 1000
        ):
            modulation = file.text(literal)
        case _:
            raise DatasetError(f"{file.source}: a key of the dict is {describe(key, file)}; {_EXPECTED}")
    # A name goes to the terminal and into reports: no control characters.
    if not modulation.strip() or not modulation.isprintable():
        raise DatasetError(f"{file.source}: a modulation is named {modulation!a}; expected printable text")
    place = f"{file.source}: the cell ({modulation!r}, {snr_db:g})"
    if not isinstance(value, PickledArray) or value.content is None:
        raise DatasetError(f"{place} holds {describe(value, file)}; expected a float array (frames, 2, length)")
    if value.dtype.kind not in "fiu":
        raise DatasetError(f"{place} holds {value.dtype} numbers; expected real ones, I and Q as two rows")
    if len(value.shape) != 3 or value.shape[1] != 2:
        turned = len(value.shape) == 3 and value.shape[2] == 2
        hint = ". I and Q are its last axis: save array.transpose(0, 2, 1)" if turned else ""
        raise DatasetError(f"{place} has the shape {value.shape}; expected (frames, 2, length){hint}")
    if math.prod(value.shape) == 0:
        raise DatasetError(f"{place} is empty, of shape {value.shape}; expected frames. Leave the cell out")
    return _Cell(modulation, float(np.float32(snr_db)), value)


def _read_cells(file: PickleFile, cells: list[_Cell], progress: Progress) -> NDArray[np.float32]:
    """Read every cell into one float32 array (N, 2, length)."""
    total, length = sum(cell.array.shape[0] for cell in cells), cells[0].array.shape[2]
    what, set_bytes = f"{file.source}: its {total} frames", total * 2 * length * 4
    largest_bytes = max(math.prod(cell.array.shape) * cell.array.dtype.itemsize for cell in cells)
    check_memory(what, set_bytes + largest_bytes, _WAY_OUT)
    try:
        iq = np.empty((total, 2, length), dtype=np.float32)
    except MemoryError as error:
        raise DatasetError(
            f"{what} need {set_bytes / 2**30:.1f} GiB of memory, more than this machine gives. {_WAY_OUT}"
        ) from error
    start = 0
    for number, cell in enumerate(cells, start=1):
        try:
            array = load_array(file, cell.array)
        except DatasetError as error:
            raise DatasetError(f"{error} (in {cell})") from error
        stop = start + array.shape[0]
        # float64 beyond float32 becomes infinity, which check_frames finds and names, as it does NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            iq[start:stop] = array
        start = stop
        progress(number, len(cells), "reading cells")
    return iq
