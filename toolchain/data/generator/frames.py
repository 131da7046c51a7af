"""Frames without any file: the data sets' classes, sent and received by this project's own radio.

Frames are made a chunk at a time, 64 of 128 samples, and each chunk of a (class, SNR) cell from its own seed. So a
cell's frames depend only on the seed, the preset, the class and the SNR: not on the other cells asked for, nor on how
the work is shared out; and asking for more frames leaves the first ones as they were.

The same numpy on the same kind of processor gives the same bits; another may round sines and cosines differently in the
last place.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.progress import Progress, silent
from deploy.suggestion import did_you_mean
from toolchain.data.generator.chunks import Piece, cell_pieces, make_piece
from toolchain.data.generator.pool import made_by_workers
from toolchain.data.generator.presets import PRESETS, Preset
from toolchain.errors import DatasetError

# Beyond this, float32 holds nothing of the weaker of signal and noise.
SNR_LIMIT_DB = 100.0
BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class GeneratedFrames:
    """Frames by class, then SNR in the order asked for, then number.

    ``iq``: float32 (frames, 2, length), row 0 in-phase, row 1 quadrature, each frame of RMS 1 (signal and noise
    together: mean of I^2 + Q^2 is 1). ``label``: int64 (frames,), the class's place in the preset. ``snr_db``: float32
    (frames,).
    """

    iq: NDArray[np.float32]
    label: NDArray[np.int64]
    snr_db: NDArray[np.float32]


def generate(
    preset: str,
    *,
    frames_per_cell: int,
    snr_db: Sequence[float],
    seed: int,
    workers: int = 1,
    progress: Progress = silent,
) -> GeneratedFrames:
    """Make ``frames_per_cell`` frames of every class of ``preset`` at every SNR of ``snr_db``.

    ``seed`` is any whole number from 0; the same one gives the same frames, whatever the number of ``workers``: 1 works
    in this process, more start processes of their own. Beside the frames themselves, memory holds a few MiB for each
    worker. Progress counts frames. A DatasetError says which argument cannot be meant, and why.
    """
    made = _checked(preset, frames_per_cell=frames_per_cell, snr_db=snr_db, seed=seed, workers=workers)
    frames = len(made.classes) * len(snr_db) * frames_per_cell
    try:
        iq = np.empty((frames, 2, made.length), dtype=np.float32)
    except (MemoryError, ValueError, OverflowError) as error:
        size_gib = frames * 2 * made.length * 4 / 2**30
        raise DatasetError(
            f"generate: {frames:,} frames take {size_gib:,.0f} GiB of memory, which is not to be had; ask for fewer a cell"
        ) from error
    label, snr = generated_labels(preset, frames_per_cell=frames_per_cell, snr_db=snr_db)
    done = 0
    with closing(_made(_pieces(made, frames_per_cell, snr_db, seed), workers)) as pieces:
        for some in pieces:
            iq[done : done + len(some)] = some
            done += len(some)
            progress(done, frames, f"{made.classes[label[done - 1]]} at {snr[done - 1]:g} dB")
    return GeneratedFrames(iq=iq, label=label, snr_db=snr)


def generated_blocks(
    preset: str, *, frames_per_cell: int, snr_db: Sequence[float], seed: int, workers: int = 1
) -> Generator[NDArray[np.float32], None, None]:
    """Give the frames of :func:`generate`, in its order, in blocks of 16 MiB: for a set larger than memory.

    A block is float32 (frames, 2, length), the caller's to keep, and holds as many frames as the one before, the last
    as many as are left. Memory holds one and a few MiB for each worker. Arguments are checked, with a
    DatasetError, at the call, before the first block is asked for. Closing the iterator ends the workers.
    """
    made = _checked(preset, frames_per_cell=frames_per_cell, snr_db=snr_db, seed=seed, workers=workers)
    return _blocks(
        _made(_pieces(made, frames_per_cell, snr_db, seed), workers),
        frames=len(made.classes) * len(snr_db) * frames_per_cell,
        length=made.length,
    )


def generated_labels(
    preset: str, *, frames_per_cell: int, snr_db: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give the labels, int64 (frames,), and SNRs, float32 (frames,), of :func:`generate`'s and its blocks' frames."""
    made = _checked(preset, frames_per_cell=frames_per_cell, snr_db=snr_db, seed=0, workers=1)
    cells = len(made.classes) * len(snr_db)
    try:
        label = np.repeat(np.arange(len(made.classes), dtype=np.int64), len(snr_db) * frames_per_cell)
        snr = np.tile(np.repeat(np.array(snr_db, dtype=np.float32), frames_per_cell), len(made.classes))
    except (MemoryError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"generate: {cells} cells of {frames_per_cell:,} frames are more than memory can list; ask for fewer a cell"
        ) from error
    return label, snr


