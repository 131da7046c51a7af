"""Generated frames, straight into a file: a set larger than memory is made a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from deploy.frames.dataset import Dataset, no_frames
from deploy.progress import Progress, silent
from toolchain.data.generator import PRESETS, generated_blocks, generated_labels
from toolchain.data.writing import require_room, write_blocks


def write_generated(
    path: Path,
    preset: str,
    *,
    frames_per_cell: int,
    snr_db: Sequence[float],
    seed: int,
    workers: int = 1,
    progress: Progress = silent,
) -> None:
    """Make ``frames_per_cell`` frames of each class of ``preset`` at each SNR and write them to ``path``, an ``.h5``.

    The same arguments give the same file to the byte, whatever the number of ``workers``.
    Raises :class:`DatasetError` where an argument cannot be meant, or the file cannot be written.
    """
    if preset in PRESETS:  # or generated_blocks says so
        cells = len(PRESETS[preset].classes) * len(snr_db)
        require_room(path, cells * frames_per_cell * 8 * PRESETS[preset].length)
    frames = generated_blocks(preset, frames_per_cell=frames_per_cell, snr_db=snr_db, seed=seed, workers=workers)
    label, snr = generated_labels(preset, frames_per_cell=frames_per_cell, snr_db=snr_db)
    described = Dataset(
        source=path.name,
        format="generated",
        classes=PRESETS[preset].classes,
        labels=label,
        snr_db=snr,
        length=PRESETS[preset].length,
        sample_rate_hz=PRESETS[preset].sample_rate_hz,
        read=no_frames,
    )
    made_by = f"thinwave generator, preset {preset}, seed {seed}"
    with closing(frames):
        write_blocks(path, described, frames, made_by=made_by, progress=progress)
