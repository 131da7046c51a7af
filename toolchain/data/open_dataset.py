"""Opens a file of frames whatever its name: the content says what it is."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from deploy.frames.dataset import Dataset
from deploy.frames.h5 import is_own, open_h5
from deploy.frames.hdf5 import is_hdf5, open_hdf5
from deploy.frames.npz import open_npz
from deploy.frames.sigmf import LENGTH as RECORDING_LENGTH
from deploy.frames.sigmf import open_sigmf
from deploy.progress import Progress, silent
from toolchain.data.formats.hisarmod import (
    is_hisarmod_folder,
    looks_like_hisarmod,
    looks_like_hisarmod_mat,
    open_hisarmod,
)
from toolchain.data.formats.hkdd import is_hkdd_folder, looks_like_hkdd, open_hkdd
from toolchain.data.formats.rml2016 import open_rml2016
from toolchain.data.formats.rml2018 import looks_like_rml2018, open_rml2018
from toolchain.data.use import DataUse
from toolchain.errors import DatasetError

# Protocols 2 to 5 open with their number; a dict in protocols 0 and 1 with its opcode. The rest is how other pickles
# open: they are told what is wrong with them by the pickle reader.
_PICKLE_START = re.compile(rb"\x80[\x00-\x05]|\((?:[dltcK}]|i\w|[SV]|I-?\d)|\}[q.r(]|[\])][q.]|\(lp|c[\w.]+\n[\w.]+\n")
_NPZ_MEMBER = re.compile(rb"PK\x03\x04.{26}[^\x00]{1,200}\.npy", re.DOTALL)
# What torch.save writes: its first member is the pickle.
_TORCH_MEMBER = re.compile(rb"PK\x03\x04.{26}[^\x00]{1,200}/data\.pkl", re.DOTALL)
_SAFETENSORS_START = re.compile(rb".{6}\0\0\{\"", re.DOTALL)
_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")
_SIGMF_NAMES = (".sigmf-meta", ".sigmf-data", ".sigmf")

_READS = (
    "expected RML2016.10a/b, RML2018.01A, HisarMod2019.1, HKDD_AMC12, a SigMF recording, an .npz, or thinwave's own .h5"
)
_WRITE_NPZ = "write the frames as an .npz: np.savez(FILE, iq=, label=, snr_db=, classes=)"

# How files start that people mistake for a set of frames, what they are, and the way out.
_KNOWN_STARTS = {
    b"PK\x03\x04": ("a zip archive", "unpack it first"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it first: tar xf, or gunzip"),
    b"BZh": ("compressed with bzip2", "unpack it first: tar xf, or bunzip2"),
    b"\xfd7zXZ\x00": ("compressed with xz", "unpack it first: tar xf, or unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstandard", "unpack it first: unzstd"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "unpack it first: 7z x"),
    b"Rar!": ("a RAR archive", "unpack it first: unrar x"),
    b"\x93NUMPY": (
        "one array of numpy (.npy)",
        f"it has no labels and SNRs; {_WRITE_NPZ}",
    ),
    b"MATLAB 5.0 MAT-file": ("a MATLAB file before v7.3", "save it again with -v7.3"),
    b"\x89PNG": ("a PNG picture", "name the file of frames"),
    b"%PDF": ("a PDF document", "name the file of frames"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "fetch the file: git lfs pull"),
    b"<!DOCTYPE": ("a web page", "the download gave a page instead of the file: fetch it again, signed in if need be"),
    b"<html": ("a web page", "the download gave a page instead of the file: fetch it again, signed in if need be"),
}


def open_dataset(
    path: str | os.PathLike[str],
    *,
    snr_min_db: float | None = None,
    snr_max_db: float | None = None,
    classes: Sequence[str] | None = None,
    length: int | None = None,
    recording_length: int | None = None,
    unknown_snr_db: float | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Open a file (or a folder) of frames, finding its format by its content.

    Read are RML2016.10a/b (into memory), RML2018.01A, HisarMod2019.1, HKDD_AMC12, SigMF recordings, ``.npz`` and the
    project's own ``.h5`` (lazily, where the file allows). A folder of HisarMod or HKDD gives both parts, the test part as
    ``own_test``.

    ``snr_min_db`` and ``snr_max_db``, both included, and ``classes`` keep a part of the set; the classes are then numbered
    in the order given. ``length`` cuts a recording into frames of so many samples (1024 if not given) and is demanded of
    any other file, ``recording_length`` only cuts; ``unknown_snr_db`` is the SNR of what a recording says none of.
    ``progress`` is told of a reading that takes time.

    Raises :class:`DatasetError` for a missing, empty, damaged or unknown file, and where nothing is left.
    """
    dataset = _opened(Path(path), length or recording_length, unknown_snr_db, progress)
    if length is not None and dataset.length != length:
        raise DatasetError(
            f"{dataset.source}: its frames have {dataset.length} samples; expected {length}. Only a recording can be cut: "
            f"take another set, or leave the length out"
        )
    use = DataUse(snr_min_db=snr_min_db, snr_max_db=snr_max_db, classes=None if classes is None else tuple(classes))
    return use.selected(dataset)


