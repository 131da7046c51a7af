"""Opens a file of frames whatever its name: the content says what it is."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from deploy.frames.dataset import Dataset
from deploy.frames.h5 import open_h5
from deploy.progress import Progress, silent
from toolchain.data.rml2016 import open_rml2016
from toolchain.errors import DatasetError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# HDF5 allows a block of the user's own in front; MATLAB v7.3 has one of 512 bytes.
_HDF5_OFFSETS = (0, 512, 1024, 2048)
# Protocols 2 to 5 open with their number; a dict in protocols 0 and 1 with its opcode. The rest is how other pickles
# open: they are told what is wrong with them by the pickle reader.
_PICKLE_START = re.compile(rb"\x80[\x00-\x05]|\((?:[dltc}]|i\w|[SV]|I-?\d)|\}[q.r(]|[\])][q.]|\(lp|c[\w.]+\n[\w.]+\n")

# How files start that people mistake for a set of frames, what they are, and the way out.
_KNOWN_STARTS = {
    b"PK\x03\x04": ("a zip archive, or numpy's .npz", "if it is an archive, unpack it first"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it first: tar xf, or gunzip"),
    b"BZh": ("compressed with bzip2", "unpack it first: tar xf, or bunzip2"),
    b"\xfd7zXZ\x00": ("compressed with xz", "unpack it first: tar xf, or unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstandard", "unpack it first: unzstd"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "unpack it first: 7z x"),
    b"Rar!": ("a RAR archive", "unpack it first: unrar x"),
    b"\x93NUMPY": ("one array of numpy (.npy)", "it has no labels and SNRs; write an .h5 with write_h5"),
    b"MATLAB 5.0 MAT-file": ("a MATLAB file before v7.3", "save the frames with write_h5"),
    b"\x89PNG": ("a PNG picture", "name the file of frames"),
    b"%PDF": ("a PDF document", "name the file of frames"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "fetch the file: git lfs pull"),
    b"<!DOCTYPE": ("a web page", "the download gave a page instead of the file: fetch it again, signed in if need be"),
    b"<html": ("a web page", "the download gave a page instead of the file: fetch it again, signed in if need be"),
}
_READS = "expected a pickled dict as of RML2016.10a, or thinwave's own .h5"


def open_dataset(path: Path, *, progress: Progress = silent) -> Dataset:
    """Open a file of frames, finding its format by its content.

    Reads RML2016.10a/b pickles (into memory) and the project's own ``.h5`` (lazily). ``progress`` is told of a reading
    that takes time. Raises :class:`DatasetError` for a missing, empty, damaged or unknown file, and for a folder.
    """
    start = _start(path)
    if any(start[offset:].startswith(_HDF5_SIGNATURE) for offset in _HDF5_OFFSETS):
        return open_h5(path)
    if _PICKLE_START.match(start):
        return open_rml2016(path, progress=progress)
    what, way_out = _kind(start)
    raise DatasetError(f"{path.name}: {what}; {_READS}. {way_out[0].upper()}{way_out[1:]}")


def _start(path: Path) -> bytes:
    """Read the first 4 KiB of a regular file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DatasetError(f"{path}: a folder; expected a file of frames. Name the file in it")
        # A pipe or a device would be waited for, or would never end.
        if not stat.S_ISREG(mode):
            raise DatasetError(f"{path}: not a regular file; {_READS}")
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: there is no such file; {_READS}. Check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DatasetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not start:
        raise DatasetError(f"{path.name}: an empty file; {_READS}. Was it fetched or copied to its end?")
    return start


def _kind(start: bytes) -> tuple[str, str]:
    """Say what an unknown file looks like, and what to do about it."""
    for signature, known in _KNOWN_STARTS.items():
        if start.lower().startswith(signature.lower()):
            return known
    if start[257:262] == b"ustar":
        return "a tar archive", "unpack it first: tar xf"
    # The first 4 KiB may end inside a character.
    text = start.decode("utf-8", errors="replace").removesuffix("\N{REPLACEMENT CHARACTER}")
    if all(character.isprintable() or character in "\n\r\t" for character in text) and "\ufffd" not in text:
        first_line = text.splitlines()[0][:40] if text.strip() else ""
        return f"text, starting {first_line!a}", "a table of numbers is not read: write an .h5 with write_h5"
    return f"of no known format, its first bytes are {start[:8].hex(' ')}", "write the frames as .h5 with write_h5"
