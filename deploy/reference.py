"""The frames that travel with a bundle, and what its original answers to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.bundle import Bundle
from deploy.errors import BundleError
from deploy.frames.npz import open_npz
from deploy.frames.npz_archive import open_archive
from deploy.runtimes.base import Float32


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceFrames:
    """``iq`` (n, 2, length), ``labels`` (n,), ``snr_db`` (n,), and the original's ``logits`` (n, classes)."""

    iq: Float32
    labels: npt.NDArray[np.int64]
    snr_db: Float32
    logits: Float32


def reference_frames(bundle: Bundle) -> ReferenceFrames:
    """Read the reference frames of an opened bundle; raises BundleError where it has none, or they are not its own."""
    entry = bundle.manifest.reference
    if entry is None:
        raise BundleError(f"{bundle.folder}: the bundle holds no reference frames; export it again")
    path = bundle.folder / entry.file
    frames = open_npz(path)
    with open_archive(path) as archive:
        member = archive.members(("logits",)).get("logits")
        logits = None if member is None or member.dtype.kind != "f" else archive.read(member).astype(np.float32)
    expected = (entry.frames, len(bundle.manifest.classes))
    if (
        logits is None
        or logits.shape != expected
        or len(frames.labels) != entry.frames
        or frames.classes != bundle.manifest.classes
        or (2, frames.length) != bundle.manifest.input.shape
    ):
        raise BundleError(
            f"{path}: is not of this bundle: expected {entry.frames} frames of its shape and classes, with logits"
        )
    return ReferenceFrames(
        iq=frames.frames(np.arange(entry.frames)), labels=frames.labels, snr_db=frames.snr_db, logits=logits
    )