def is_set_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that is a set: HisarMod's or HKDD's."""
    return is_hisarmod_folder(path) or is_hkdd_folder(path)


def files_of_set(path: Path) -> tuple[Path, ...]:
    """List the files that :func:`open_dataset` reads for ``path``: itself, and what belongs to it and lies beside it."""
    if path.name.endswith(_SIGMF_NAMES):
        pair = [path.with_name(path.name.rpartition(".")[0] + suffix) for suffix in (".sigmf-meta", ".sigmf-data")]
        return tuple(file for file in pair if file.exists()) or (path,)
    if path.suffix.lower() in (".csv", ".mat") and path.is_file():
        part = path.stem.lower().removesuffix("_data")
        names = {f"{part}_labels", f"{part}_labels1", f"{part}_snr"}
        beside = [
            at for at in sorted(path.parent.iterdir()) if at.suffix.lower() == ".csv" and at.stem.lower() in names
        ]
        return (path, *beside)
    return (path,)


def _opened(path: Path, length: int | None, unknown_snr_db: float | None, progress: Progress) -> Dataset:
    is_folder = os.path.isdir(path)  # noqa: PTH112 - which never raises, as Path.is_dir may
    if is_folder and unknown_snr_db is None:
        return _open_folder(path, progress)
    # The samples of a recording are only numbers; its metadata beside them says what they are.
    is_recording = path.name.endswith(_SIGMF_NAMES)
    start = b"" if is_recording or is_folder else _start(path)
    if is_recording or (_JSON_START.match(start) and b"core:" in start):
        return open_sigmf(path, length=RECORDING_LENGTH if length is None else length, snr_db=unknown_snr_db)
    if unknown_snr_db is not None:
        raise DatasetError(
            f"{path.name}: an SNR for what says none is for SigMF recordings, and this is none; leave it out"
        )
    if is_hdf5(start):
        return _open_hdf5_set(path, progress)
    if _PICKLE_START.match(start):
        return open_rml2016(path, progress=progress)
    if _NPZ_MEMBER.match(start):
        return open_npz(path)
    if looks_like_hisarmod(start):
        return open_hisarmod(path, progress=progress)
    what, way_out = _kind(start)
    raise DatasetError(f"{path.name}: {what}; {_READS}. {way_out[0].upper()}{way_out[1:]}")


def _open_folder(path: Path, progress: Progress) -> Dataset:
    if is_hisarmod_folder(path):
        return open_hisarmod(path, progress=progress)
    if is_hkdd_folder(path):
        return open_hkdd(path, progress=progress)
    raise DatasetError(f"{path}: a folder, and neither HisarMod's nor HKDD's; {_READS}. Name the file in it")


def _open_hdf5_set(path: Path, progress: Progress) -> Dataset:
    file = open_hdf5(path)
    if is_own(file):
        return open_h5(file)
    if looks_like_rml2018(file):
        return open_rml2018(file, progress=progress)
    if looks_like_hkdd(file):
        return open_hkdd(file, progress=progress)
    if looks_like_hisarmod_mat(file):
        return open_hisarmod(file, progress=progress)
    members = [*file.datasets, *file.unreadable]
    has = f"with {', '.join(map(ascii, members[:8]))}" if members else "without members"
    raise DatasetError(
        f"{path.name}: an HDF5 file {has}, which is no set that is known; {_READS}. Otherwise, {_WRITE_NPZ}"
    )


def _start(path: Path) -> bytes:
    """Read the first 4 KiB of a regular file."""
    try:
        mode = path.stat().st_mode
        # A pipe or a device would be waited for, or would never end.
        if not stat.S_ISREG(mode):
            raise DatasetError(f"{path}: not a regular file; expected a file of frames. Copy it into one")
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: there is no such file; expected a file of frames. Check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DatasetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not start:
        raise DatasetError(
            f"{path.name}: an empty file; expected a file of frames. Was it fetched or copied to its end?"
        )
    return start


def _kind(start: bytes) -> tuple[str, str]:
    """Say what an unknown file looks like, and what to do about it."""
    if _TORCH_MEMBER.match(start) or _SAFETENSORS_START.match(start):
        return "a model's weights, not frames", "name the file of frames"
    for signature, known in _KNOWN_STARTS.items():
        if start.lower().startswith(signature.lower()):
            return known
    if start[257:262] == b"ustar":
        return "a tar archive", "unpack it first: tar xf"
    # The first 4 KiB may end inside a character.
    text = start.decode("utf-8", errors="replace").removesuffix("\N{REPLACEMENT CHARACTER}")
    if all(character.isprintable() or character in "\n\r\t" for character in text) and "\ufffd" not in text:
        first_line = text.splitlines()[0][:40] if text.strip() else ""
        return (
            f"text, starting {first_line!a}",
            f"of text, HisarMod's CSV is read, complex numbers alone; {_WRITE_NPZ}",
        )
    return (
        f"of no known format, its first bytes are {start[:8].hex(' ')}",
        "write the frames as an .npz: np.savez(FILE, iq=, label=, snr_db=, classes=)",
    )
