"""How a set is split into training, validation and test, by name: our own way, and those that papers report on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploy.frames.dataset import Dataset
from deploy.suggestion import did_you_mean
from toolchain.data.splits import Split, cell_rng, cells_of, stratified_split
from toolchain.errors import DatasetError

# What each does is in the docstring of split_by; the first is the default.
CONVENTIONS = ("stratified", "amr-benchmark", "sequential-80-20", "own")
AMR_BENCHMARK_SEED = 2016


def split_by(
    convention: str,
    dataset: Dataset,
    *,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int,
) -> Split:
    """Split ``dataset`` in the way that ``convention`` names.

    - ``stratified``: each cell (a class at an SNR) gives ``fractions`` of its frames, drawn by ``seed``.
    - ``amr-benchmark``: 600, 200 and 200 of each cell of 1,000 frames (the same shares of other cells), and the very
      frames that AMR-Benchmark's loaders draw from RML2016.10a and .10b: its code fixes the seed to 2016, so ``seed``
      is not used. Source: F. Zhang et al., "Deep learning based automatic modulation recognition: Models, datasets, and
      challenges", Digital Signal Processing 129, 2022, and its code.
    - ``sequential-80-20``: the first 80 % of each cell train, the rest is the test, as in the code of the layer-pruning
      paper (arXiv 2406.07929). It selects its epoch on the test part; here the last eighth of the training part is the
      validation instead, so that 70 % train. ``seed`` is not used.
    - ``own``: the file's own test part; the rest is split into training and validation in the proportion of the first
      two ``fractions``, drawn by ``seed``.

    Raises :class:`DatasetError` for another name, a cell that is too small, or a file without parts of its own.
    """
    match convention:
        case "stratified":
            return stratified_split(
                dataset.labels, dataset.snr_db, fractions=fractions, seed=seed, classes=dataset.classes
            )
        case "amr-benchmark":
            return _amr_benchmark(dataset)
        case "sequential-80-20":
            return _sequential(dataset)
        case "own":
            return _own(dataset, fractions, seed)
    raise DatasetError(
        f'split "{convention}" is not one of {", ".join(CONVENTIONS)}{did_you_mean(convention, CONVENTIONS)}'
    )


def _amr_benchmark(dataset: Dataset) -> Split:
    """Draw what the published loop draws: cells by class, then SNR, in one sequence of numpy's legacy generator."""
    legacy = np.random.RandomState(AMR_BENCHMARK_SEED)
    train, validation, test = [], [], []
    start = 0
    for cell in cells_of(dataset.labels, dataset.snr_db):
        _require(dataset, cell, least=5)
        stop = start + cell.size
        first = legacy.choice(range(start, stop), size=cell.size * 6 // 10, replace=False)
        # The published code turns a set of numbers into a list, whose order is CPython's: part of which frames are drawn.
        left = list(set(range(start, stop)) - set(first.tolist()))
        second = legacy.choice(left, size=cell.size * 2 // 10, replace=False)
        train.append(cell[first - start])
        validation.append(cell[second - start])
        test.append(np.delete(cell, np.concatenate([first, second]) - start))
        start = stop
    return _joined(train, validation, test)


def _sequential(dataset: Dataset) -> Split:
    train, validation, test = [], [], []
    for cell in cells_of(dataset.labels, dataset.snr_db):
        _require(dataset, cell, least=5)
        whole = cell.size * 8 // 10
        kept = whole - max(1, whole // 8)
        train.append(cell[:kept])
        validation.append(cell[kept:whole])
        test.append(cell[whole:])
    return _joined(train, validation, test)


def _own(dataset: Dataset, fractions: tuple[float, float, float], seed: int) -> Split:
    if dataset.own_test is None or dataset.own_test.all() or not dataset.own_test.any():
        raise DatasetError(
            f'{dataset.source}: split "own" asked for, and the file has no test part of its own; expected a set that has '
            f"one (HisarMod's or HKDD's folder, an .h5 made of it). Take another split: {', '.join(CONVENTIONS[:-1])}"
        )
    rest = np.flatnonzero(~dataset.own_test)
    train_share = fractions[0] / (fractions[0] + fractions[1])
    train, validation = [], []
    for cell in cells_of(dataset.labels[rest], dataset.snr_db[rest]):
        _require(dataset, rest[cell], least=2)
        label, snr_db = int(dataset.labels[rest[cell[0]]]), np.float32(dataset.snr_db[rest[cell[0]]])
        shuffled = cell_rng(seed, label, snr_db).permutation(rest[cell])
        edge = min(max(1, round(train_share * cell.size)), cell.size - 1)
        train.append(shuffled[:edge])
        validation.append(shuffled[edge:])
    return _joined(train, validation, [np.flatnonzero(dataset.own_test)])


def _require(dataset: Dataset, cell: NDArray[np.int64], *, least: int) -> None:
    if cell.size < least:
        raise DatasetError(
            f"{dataset.source}: the cell {dataset.classes[dataset.labels[cell[0]]]} at {dataset.snr_db[cell[0]]:g} dB has "
            f"{cell.size} frames; expected at least {least} for this split. Leave out that class or SNR, or take a larger set"
        )


def _joined(*parts: list[NDArray[np.int64]]) -> Split:
    train, validation, test = (np.sort(np.concatenate(part)) if part else np.empty(0, dtype=np.int64) for part in parts)
    return Split(train=train, validation=validation, test=test)