def _pieces(preset: Preset, frames_per_cell: int, snr_db: Sequence[float], seed: int) -> Iterator[Piece]:
    for class_name in preset.classes:
        for snr in snr_db:
            # Whole numbers of numpy's, and of others, become Python's, which another process understands.
            yield from cell_pieces(
                preset, class_name, float(snr), operator.index(frames_per_cell), operator.index(seed)
            )


def _made(pieces: Iterator[Piece], workers: int) -> Generator[NDArray[np.float32], None, None]:
    yield from map(make_piece, pieces) if workers == 1 else made_by_workers(pieces, operator.index(workers))


def _blocks(
    made: Generator[NDArray[np.float32], None, None], *, frames: int, length: int
) -> Generator[NDArray[np.float32], None, None]:
    a_block = BLOCK_BYTES // (2 * length * 4)
    block = np.empty((min(a_block, frames), 2, length), dtype=np.float32)
    filled = 0
    with closing(made):
        for piece in made:
            unplaced = piece
            while len(unplaced):
                some = unplaced[: len(block) - filled]
                block[filled : filled + len(some)] = some
                filled += len(some)
                unplaced = unplaced[len(some) :]
                if filled == len(block):
                    yield block
                    frames -= filled
                    block = np.empty((min(a_block, frames), 2, length), dtype=np.float32)
                    filled = 0


def _checked(preset: str, *, frames_per_cell: int, snr_db: Sequence[float], seed: int, workers: int) -> Preset:
    if preset not in PRESETS:
        raise DatasetError(
            f'generate: preset "{preset}" is not one of {", ".join(PRESETS)}{did_you_mean(preset, PRESETS)}'
        )
    _check_count("frames_per_cell", frames_per_cell, least=1)
    _check_count("seed", seed, least=0)
    _check_count("workers", workers, least=1)
    _check_snr_db(snr_db)
    return PRESETS[preset]


def _check_count(what: str, value: int, *, least: int) -> None:
    try:
        valid = operator.index(value) >= least
    except TypeError:
        valid = False
    if not valid:
        raise DatasetError(f"generate: {what} is {value!r}, expected a whole number, {least} or more")


def _check_snr_db(snr_db: Sequence[float]) -> None:
    if len(snr_db) == 0:
        raise DatasetError("generate: snr_db is empty, expected at least one SNR in dB, such as [-10, 0, 10]")
    for snr in snr_db:
        if not math.isfinite(snr) or abs(snr) > SNR_LIMIT_DB:
            raise DatasetError(
                f"generate: snr_db has {snr:g}, expected finite numbers from {-SNR_LIMIT_DB:g} to {SNR_LIMIT_DB:g} dB"
            )
    repeated = sorted({snr for snr in snr_db if list(snr_db).count(snr) > 1})
    if repeated:
        raise DatasetError(
            f"generate: snr_db has {', '.join(f'{snr:g}' for snr in repeated)} more than once; the frames would be the "
            "same ones again, give each SNR once"
        )
