"""Which frames train, which select, which are kept for the test; and small even samples of them.

A cell is the frames of one class at one SNR. Both functions treat every cell alike, so that no class and no SNR is
missing from a part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import DatasetError


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Three parts of a set: int64 indices, sorted, of which every frame has exactly one."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def stratified_split(
    labels: NDArray[np.int64],
    snr_db: NDArray[np.float32],
    *,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int,
    classes: Sequence[str] = (),
) -> Split:
    """Split a set by class and SNR: each cell gives ``fractions`` of its frames to train, validation and test.

    A cell's counts are rounded by largest remainder, then every part gets at least one: 80 frames give 48, 16, 16.
    Which frames go where depends on the seed, the label, the SNR and the cell's size alone: a set's part
    "10 dB and above" is split as it is within the whole. ``classes`` are only for messages.
    Raises :class:`DatasetError` that names a cell of fewer than three frames, or for fractions that are none.
    """
    # Written so that NaN fails it too.
    if (
        len(fractions) != 3
        or not all(part > 0 for part in fractions)
        or not math.isclose(sum(fractions), 1, abs_tol=1e-6)
    ):
        raise DatasetError(f"split fractions {fractions}; expected three above 0 that add up to 1, as (0.6, 0.2, 0.2)")
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for cell in cells_of(labels, snr_db):
        label, cell_snr_db = int(labels[cell[0]]), np.float32(snr_db[cell[0]])
        if cell.size < 3:
            name = classes[label] if label < len(classes) else f"class {label}"
            raise DatasetError(
                f"the cell {name} at {cell_snr_db:g} dB has {cell.size} frames; expected at least 3, one each to "
                f"train, validation and test. Leave out that class or SNR, or take a larger set"
            )
        shuffled = cell_rng(seed, label, cell_snr_db).permutation(cell)
        edges = np.cumsum(_shares(cell.size, fractions))[:-1]
        for part, members in zip(parts, np.split(shuffled, edges), strict=True):
            part.append(members)
    train, validation, test = (np.sort(np.concatenate(part)) if part else np.empty(0, dtype=np.int64) for part in parts)
    return Split(train=train, validation=validation, test=test)


def stratified_sample(
    labels: NDArray[np.int64],
    snr_db: NDArray[np.float32],
    indices: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose ``count`` of ``indices``, spread over class and SNR as evenly as the cells allow: int64 (count,), sorted.

    Cells differ by at most one frame, save where one has too few; of cells that get one more, classes and SNRs have
    equally many, to within one, where every class has every SNR.
    Raises :class:`DatasetError` for a count that ``indices`` cannot give.
    """
    if not 0 < count <= indices.size:
        raise DatasetError(f"{count} frames to be chosen of {indices.size}; expected 1 to {indices.size}")
    cells = [indices[cell] for cell in cells_of(labels[indices], snr_db[indices])]
    sizes = np.array([cell.size for cell in cells])
    # The highest level to which every cell can be filled, as water fills vessels.
    level = 0
    while np.minimum(sizes, level + 1).sum() <= count and level < sizes.max():
        level += 1
    quotas = np.minimum(sizes, level)
    turns = _turns(np.array([(labels[cell[0]], snr_db[cell[0]]) for cell in cells], dtype=np.float64), rng)
    more = [cell for cell in turns if sizes[cell] > level][: count - int(quotas.sum())]
    quotas[more] += 1
    chosen = [rng.choice(cell, size=quota, replace=False) for cell, quota in zip(cells, quotas, strict=True)]
    return np.sort(np.concatenate(chosen)).astype(np.int64, copy=False)


def cells_of(labels: NDArray[np.int64], snr_db: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """Group positions by class and SNR, in ascending order of both; within a cell in the set's order."""
    if labels.size == 0:
        return []
    order = np.lexsort((snr_db, labels))
    changes = (np.diff(labels[order]) != 0) | (np.diff(snr_db[order]) != 0)
    return [cell.astype(np.int64, copy=False) for cell in np.split(order, np.flatnonzero(changes) + 1)]


def cell_rng(seed: int, label: int, snr_db: np.float32) -> np.random.Generator:
    """A generator for one cell, seeded by what the cell is, not by where it stands."""
    # Adding 0.0 makes one of -0.0 and 0.0, which are the same SNR.
    return np.random.default_rng([seed, label, int((snr_db + np.float32(0)).view(np.uint32))])


def _shares(size: int, fractions: tuple[float, float, float]) -> list[int]:
    """Round ``size`` times ``fractions`` to whole frames that add up to ``size``, at least one each."""
    # Rounded first, for 0.6 x 5 must be 3 and not 2.9999.
    exact = [round(size * fraction, 6) for fraction in fractions]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(3), key=lambda part: shares[part] - exact[part])
    for part in by_remainder[: size - sum(shares)]:
        shares[part] += 1
    for part in range(3):
        if shares[part] == 0:
            shares[shares.index(max(shares))] -= 1
            shares[part] = 1
    return shares


def _turns(cells: NDArray[np.float64], rng: np.random.Generator) -> list[int]:
    """Order cells (C, 2: label, SNR) so that any first few of them spread evenly over both labels and SNRs.

    Turn t takes class t and SNR t, each counted round and round in a random order; after every common multiple of the
    two counts the SNRs move on by one, so that all pairs come, once each.
    """
    places = {(label, snr_db): number for number, (label, snr_db) in enumerate(cells.tolist())}
    labels = rng.permutation(np.unique(cells[:, 0]))
    snrs_db = rng.permutation(np.unique(cells[:, 1]))
    turns = []
    for turn in range(labels.size * snrs_db.size):
        moved = turn // math.lcm(labels.size, snrs_db.size)
        pair = (float(labels[turn % labels.size]), float(snrs_db[(turn + moved) % snrs_db.size]))
        if pair in places:
            turns.append(places[pair])
    return turns
