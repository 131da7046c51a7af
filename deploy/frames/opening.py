"""Opens frames to be classified: an ``.npz``, thinwave's own ``.h5``, a SigMF recording; labelled or not."""

from __future__ import annotations

from pathlib import Path

from deploy.errors import DatasetError
from deploy.frames.dataset import Dataset
from deploy.frames.h5 import is_own, open_h5
from deploy.frames.hdf5 import is_hdf5, open_hdf5
from deploy.frames.npz import open_npz
from deploy.frames.sigmf import open_sigmf
from deploy.regular_file import FILE, kind_of

SIGMF_SUFFIXES = (".sigmf-meta", ".sigmf-data")
START_BYTES = 4096


def open_frames(path: Path, length: int) -> Dataset:
    """Open the frames in ``path``; a recording is cut into frames of ``length`` samples.

    Raises DatasetError for a file that is missing, damaged or of another format, and for frames of another length.
    """
    if path.suffix in SIGMF_SUFFIXES:
        return open_sigmf(path, length=length, labelled=False)
    try:
        # A pipe would be waited for.
        if (kind := kind_of(path)) not in (None, FILE):
            raise DatasetError(f"{path}: is {kind}; expected a file of frames")
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if is_hdf5(start):
        opened = open_hdf5(path)
        dataset = open_h5(opened) if is_own(opened) else None
    else:
        dataset = open_npz(path, labelled=False) if start.startswith(b"PK") else None
    if dataset is None:
        raise DatasetError(
            f"{path}: expected an .npz with iq (n, 2, {length}), a .sigmf-meta, or a .h5 that thinwave wrote; "
            "`thinwave data convert` makes the last of other files"
        )
    if dataset.length != length:
        raise DatasetError(
            f"{path}: its frames have {dataset.length} samples, and the model takes {length}; take frames of that length"
        )
    return dataset
